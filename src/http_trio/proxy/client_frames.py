"""What a client's frames must be in a WebSocket over HTTP/2, before its server sees them.

RFC 6455 sections 5.1, 5.2, 5.5 and 8.1: masked, of a known kind, control frames short and
whole, fragments in order, text in UTF-8. A server that trusts its proxy may not look, so
the frame that breaks a rule, and what is behind it, does not go on.

The rule that it obeys: what two endpoints have agreed on is theirs. With an extension the
reserved bits and the content are not looked at.
"""

from __future__ import annotations

import codecs

from http_trio.proxy.websocket_frames import WebSocketFrameTracker

PROTOCOL_ERROR = 1002
NOT_UTF8 = 1007

_CONTINUATION, _TEXT, _BINARY = range(3)
_KNOWN = frozenset({_CONTINUATION, _TEXT, _BINARY, 8, 9, 10})
_MOST = 125  # bytes of a control frame


class ClientFrames(WebSocketFrameTracker):
    """The frames that come from a client.

    >>> frames = ClientFrames(extended=False)
    >>> frames.pass_over(b"\\x81\\x80abcd" + b"\\x81\\x03abc"), frames.fault
    (6, 1002)
    """

    __slots__ = ("_at", "_ends", "_extended", "_is_text", "_kind", "_mask", "_utf8")

    def __init__(self, *, extended: bool) -> None:
        """Begin; `extended` tells that an extension was agreed on."""
        super().__init__()
        self._extended = extended
        self._kind = 0  # of the message whose fragments come; 0 for none
        self._mask = b""
        self._at = 0  # where in the frame, for the mask
        self._ends = self._is_text = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def _begun(self, head: bytes) -> None:
        kind, ends = head[0] & 0x0F, head[0] & 0x80 != 0
        if (
            kind not in _KNOWN
            or not head[1] & 0x80
            or (head[0] & 0x70 and not self._extended)
            or (kind >= 8 and (not ends or head[1] & 0x7F > _MOST))
            or (kind in (_TEXT, _BINARY) and self._kind)
            or (kind == _CONTINUATION and not self._kind)
            or self._left >> 63
        ):
            self.fault = PROTOCOL_ERROR
            return
        self._is_text = False
        if kind < 8:
            message = kind or self._kind
            self._kind = 0 if ends else message
            self._is_text = message == _TEXT and not self._extended
        if self._is_text:
            self._mask, self._at, self._ends = head[-4:], 0, ends
            if not self._left:
                self._passed(b"")

    def _passed(self, data: bytes | memoryview) -> None:
        if not self._is_text:
            return
        size, turn = len(data), self._at % 4
        self._at += size
        mask = (self._mask[turn:] + self._mask[:turn]) * (size // 4 + 1)
        plain = int.from_bytes(data, "little") ^ int.from_bytes(mask[:size], "little")
        try:
            self._utf8.decode(
                plain.to_bytes(size, "little"), final=self._ends and not self._left
            )
        except UnicodeDecodeError:
            self.fault = NOT_UTF8
