"""A response on its way to a stream: from HTTP/1.1 to frames.

Who answers writes HTTP/1.1, in pieces of which each head is whole; here a head becomes
fields and a body loses its framing. The rule that it obeys: a stream ends cleanly only
where the response that was written is complete; else it is reset.
"""

from __future__ import annotations

from http_trio.http1.chunked import ChunkedReader
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.messages import (
    accepts_websocket,
    response_fields,
    trailer_fields,
)
from http_trio.http2.session import INTERNAL_ERROR, Http2Session

_TRAILERS = 64 * 1024
"""Bytes of a chunk's size line or of trailers; whoever wrote them has a lower limit."""

_HEAD, _BODY, _ENDED = range(3)


class ResponseTranslator:
    """What one stream sends.

    Attributes:
        id: the stream's number.
    """

    __slots__ = (
        *("_framing", "_key", "_reader", "_sending", "_session", "_switched", "id"),
    )

    def __init__(self, session: Http2Session, stream_id: int, *, key: bytes) -> None:
        self.id = stream_id
        self._session = session
        self._key = key
        self._sending = _HEAD
        self._switched = False
        self._framing = UNTIL_CLOSE
        self._reader: ChunkedReader | None = None

    @property
    def _awaits_head(self) -> bool:
        """Whether a head is what comes next, which must come whole."""
        return self._sending == _HEAD

    @property
    def _response_ended(self) -> bool:
        return self._sending == _ENDED

    def _translate(
        self, data: bytes | memoryview, *, last: bool, for_head: bool
    ) -> None:
        """Send what was written.

        Args:
            data: of the response, the next piece.
            last: nothing follows it.
            for_head: the request was HEAD, so no body follows the head.
        """
        while self._sending == _HEAD and data:
            data = self._translate_head(bytes(data), for_head=for_head)
        if self._sending == _BODY:
            self._translate_body(data, last=last)
        elif self._sending == _HEAD and last:
            self._break_off()

    def _translate_head(self, data: bytes, *, for_head: bool) -> bytes | memoryview:
        """Send a head; give what is to be seen to behind it."""
        end = data.find(b"\r\n\r\n")
        head = data[:end]
        status = head[9:12]
        if status[:1] == b"1" and status != b"101":
            fields, _ = response_fields(head)
            self._session.send_interim(self.id, fields)
            return data[end + 4 :]
        switches = status == b"101"
        if switches and not accepts_websocket(head, self._key):
            self._break_off()
            return b""
        fields, framing = response_fields(head, is_websocket=switches)
        if for_head or status in (b"204", b"304"):
            framing = 0
        elif switches:
            framing = UNTIL_CLOSE
            self._switched = True
        self._framing = framing
        if not framing:
            self._sending = _ENDED
            self._session.send_response(self.id, fields, ended=True)
            return b""
        self._sending = _BODY
        if framing == CHUNKED:
            self._reader = ChunkedReader(_TRAILERS)
            if data[end + 4 :] == b"0\r\n\r\n":  # no body, no trailers
                self._sending = _ENDED
        self._session.send_response(self.id, fields, ended=self._sending == _ENDED)
        return memoryview(data)[end + 4 :] if self._sending == _BODY else b""

    def _translate_body(self, data: bytes | memoryview, *, last: bool) -> None:
        session = self._session
        reader = self._reader
        if reader is not None:
            content: bytes | memoryview = reader.feed(bytes(data))
            ended = reader.done
            if ended and reader.trailers:
                if content:
                    session.send_data(self.id, content, ended=False)
                session.send_trailers(self.id, trailer_fields(reader.trailers))
                self._sending = _ENDED
                return
        elif self._framing == UNTIL_CLOSE:
            content, ended = data, last
        else:
            content = data[: self._framing]
            self._framing -= len(content)
            ended = not self._framing
        if content or ended:
            session.send_data(self.id, content, ended=ended)
        if ended:
            self._sending = _ENDED
        elif last:
            self._break_off()

    def _end_sending(self) -> None:
        """End what is sent, where nothing else says where it ends."""
        if self._sending == _BODY and self._framing == UNTIL_CLOSE:
            self._sending = _ENDED
            self._session.send_data(self.id, b"", ended=True)

    def _sending_ended(self) -> None:
        """Send nothing more: the stream is over."""
        self._sending = _ENDED

    def _break_off(self, code: int = INTERNAL_ERROR) -> None:
        self._sending = _ENDED
        self._session.reset(self.id, code)
