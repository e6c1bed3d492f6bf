"""What heads have in common that differ in their target and in their cookies only. Pure."""

from __future__ import annotations

from typing import Any

_READERS = 8  # of what they found something is kept: routes, services, revisions


class SharedFields:
    """The fields of such heads, but for Cookie; of GET, HEAD, OPTIONS and DELETE, without a body.

    Attributes:
        lead: the bytes of a head from the end of its request line up to the value of
            Cookie; up to its end where it has none.
        rest: its bytes from the end of that value on; empty where it has none.
        size: bytes of `lead`.
        host: the value of Host.
        start: what follows the target of such a request to a server, up to `before`.
        before, after: the fields that are end to end, each line led by CRLF, up to the
            value of Cookie and behind it.
        is_quiet: whether a handler has found that none of them begins as those do which
            it never passes on.
        found: by who looked among them, what was found (`keep`).
    """

    __slots__ = (
        *("after", "before", "found", "host", "is_quiet", "lead", "rest", "size"),
        "start",
    )

    def __init__(
        self, lead: bytes, rest: bytes, host: bytes, before: bytes, after: bytes
    ) -> None:
        self.lead = lead
        self.rest = rest
        self.size = len(lead)
        self.host = host
        self.start = b" HTTP/1.1\r\nHost: " + host
        self.before = before
        self.after = after
        self.is_quiet = False
        self.found: dict[object, Any] = {}

    def __repr__(self) -> str:
        return (
            f"<SharedFields host={self.host!r} of {self.size + len(self.rest)} bytes>"
        )

    def keep(self, reader: object, found: object) -> None:
        """Keep what somebody found among these fields, who looks at many heads."""
        if len(self.found) >= _READERS:
            self.found.clear()
        self.found[reader] = found
