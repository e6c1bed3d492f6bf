"""A response on its way to a stream: from HTTP/1.1 to frames.

Who answers writes HTTP/1.1, in pieces of which each head is whole; here a head becomes
fields, and behind it the body loses its framing.
"""

from __future__ import annotations

from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.messages.body_translator import (
    BODY,
    ENDED,
    HEAD,
    BodyTranslator,
)
from http_trio.http2.messages.heads import accepts_websocket, response_fields
from http_trio.http2.session import Http2Session


class ResponseTranslator(BodyTranslator):
    """What one stream sends."""

    __slots__ = ("_key", "_switched")

    def __init__(self, session: Http2Session, stream_id: int, *, key: bytes) -> None:
        super().__init__(session, stream_id)
        self._key = key
        self._switched = False

    def _send_whole(self, data: bytes) -> int:
        """Send a response if it is here whole and states its length, as most are.

        What is sent is what `_translate` would send. Gives the size of its body, which
        is not empty; 0 if it is no such response, and nothing was sent.
        """
        end = data.find(b"\r\n\r\n")
        head, body = data[:end], data[end + 4 :]
        fields, framing = response_fields(head)
        if framing != len(body) or not body or self._last_lines or head[9:10] == b"1":
            return 0
        self._sending = ENDED
        self._session.send_whole(self.id, fields, body)
        return framing

    def _translate(
        self, data: bytes | memoryview, *, last: bool, for_head: bool
    ) -> None:
        """Send what was written.

        Args:
            data: of the response, the next piece.
            last: nothing follows it.
            for_head: the request was HEAD, so no body follows the head.
        """
        while self._sending == HEAD and data:
            data = self._translate_head(bytes(data), for_head=for_head)
        if self._sending == BODY:
            self._translate_body(data, last=last)
        elif self._sending == HEAD and last:
            self._break_off()

    def _translate_head(self, data: bytes, *, for_head: bool) -> bytes:
        """Send a head; give what is to be seen to behind it."""
        end = data.find(b"\r\n\r\n")
        head, rest = data[:end], data[end + 4 :]
        if head[9:10] == b"1":
            return self._translate_1xx(head, rest)
        fields, framing = response_fields(head)
        if for_head or (framing == CHUNKED and rest == b"0\r\n\r\n"):
            framing = 0  # no body, no trailers
        self._begin_body(framing)
        self._session.send_response(self.id, fields, ended=not framing)
        return rest if framing else b""

    def _translate_1xx(self, head: bytes, rest: bytes) -> bytes:
        """Send an interim head, or the 101 that opens a WebSocket."""
        switches = head[9:12] == b"101"
        if switches and not accepts_websocket(head, self._key):
            self._break_off()
            return b""
        fields, _ = response_fields(head, is_websocket=switches)
        if switches:
            self._switched = True
            self._begin_body(UNTIL_CLOSE)
            self._session.send_response(self.id, fields, ended=False)
        else:
            self._session.send_interim(self.id, fields)
        return rest
