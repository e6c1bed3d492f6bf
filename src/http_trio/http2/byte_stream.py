"""One stream of HTTP/2, as a task uses it: a `ByteStream` of HTTP/1.1.

What comes is framed as the message's head says it is: by length, in chunks with their
trailers, or not at all, where the stream carries a WebSocket. Only then is the stream's
end an end to who reads; after a message there is nothing, as on a connection that is
kept open.

The rule that it obeys: its peer may send more only as fast as somebody reads, and it
takes no more than there is room for. One file, since both ways of a stream end together.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from typing import Protocol

import trio

from http_trio.http1.chunked import encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.session import code_name


class StreamEnd(Protocol):
    """The stream's own side."""

    def take(self, data: bytes | memoryview) -> int:
        """Send as much as there is room for; give how much that is."""

    def consumed(self, size: int) -> None:
        """Let the peer send more: so much of what it sent was read."""

    def end_sending(self) -> None:
        """Say that no more will be sent."""

    def stalled(self) -> None:
        """Take that the peer has taken nothing for too long; the stream ends for it."""

    def add_trailers(self, lines: bytes) -> None:
        """Take the trailers of a body that states its length, before its last byte."""

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""

    @property
    def room(self) -> int:
        """Bytes that would be taken now."""

    @property
    def behind(self) -> int:
        """Bytes that wait for the peer to take them."""


class Http2ByteStream:
    """What a task reads from and writes to.

    Attributes:
        buffer: what was read already; the next to read comes first from here.
    """

    __slots__ = (
        "_awaited",
        "_behind",
        "_broken",
        "_changed",
        "_ended",
        "_framing",
        "_held",
        "_pieces",
        "_stream",
        "_taken_at",
        "buffer",
    )

    def __init__(
        self, stream: StreamEnd, framing: int, *, awaits_end: bool = False
    ) -> None:
        """Begin.

        Args:
            stream: the stream's own side.
            framing: how what comes is framed; `UNTIL_CLOSE` for not at all.
            awaits_end: whether the last of a body that states its length waits for the
                stream's end, since trailers may come with that.
        """
        self.buffer = b""
        self._stream = stream
        self._framing = framing
        self._awaited = framing if awaits_end and framing > 0 else math.inf
        self._held = b""
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._ended = False
        self._broken: OSError | None = None
        self._changed = trio.Event()
        self._behind = 0
        self._taken_at = trio.current_time()

    def __repr__(self) -> str:
        return f"<Http2ByteStream pieces={len(self._pieces)} ended={self._ended}>"

    # === for the stream ===

    def feed_head(self, head: bytes, framing: int) -> None:
        """Take a head, and how what follows it is framed."""
        self._pieces.append((head, 0))
        self._framing = framing
        self._wake()

    def feed(self, data: bytes, *, ended: bool, trailers: bytes) -> None:
        """Take what the peer sent; trailers as lines."""
        self._awaited -= len(data)
        if self._awaited <= 0:
            data, self._held = self._held + data, b""
            if not ended:
                self._held = data
                return
        size = len(data)
        if self._framing == CHUNKED:
            data = encode_chunk(data) if data else b""
            if ended:
                data += b"0\r\n%b\r\n" % trailers
        if data:
            self._pieces.append((data, size))
        self._ended = ended
        self._wake()

    def break_off(self, code: int) -> None:
        """Take that the stream is over before its time."""
        words = f"reset: {code_name(code)}"
        self.fail(ConnectionResetError(errno.ECONNRESET, words))

    def fail(self, error: OSError) -> None:
        """Take that there is no use of the stream any more, and why."""
        self._broken = error
        self._wake()

    def drop_unread(self) -> int:
        """Forget what was not read, of which nobody wants more; give how much it was."""
        size = sum(size for _, size in self._pieces) + len(self._held)
        self._pieces.clear()
        self._held = b""
        return size

    def may_send(self) -> None:
        """Take that there is room again."""
        self._wake()

    @property
    def has_news(self) -> bool:
        """Whether a read would not wait."""
        return bool(self._pieces) or self._broken is not None or self._has_ended

    # === as a `ByteStream` ===

    async def receive(self, idle_s: float, most: int = 0) -> bytes:
        """Give what comes next; empty at the end.

        Raises:
            trio.TooSlowError: nothing came for idle_s seconds.
            OSError: the peer is gone.
        """
        del most  # a piece is a frame of the peer's at most
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        with trio.fail_after(idle_s):
            return await self.receive_ahead()

    async def receive_into(self, view: memoryview, idle_s: float) -> int:
        """Fill a part of view; give how much, 0 at the end. Raises as `receive`."""
        if not self.buffer:
            self.buffer = await self.receive(idle_s)
        count = min(len(view), len(self.buffer))
        view[:count] = self.buffer[:count]
        self.buffer = self.buffer[count:]
        return count

    async def receive_ahead(self) -> bytes:
        """Give what comes while something else is waited for; empty at the end.

        Raises:
            OSError: the peer is gone.
        """
        while not self._pieces:
            self._check()
            if self._has_ended:
                return b""
            await self._changed.wait()
        data, size = self._pieces.popleft()
        self._stream.consumed(size)
        return data

    async def send(self, data: bytes | memoryview, idle_s: float) -> None:
        """Send all of it.

        Raises:
            trio.TooSlowError: nothing was taken for idle_s seconds.
            OSError: the peer is gone.
        """
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                await self.wait_room(idle_s)
                self._look()
                at += self._stream.take(view[at:])
                self._behind = self._stream.behind

    @property
    def room(self) -> int:
        """Bytes that would be taken at once; 0 where that is to be waited for."""
        return 0 if self._broken is not None else self._stream.room

    async def wait_room(self, idle_s: float) -> int:
        """Wait until something would be taken at once; give how much. As `send`."""
        self._check()
        while not (room := self._stream.room):
            await self._wait_taken(idle_s)
        return room

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""
        return self._stream.trailers

    def add_trailers(self, lines: bytes) -> None:
        """Send these behind the body, whose length was stated, and whose end is next."""
        self._stream.add_trailers(lines)

    def end_sending(self) -> None:
        """Say that no more will be sent.

        Raises:
            OSError: the peer is gone.
        """
        self._check()
        self._stream.end_sending()

    @property
    def has_hung_up(self) -> bool:
        """False: a stream whose peer is gone is broken."""
        return False

    # === private ===

    async def _wait_taken(self, idle_s: float) -> None:
        """Wait for room, but not for a peer that takes nothing.

        What it sends is no sign of it, nor is room that others have left.
        """
        self._look()
        with trio.move_on_at(self._taken_at + idle_s):
            while not self._stream.room:
                await self._changed.wait()
                self._check()
            return
        self._look()
        if trio.current_time() >= self._taken_at + idle_s:
            self._stream.stalled()
            raise trio.TooSlowError

    def _look(self) -> None:
        """Note whether the peer has taken something."""
        behind = self._stream.behind
        if behind < self._behind or not behind:
            self._taken_at = trio.current_time()
        self._behind = behind

    @property
    def _has_ended(self) -> bool:
        return self._ended and self._framing == UNTIL_CLOSE

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
