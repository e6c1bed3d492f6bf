"""Where one HTTP/2 frame ends and the next begins, pure (RFC 9113 section 4.1).

Who moves the bytes of a connection without speaking HTTP/2 can still put a frame of
its own between two of them, if it knows where that is.
"""

from __future__ import annotations

_HEADER = 9
_NO_MORE = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x7f\xff\xff\xff" + bytes(4)


def goaway() -> bytes:
    """Give the frame that asks for no more streams, and refuses none (section 6.8)."""
    return _NO_MORE


class Http2FrameTracker:
    """Follows the bytes of one direction.

    Attributes:
        between: whether they stand between two frames, at least one of which was seen.

    >>> frames = Http2FrameTracker()
    >>> frames.feed(goaway()[:11]), frames.between
    (None, False)
    >>> frames.feed(goaway()[11:]), frames.between
    (None, True)
    """

    __slots__ = ("_header", "_left", "between")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self.between = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
            else:
                step = min(_HEADER - len(self._header), end - at)
                self._header += bytes(data[at : at + step])
                if len(self._header) == _HEADER:
                    self._left = int.from_bytes(self._header[:3], "big")
                    self._header = b""
            at += step
        self.between = not self._left and not self._header
