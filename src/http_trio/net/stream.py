"""What a task reads from and writes to: receive some, send all, copy much.

`ByteStream` says what a task needs; a socket is one, and so is one stream of an HTTP/2
connection. The socket is tried first and waited for only when it would block; nothing
here sets a time limit but the waits that a caller names, since a stalled peer is only
seen while waiting for it. One file, since the copy is made of both.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from http_trio.limits import BUFFER
from http_trio.net.poller import READ
from http_trio.net.tls_socket import AnySocket, TlsSocket

_COPY = 256 * 1024  # more gains nothing, less costs system calls
_TURN = 1024 * 1024  # bytes moved before other tasks have their turn
_SPARE = 4  # copy buffers kept for the next one; new ones cost page faults


class ByteStream(Protocol):
    """Bytes both ways, with a wait in each.

    Attributes:
        buffer: what was read already; the next to read comes first from here.
    """

    buffer: bytes

    async def receive(self, idle_s: float, most: int = _COPY) -> bytes:
        """Give what comes next, of a socket at most so much; empty at the end.

        Raises:
            trio.TooSlowError: nothing came for idle_s seconds.
            OSError: the peer is gone.
        """

    async def receive_into(self, view: memoryview, idle_s: float) -> int:
        """Fill a part of view; give how much, 0 at the end. Raises as `receive`."""

    async def receive_ahead(self) -> bytes:
        """Give what comes while something else is waited for; empty at the end.

        Without a look at `buffer`, and no more than the event loop reads at a time.

        Raises:
            OSError: the peer is gone.
        """

    async def send(self, data: bytes | memoryview, idle_s: float) -> None:
        """Send all of it.

        Raises:
            trio.TooSlowError: nothing was taken for idle_s seconds.
            OSError: the peer is gone.
        """

    @property
    def room(self) -> int:
        """Bytes that would be taken at once; 0 where that is to be waited for."""

    async def wait_room(self, idle_s: float) -> int:
        """Wait until something would be taken at once; give how much. As `send`."""

    def end_sending(self) -> None:
        """Say that no more will be sent.

        Raises:
            OSError: the peer is gone.
        """

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer, whose sending has ended, is gone for good."""

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""

    def add_trailers(self, lines: bytes) -> None:
        """Send these behind the body, whose length was stated, and whose end is next."""


class SocketStream:
    """A non-blocking socket, with what was read from it already: a `ByteStream`."""

    trailers = b""  # where HTTP/1.1 states a length, nothing follows it

    __slots__ = ("_since_turn", "buffer", "sock")

    def __init__(self, sock: AnySocket, buffer: bytes = b"") -> None:
        self.sock = sock
        self.buffer = buffer
        self._since_turn = 0

    def add_trailers(self, lines: bytes) -> None:
        """Drop them: HTTP/1.1 has them behind chunks only (RFC 9112 section 7.1.2)."""

    async def receive(self, idle_s: float, most: int = _COPY) -> bytes:
        """Give what comes next, of a socket at most so much; empty at the end.

        Raises:
            trio.TooSlowError: nothing came for idle_s seconds.
            OSError: the peer is gone.
        """
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        await self._take_turns()
        while True:
            try:
                data = self.sock.recv(most)
            except BlockingIOError:
                with trio.fail_after(idle_s):
                    await trio.lowlevel.wait_readable(self.sock)
            else:
                self._since_turn += len(data)
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
                try:
                    at += self.sock.send(view[at:])
                except BlockingIOError:
                    with trio.fail_after(idle_s):
                        await trio.lowlevel.wait_writable(self.sock)

    async def receive_into(self, view: memoryview, idle_s: float) -> int:
        """Fill a part of view; give how much, 0 at the end. Raises as `receive`."""
        if self.buffer:
            count = min(len(view), len(self.buffer))
            view[:count] = self.buffer[:count]
            self.buffer = self.buffer[count:]
            return count
        await self._take_turns()
        while True:
            try:
                count = self.sock.recv_into(view)
            except BlockingIOError:
                with trio.fail_after(idle_s):
                    await trio.lowlevel.wait_readable(self.sock)
            else:
                self._since_turn += count
                return count

    async def receive_ahead(self) -> bytes:
        """Give what comes while something else is waited for; empty at the end.

        Raises:
            OSError: the peer is gone.
        """
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv(BUFFER)
            except BlockingIOError:
                continue

    @property
    def room(self) -> int:
        """Give a copy's size: the kernel has the room, and `send` waits for it."""
        return _COPY

    async def wait_room(self, idle_s: float) -> int:
        """Give the same at once."""
        del idle_s
        return _COPY

    def end_sending(self) -> None:
        """Say that no more will be sent.

        Raises:
            OSError: the peer is gone.
        """
        self.sock.shutdown(socket.SHUT_WR)

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer, whose sending has ended, is gone for good.

        Known of Unix sockets at once; of TCP only when a reset has come.
        """
        poll = select.poll()
        poll.register(self.sock.fileno(), 0)
        return bool(poll.poll(0))

    async def _take_turns(self) -> None:
        """Let others work, before anything is read: so a cancelled read loses nothing."""
        if self._since_turn >= _TURN:
            self._since_turn = 0
            await trio.lowlevel.checkpoint()


async def copy(
    take: Callable[[memoryview], Awaitable[int]],
    give: Callable[[memoryview], Awaitable[None]],
    count: int,
    *,
    sink: ByteStream,
    wait_room: Callable[[], Awaitable[int]],
) -> None:
    """Move so many bytes; whichever of the three raises ends it.

    No more is taken than there is room for, and no buffer is held where there is none:
    of many streams of one client each may wait, for as long as that client likes.
    """
    while count:
        room = await wait_room()
        with copy_buffer() as view:
            while count and room:
                got = await take(view[: min(count, room)])
                await give(view[:got])
                count -= got
                room = sink.room


_spare: list[bytearray] = []


@contextmanager
def copy_buffer() -> Iterator[memoryview]:
    """Lend a large buffer."""
    buffer = _spare.pop() if _spare else bytearray(_COPY)
    try:
        with memoryview(buffer) as view:
            yield view
    finally:
        if len(_spare) < _SPARE:
            _spare.append(buffer)


async def finish_handshake(sock: TlsSocket) -> None:
    """Carry a handshake to its end.

    Raises:
        OSError: as of `TlsSocket.handshake`.
    """
    while wanted := sock.handshake():
        if wanted == READ:
            await trio.lowlevel.wait_readable(sock.fileno())
        else:
            await trio.lowlevel.wait_writable(sock.fileno())
