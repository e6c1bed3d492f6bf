"""A message's body on its way to a stream: from HTTP/1.1's framing to frames.

The rule that it obeys: a stream ends cleanly only where the message that was written is
complete; else it is reset.
"""

from __future__ import annotations

from collections.abc import Sequence

from http_trio.http1.body import is_allowed_in_trailer
from http_trio.http1.chunked import ChunkedReader
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.messages.heads import trailer_fields
from http_trio.http2.session import INTERNAL_ERROR, Http2Session

_TRAILERS = 64 * 1024
"""Bytes of a chunk's size line or of trailers; whoever wrote them has a lower limit."""

HEAD, BODY, ENDED = range(3)
"""What is to be sent next: a head, the body behind it, or nothing."""


class BodyTranslator:
    """What one stream sends, behind its head.

    Attributes:
        id: the stream's number.
    """

    __slots__ = ("_framing", "_last_lines", "_reader", "_sending", "_session", "id")

    _framing: int
    _reader: ChunkedReader | None

    def __init__(self, session: Http2Session, stream_id: int) -> None:
        self.id = stream_id
        self._session = session
        self._sending = HEAD
        self._last_lines: Sequence[bytes] = ()

    def add_trailers(self, lines: bytes) -> None:
        """Take the trailers of a body that states its length, before its last byte."""
        kept = filter(is_allowed_in_trailer, lines.split(b"\r\n"))
        self._last_lines = [line for line in kept if line]

    @property
    def _awaits_head(self) -> bool:
        """Whether a head is what comes next, which must come whole."""
        return self._sending == HEAD

    @property
    def _sent_all(self) -> bool:
        return self._sending == ENDED

    def _begin_body(self, framing: int) -> None:
        """Take that the head is sent; no body follows one whose framing is 0."""
        self._framing = framing
        self._sending = BODY if framing else ENDED
        self._reader = ChunkedReader(_TRAILERS) if framing == CHUNKED else None

    def _translate_body(self, data: bytes | memoryview, *, last: bool) -> None:
        """Send what was written; `last` tells that nothing follows it."""
        session, reader = self._session, self._reader
        if self._framing > 0:
            content = data[: self._framing]
            self._framing -= len(content)
            ended = not self._framing
        elif reader is None:
            content, ended = data, last
        else:
            content, ended = reader.feed(bytes(data)), reader.done
            if ended and reader.trailers:
                self._last_lines = reader.trailers
        if ended and self._last_lines:
            if content:
                session.send_data(self.id, content, ended=False)
            session.send_trailers(self.id, trailer_fields(self._last_lines))
        elif content or ended:
            session.send_data(self.id, content, ended=ended)
        if ended:
            self._sending = ENDED
        elif last:
            self._break_off()

    def _end_sending(self) -> None:
        """End what is sent, where nothing else says where it ends."""
        if self._sending == BODY and self._framing == UNTIL_CLOSE:
            self._sending = ENDED
            self._session.send_data(self.id, b"", ended=True)

    def _sending_ended(self) -> None:
        """Send nothing more: the stream is over."""
        self._sending = ENDED

    def _break_off(self, code: int = INTERNAL_ERROR) -> None:
        self._sending = ENDED
        self._session.reset(self.id, code)
