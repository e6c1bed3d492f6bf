"""A response on its way to a stream: from HTTP/1.1 to frames.

Who answers writes HTTP/1.1, in pieces of which each head is whole; here a head becomes
fields, and behind it the body loses its framing.
"""

from __future__ import annotations

from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.messages.body_translator import BodyTranslator
from http_trio.http2.messages.heads import accepts_websocket, response_fields
from http_trio.http2.session import Http2Session


class ResponseTranslator(BodyTranslator):
    """What one stream sends."""

    __slots__ = ("_key", "_switched")

    def __init__(self, session: Http2Session, stream_id: int, *, key: bytes) -> None:
        super().__init__(session, stream_id)
        self._key = key
        self._switched = False

    def _translate(
        self, data: bytes | memoryview, *, last: bool, for_head: bool
    ) -> None:
        """Send what was written.

        Args:
            data: of the response, the next piece.
            last: nothing follows it.
            for_head: the request was HEAD, so no body follows the head.
        """
        while self._awaits_head and data:
            data = self._translate_head(bytes(data), for_head=for_head)
        if self._awaits_head:
            if last:
                self._break_off()
        elif not self._sent_all:
            self._translate_body(data, last=last)

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
        elif framing == CHUNKED and data[end + 4 :] == b"0\r\n\r\n":
            framing = 0  # no body, no trailers
        self._begin_body(framing)
        self._session.send_response(self.id, fields, ended=not framing)
        return memoryview(data)[end + 4 :] if framing else b""
