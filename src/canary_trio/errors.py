"""What can go wrong with the proxy, named by condition."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class CanaryError(Exception):
    """The root of the errors of this package."""


@attrs.frozen
class Problem:
    """One fault of a document.

    Attributes:
        path: where, such as `$.arms.canary.servers[0]`.
        found: what stands there.
        expected: what may stand there.
    """

    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        """Give the problem as one line."""
        return f"{self.path}: found {self.found}, expected {self.expected}"


class InvalidConfig(CanaryError):
    """A document is not valid. Its writer's fault; `problems` has all of its faults."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class BadAssignment(CanaryError):
    """A change such as `ratio=0.25` cannot be read, or names nothing in the document."""


class WrittenMeanwhile(CanaryError):
    """Another writer changed the document first. Nothing of ours is written; try again.

    Attributes:
        revision: the one that is there now.
    """

    def __init__(self, service: str, revision: int) -> None:
        super().__init__(
            f"{service}: another writer was first (revision {revision}); nothing was"
            " written; look at what is there and try again"
        )
        self.revision = revision


class NoDocument(CanaryError):
    """The store holds no document for a service."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"no document for service {service!r}; write one with: canary apply"
            f" {service} FILE"
        )
