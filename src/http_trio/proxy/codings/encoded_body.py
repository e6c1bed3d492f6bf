"""A body that gets a content coding on its way from one framing to another. Pure.

>>> import gzip
>>> from http_trio.proxy.codings.coders import make_encoder
>>> from http_trio.http1.framing import UNTIL_CLOSE
>>> body = EncodedBody(5, UNTIL_CLOSE, make_encoder(b"gzip", 5))
>>> gzip.decompress(body.feed(b"hel") + body.feed(b"lo")), body.done
(b'hello', True)
"""

from __future__ import annotations

from typing import ClassVar

from http_trio.http1.body import BodyTranscoder
from http_trio.http1.chunked import encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.proxy.codings.coders import Encoder

STEP = 16 * 1024
"""Bytes that are encoded in the event loop at a time, 0.2 ms of it; more goes to a thread."""


DIGESTS = frozenset(
    b"content-digest content-md5 digest repr-digest signature signature-input".split()
)
"""Fields that hold for the bytes of the server alone."""

_NOT_OF_ENCODED = DIGESTS | {b"etag"}


class EncodedBody(BodyTranscoder):
    """One body on its way; `passed` counts what it has become.

    It is complete only if it came to its end: one that is cut lacks the end of its coding
    too.
    """

    __slots__ = ("_content", "_encoder")

    most_at_once: ClassVar[float] = STEP

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        encoder: Encoder,
        *,
        trailers: bool = False,
        line_limit: int = 8192,
    ) -> None:
        """Set out, as `BodyTranscoder`, of whose arguments these are."""
        super().__init__(UNTIL_CLOSE, outgoing, trailers=trailers)
        self._content = BodyTranscoder(incoming, UNTIL_CLOSE, line_limit=line_limit)
        self._encoder = encoder

    @property
    def taken(self) -> int:
        """Bytes of content that came, before it was encoded."""
        return self._content.passed

    @property
    def trailers(self) -> tuple[bytes, ...]:
        """The lines of the trailers that came."""
        return self._content.trailers

    def feed(self, data: bytes) -> bytes:
        """Take bytes in; give what is to be sent on, which is all that came.

        Raises:
            ProtocolError: the framing is broken.
        """
        content = self._content.feed(data)
        self.rest = self._content.rest
        return self._encode(content, last=self._content.done)

    def end(self) -> bytes:
        """The sender closed: give what is still to be sent on.

        Raises:
            Truncated: the body was not complete.
        """
        if self.done:
            return b""
        self._content.end()
        return self._encode(b"", last=True)

    def takes_along(self, line: bytes) -> bool:
        """Tell whether a trailer of it may go on: not what is true of other bytes."""
        name = line.partition(b":")[0].lower()
        return name not in _NOT_OF_ENCODED and super().takes_along(line)

    def let_go(self) -> None:
        """Give back the encoder, which others wait for, and its memory."""
        del self._encoder

    def _encode(self, content: bytes, *, last: bool) -> bytes:
        self.done = last
        if not content and not last:
            return b""
        encoded = self._encoder.encode(content, last=last)
        self.passed += len(encoded)
        if self._outgoing != CHUNKED:
            return encoded
        framed = encode_chunk(encoded)
        if not last:
            return framed
        return framed + self._last_chunk()
