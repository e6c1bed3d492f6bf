"""A body's way from one framing to another, pure.

Used for both directions and by both paths: bytes come in as the sender framed them,
and leave as the receiver is told to expect them. A body that comes to an early end
never looks whole on the other side: the missing last chunk, or the missing bytes of
a length, are what shows it (RFC 9112 section 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from http_trio.errors import ProtocolError
from http_trio.http1.chunked import LAST_CHUNK, ChunkedReader, encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE

_NOT_IN_TRAILERS = frozenset(
    b"connection content-encoding content-length content-range content-type cookie"
    b" authorization expect host keep-alive proxy-connection set-cookie te trailer"
    b" transfer-encoding upgrade via forwarded".split()
)


class Truncated(ProtocolError):
    """The sender closed before its body was complete."""


class BodyTranscoder:
    """One body on its way.

    Attributes:
        done: whether the body is complete.
        passed: bytes of content so far.
        rest: what came after its end; of the next message, or too much.

    >>> transcoder = BodyTranscoder(5, CHUNKED)
    >>> transcoder.feed(b"hel"), transcoder.feed(b"lo!"), transcoder.rest
    (b'3\\r\\nhel\\r\\n', b'2\\r\\nlo\\r\\n0\\r\\n\\r\\n', b'!')
    """

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_reader",
        "_trailers",
        "done",
        "left",
        "passed",
        "rest",
    )

    most_at_once: ClassVar[float] = math.inf
    """Bytes of which it is worth a thread to take more in."""

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        *,
        trailers: bool = False,
        line_limit: int = 8192,
    ) -> None:
        """Set out.

        Args:
            incoming: the framing that it comes in.
            outgoing: the framing that it leaves in.
            trailers: whether the receiver takes trailers.
            line_limit: bytes of a chunk's size line, and of all trailers.
        """
        self._incoming = incoming
        self._outgoing = outgoing
        self._trailers = trailers
        self._reader = ChunkedReader(line_limit) if incoming == CHUNKED else None
        self.left = max(incoming, 0)
        """Bytes still to come, where the length is known."""
        self.done = incoming == 0
        self.passed = 0
        self.rest = b""

    @property
    def taken(self) -> int:
        """Bytes of content that came, before any coding is put on it here."""
        return self.passed

    @property
    def has_trailers(self) -> bool:
        """Whether trailers came that may go on."""
        return bool(self._kept_trailers())

    @property
    def trailers(self) -> tuple[bytes, ...]:
        """The lines of the trailers that came."""
        return () if self._reader is None else tuple(self._reader.trailers)

    def trailer(self, name: bytes) -> bytes | None:
        """Give the first value of a trailer; None if it did not come."""
        for line in self.trailers:
            said, _, value = line.partition(b":")
            if said.lower() == name:
                return value.strip(b" \t")
        return None

    def feed(self, data: bytes) -> bytes:
        """Take bytes in; give what is to be sent on.

        Raises:
            ProtocolError: the framing is broken.
        """
        if self._reader is not None:
            content = self._reader.feed(data)
            self.done = self._reader.done
            self.rest = self._reader.rest
        elif self._incoming == UNTIL_CLOSE:
            content = data
        else:
            content, self.rest = data[: self.left], data[self.left :]
            self.left -= len(content)
            self.done = not self.left
        self.passed += len(content)
        if self._outgoing != CHUNKED:
            return content
        framed = encode_chunk(content) if content else b""
        return framed + self._last_chunk() if self.done else framed

    def end(self) -> bytes:
        """The sender closed: give what is still to be sent on.

        Raises:
            Truncated: the body was not complete.
        """
        if self._incoming != UNTIL_CLOSE and not self.done:
            raise Truncated("the connection closed inside a body")
        was_done, self.done = self.done, True
        return b"" if was_done or self._outgoing != CHUNKED else LAST_CHUNK

    def let_go(self) -> None:
        """Give back what it holds beside its state: it takes nothing more in."""

    def takes_along(self, line: bytes) -> bool:
        """Tell whether a trailer of it may go on."""
        return is_allowed_in_trailer(line)

    def passing(self, lines: bytes) -> bytes:
        """Give those of some trailers, each ended by CRLF, that may go on."""
        return kept_trailers(lines, self.takes_along)

    def _kept_trailers(self) -> list[bytes]:
        return [line for line in self.trailers if self.takes_along(line)]

    def _last_chunk(self) -> bytes:
        kept = self._kept_trailers() if self._trailers else []
        if not kept:
            return LAST_CHUNK
        return b"0\r\n%b\r\n\r\n" % b"\r\n".join(kept)


def kept_trailers(lines: bytes, passes: Callable[[bytes], bool]) -> bytes:
    """Leave out the trailers that may not stand there, and those that do not pass."""
    kept = [
        line + b"\r\n"
        for line in lines.split(b"\r\n")
        if line and is_allowed_in_trailer(line) and passes(line)
    ]
    return b"".join(kept)


def announced_trailers(values: list[bytes]) -> bytes:
    """Give the names that may stand in a trailer, of those that Trailer announces."""
    names = [name.strip(b" \t") for value in values for name in value.split(b",")]
    return b", ".join([name for name in names if name and is_allowed_in_trailer(name)])


def is_allowed_in_trailer(line: bytes) -> bool:
    """Tell whether a field may stand in a trailer (RFC 9110 section 6.5.1)."""
    return line.partition(b":")[0].lower() not in _NOT_IN_TRAILERS
