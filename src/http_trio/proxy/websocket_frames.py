"""Where frames begin in a WebSocket that passes by, and the frame that closes one. Pure.

Bytes of a tunnel go by as they are; only the few of each frame's header are looked at
(RFC 6455 section 5.2), so that a frame of our own can be put between two others. A
control frame may stand between the fragments of a message too (section 5.4), so every
end of a frame is such a place.
"""

from __future__ import annotations

import struct

GOING_AWAY = 1001
SERVICE_RESTART = 1012  # IANA's registry of close codes; clients come back after it

_CLOSE = 0x8


class WebSocketFrameTracker:
    """The frames of one direction.

    Attributes:
        closed: whether a close frame has begun: no other may follow it.
        fault: the close code for a rule that was broken; 0 for none.
        is_clean: whether nothing of the frame that broke it was passed over.

    >>> frames = WebSocketFrameTracker()
    >>> frames.pass_over(b"\\x81\\x05hel"), frames.between
    (5, False)
    >>> frames.pass_over(b"lo"), frames.between
    (2, True)
    """

    __slots__ = ("_head", "_left", "closed", "fault", "is_clean")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False
        self.fault = 0
        self.is_clean = True

    def __repr__(self) -> str:
        return f"<WebSocketFrameTracker left={self._left} closed={self.closed}>"

    @property
    def between(self) -> bool:
        """Whether the bytes so far end where a frame ends."""
        return not self._left and not self._head

    def pass_over(self, data: bytes | memoryview) -> int:
        """Take note of bytes that go by; give how many come before a fault."""
        return self._walk(data, stop=False)

    def to_boundary(self, data: bytes | memoryview) -> int:
        """Take note of bytes up to the next end of a frame; give how many those are.

        That is 0 where one ended before, and all of them where none ends here: see
        `between`.
        """
        return self._walk(data, stop=True)

    def _walk(self, data: bytes | memoryview, *, stop: bool) -> int:
        size = len(data)
        at = 0
        while at < size:
            if stop and self.between:
                return at
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                self._passed(data[at : at + step])
                if self.fault:
                    self.is_clean = False
                    return at
                at += step
            else:
                began, self.is_clean = at, not self._head
                at = self._read_head(data, at)
                if self.fault:
                    return began
        return size

    def _begun(self, head: bytes) -> None:
        """Look at a frame's header; here, at nothing."""

    def _passed(self, data: bytes | memoryview) -> None:
        """Look at what follows of the frame; here, at nothing."""

    def _read_head(self, data: bytes | memoryview, at: int) -> int:
        """Take what is there of a frame's header; give where it goes on."""
        have = len(self._head)
        head = self._head + bytes(data[at : at + 14 - have])
        length = _head_length(head)
        if len(head) < length:
            self._head = head
            return len(data)
        self._head = b""
        self._left = _payload_length(head)
        if head[0] & 0x0F == _CLOSE:
            self.closed = True
        self._begun(head[:length])
        return at + length - have


def close_frame(code: int, *, mask: bytes | None = None) -> bytes:
    """Give a close frame with a code (RFC 6455 section 5.5.1).

    Args:
        code: such as 1012.
        mask: 4 random bytes for a frame from a client to a server, which must be masked;
            None for one to a client, which must not.

    >>> close_frame(1012)
    b'\\x88\\x02\\x03\\xf4'
    """
    payload = struct.pack("!H", code)
    if mask is None:
        return b"\x88\x02" + payload
    masked = bytes(byte ^ mask[at] for at, byte in enumerate(payload))
    return b"\x88\x82" + mask + masked


def _head_length(head: bytes) -> int:
    """Give how long a frame's header is, as far as its first two bytes are there."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(length, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload_length(head: bytes) -> int:
    length = head[1] & 0x7F
    if length == 126:
        return int.from_bytes(head[2:4], "big")
    if length == 127:
        return int.from_bytes(head[2:10], "big")
    return length
