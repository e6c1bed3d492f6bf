"""What a client may send that asks for nothing: a budget, and what is half-sent, pure.

Pings, settings, priorities, empty frames, windows and streams that are given up cost
their sender almost nothing, and each of them is work here (CVE-2019-9512, 9515, 9518,
CVE-2023-44487, CVE-2025-8671). So bytes that are neither a request nor content are
paid from a bucket, as are requests that come to nothing. What is sent to the client
fills it too, since who reads much has windows to open.

The rule that it obeys: nobody gets back more than what they paid. A head of 32 KiB is
a few bytes on the wire once its fields are in the table of HPACK.
"""

from __future__ import annotations

import struct

BURST = 256 * 1024
"""Bytes that the bucket holds."""

RATE = 64 * 1024
"""Bytes that run into it each second."""

WASTED = 1024
"""Bytes that a request costs which its client, or its fault, ends before its answer."""

_CARRIED = 16 * 1024  # paid before, and still to be given back: of a head in pieces
_FRAME = 9
_PREFACE = 24
_OF_HEADS = frozenset({1, 9})  # HEADERS, CONTINUATION
_END_HEADERS = 4
_read_frame = struct.Struct("!HBBB").unpack_from  # its length in two, kind, flags
_SENT = 16  # a window is opened by some 26 bytes for at least a kilobyte


class Overhead:
    """One connection's budget.

    Attributes:
        left: bytes that the client may still send for nothing; below 0 it is spent.

    >>> budget = Overhead(now=0.0)
    >>> budget.received(BURST + 1, now=0.0)
    >>> budget.left
    -1
    """

    __slots__ = ("_at", "_paid", "left")

    def __init__(self, now: float) -> None:
        self._at = now
        self._paid = 0
        self.left = float(BURST)

    def __repr__(self) -> str:
        return f"<Overhead left={self.left:.0f}>"

    def received(self, size: int, now: float) -> None:
        """Pay for bytes, whatever they are; what was of use is given back."""
        left, paid = self.left + (now - self._at) * RATE, self._paid
        self.left = (left if left < BURST else BURST) - size  # noqa: FURB136  # a call
        self._paid = (paid if paid < _CARRIED else _CARRIED) + size  # noqa: FURB136
        self._at = now

    def asked(self, head_size: int) -> None:
        """Give back what a request's head may have taken."""
        paid = self._paid
        back = head_size if head_size < paid else paid  # noqa: FURB136  # a call
        self._paid = paid - back
        self.left += back

    def brought(self, size: int) -> None:
        """Give back what a piece of content took, if it has any."""
        if size:
            back = min(size + _FRAME, self._paid)
            self._paid -= back
            self.left += back

    def wasted(self) -> None:
        """Pay for a request that came to nothing."""
        self.left -= WASTED

    def sent(self, size: int) -> None:
        """Take that so much was sent."""
        self.left += size / _SENT


class HalfSent:
    """Since when a client owes the rest of a frame, or of a head in several.

    The library says what is whole, and nothing of the rest. So the frames' own lengths
    are followed, and nothing else of them.

    Attributes:
        since: when it began; None while all is whole.

    >>> half = HalfSent(now=0.0)
    >>> half.received(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", now=1.0)
    >>> half.received(b"\\0\\0\\x08\\x06\\0\\0\\0\\0\\0half", now=2.0)
    >>> half.since
    2.0
    """

    __slots__ = ("_at", "_head", "_in_block", "since")

    def __init__(self, now: float) -> None:
        self._at = _PREFACE  # where the next frame begins, in what is to come
        self._head = b""
        self._in_block = False
        self.since: float | None = now

    def __repr__(self) -> str:
        return f"<HalfSent since={self.since}>"

    def received(self, data: bytes, now: float) -> None:
        """Follow what came."""
        if self.since is None and len(data) >= _FRAME:  # one whole frame is all, mostly
            high, low, kind, flags = _read_frame(data)
            if _FRAME + (high << 8) + low == len(data) and (
                kind not in _OF_HEADS or flags & _END_HEADERS
            ):
                return
        if self._head:
            data, self._head = self._head + data, b""
        at, size, in_block = self._at, len(data), self._in_block
        begins = self.since is None or (0 < at <= size and not in_block)
        while at + _FRAME <= size:
            high, low, kind, flags = _read_frame(data, at)
            if kind in _OF_HEADS:
                in_block = not flags & _END_HEADERS
            at += _FRAME + (high << 8) + low
            begins = begins or (at <= size and not in_block)
        self._at, self._in_block = max(0, at - size), in_block
        if at == size and not in_block:
            self.since = None
            return
        self._head = data[at:]
        if begins:
            self.since = now
