"""What a check of who asks came to, counted. Pure."""

from __future__ import annotations


class AuthCounts:
    """What one check of a service came to.

    Attributes:
        asked: questions to a server, or looks at a password: the other requests were
            decided by what was known, or waited with one that asked.
        outcomes: of requests, by word.
    """

    __slots__ = ("asked", "outcomes")

    def __init__(self) -> None:
        self.asked = 0
        self.outcomes: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<AuthCounts {self.outcomes} asked={self.asked}>"

    def add(self, outcome: str) -> None:
        """Count a request."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
