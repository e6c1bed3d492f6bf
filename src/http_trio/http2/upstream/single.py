"""A connection to a server for one request, by a task: a `ByteStream` of HTTP/1.1.

For what goes on beside the traffic (`fetch`), without an event loop. It reads and writes
its transport whenever its user waits, and at no other time.
"""

from __future__ import annotations

import errno
import math
from contextlib import suppress

from http_trio.http2.byte_stream import Http2ByteStream
from http_trio.http2.messages.heads import Field
from http_trio.http2.session import Http2Session, Http2Settings
from http_trio.http2.upstream.stream import UpstreamStream
from http_trio.limits import BUFFER, Limits
from http_trio.net.stream import ByteStream

_FIELDS = 1_024


class SingleStream:
    """The connection, the owner of its stream, and what its user reads and writes.

    Attributes:
        session: the state of its HTTP/2.
        buffer: what was read already; the next to read comes first from here.
    """

    def __init__(
        self, transport: ByteStream, limits: Limits, *, name: str, scheme: bytes
    ) -> None:
        self.session = Http2Session(self, _settings(limits), is_client=True)
        self.buffer = b""
        self.name = name
        self.scheme = scheme
        self.now = math.inf  # no deadline is ever set: its user waits
        self._transport = transport
        self._stream = UpstreamStream(self, limits)
        self._stream.leave_loop()
        self._stream.place()
        stream = self._stream.stream
        assert isinstance(stream, Http2ByteStream), "it is a task's"
        self._carried = stream

    def __repr__(self) -> str:
        return f"<SingleStream to {self.name}>"

    # === as a `ByteStream` ===

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""
        return self._carried.trailers

    def add_trailers(self, lines: bytes) -> None:
        """Send these behind the body, whose length was stated, and whose end is next."""
        self._carried.add_trailers(lines)

    async def receive(self, idle_s: float, most: int = 0) -> bytes:
        """Give what comes next; empty at the end. Raises as `ByteStream.receive`."""
        del most  # as of `Http2ByteStream`
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        while not self._carried.has_news:
            with suppress(OSError):  # it may have answered before it closed
                await self._flush(idle_s)
            await self._read(idle_s)
        return await self._carried.receive(idle_s)

    async def receive_into(self, view: memoryview, idle_s: float) -> int:
        """Fill a part of view; give how much, 0 at the end. Raises as `receive`."""
        if not self.buffer:
            self.buffer = await self.receive(idle_s)
        count = min(len(view), len(self.buffer))
        view[:count] = self.buffer[:count]
        self.buffer = self.buffer[count:]
        return count

    async def receive_ahead(self) -> bytes:
        """Give what comes while something else is waited for; empty at the end."""
        return await self.receive(math.inf)

    async def send(self, data: bytes | memoryview, idle_s: float) -> None:
        """Send all of it, or queue the last of it. Raises as `ByteStream.send`."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                await self.wait_room(idle_s)
                at += self._stream.take(view[at:])
        await self._flush(idle_s)

    @property
    def room(self) -> int:
        """Bytes that would be taken at once; 0 where that is to be waited for."""
        return self._stream.room

    async def wait_room(self, idle_s: float) -> int:
        """Wait until something would be taken at once; give how much. As `send`."""
        await self._flush(idle_s)
        while not (room := self._stream.room):
            await self._read(idle_s)
            await self._flush(idle_s)
        return room

    def end_sending(self) -> None:
        """Say that no more will be sent; it goes out when something is waited for."""
        self._stream.end_sending()

    @property
    def has_hung_up(self) -> bool:
        """False: a stream whose peer is gone is broken."""
        return False

    # === for the stream, as its owner ===

    def wake(self) -> None:
        """Do nothing: what is waited for is flushed first."""

    def begins(self, stream: UpstreamStream) -> None:
        """Do nothing: it begins at once."""

    def opened(self, stream: UpstreamStream) -> None:
        """Do nothing: there is one."""

    def forget(self, stream: UpstreamStream) -> None:
        """Do nothing: who opened the transport closes it."""

    def await_room(self, stream: UpstreamStream) -> None:
        """Do nothing: its user looks again."""

    def deliver_soon(self, stream: UpstreamStream) -> None:
        """Do nothing: a task is given what comes at once."""

    def look_at(self, deadline: float) -> None:
        """Do nothing: its user waits."""

    def blame_address(self) -> None:
        """Do nothing: who connected knows better."""

    # === for the session ===

    def head_received(
        self, stream_id: int, fields: tuple[Field, ...], *, ended: bool
    ) -> None:
        """Take the response's head."""
        del stream_id
        self._stream.head_received(fields, ended=ended)

    def interim_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Take the head of a 1xx response."""
        del stream_id
        self._stream.interim_received(fields)

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        """Take a piece of the body."""
        del stream_id
        self._stream.data_received(data, ended=ended)

    def trailers_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Take the trailers."""
        del stream_id
        self._stream.data_received(b"", ended=True, trailers=fields)

    def stream_reset(self, stream_id: int) -> None:
        """Do nothing: its end follows."""

    def stream_closed(self, stream_id: int, code: int) -> None:
        """Take the stream's end."""
        del stream_id
        self._stream.closed(code)

    def settings_received(self) -> None:
        """Do nothing: the session obeys them."""

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """Do nothing: there is no second request."""

    def ping_answered(self) -> None:
        """Do nothing: none is sent."""

    def connection_failed(self, code: int, reason: str) -> None:
        """Take that the connection is over."""
        words = f"what came is no HTTP/2: {reason}" if code else "closed"
        self._carried.fail(ConnectionResetError(errno.ECONNRESET, words))

    # === private ===

    async def _flush(self, idle_s: float) -> None:
        while data := self.session.output(BUFFER):
            await self._transport.send(data, idle_s)

    async def _read(self, idle_s: float) -> None:
        data = await self._transport.receive(idle_s)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed without a response")
        self.session.receive(data)


def _settings(limits: Limits) -> Http2Settings:
    return Http2Settings(
        streams=0,
        stream_window=BUFFER,
        connection_window=BUFFER,
        head=limits.head,
        fields=_FIELDS,
    )
