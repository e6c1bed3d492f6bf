"""What a connection is after the protocol changed: bytes both ways, until both ended.

RFC 9110 section 7.8; the protocol is WebSocket (RFC 6455), which is the only one that
is let through. A server that ends is half-closed to the client, and the tunnel lives on
for what still comes that way. A client that ends has left, unless it may close its half.

Where a client's frames are looked at (`client_frames.py`), the one that breaks a rule ends
it too, with the code that says so.

A tunnel that is recalled ends as an endpoint would end it: between two frames each side
gets a close frame, and a moment to answer it; what else comes then is dropped.
"""

from __future__ import annotations

import math
import os

import trio

from http_trio.net.stream import ByteStream, copy_buffer
from http_trio.proxy.websocket_frames import (
    GOING_AWAY,
    SERVICE_RESTART,
    WebSocketFrameTracker,
    close_frame,
)


class Tunnel:
    """A WebSocket between a client and an upstream."""

    def __init__(
        self,
        down: ByteStream,
        up: ByteStream,
        *,
        idle_s: float,
        recall_s: float,
        ahead: bytes,
        half_close: bool,
        from_client: WebSocketFrameTracker | None = None,
    ) -> None:
        """Begin.

        Args:
            down: to the client.
            up: to the upstream.
            idle_s: how long it may be silent.
            recall_s: from a recall to the cut.
            ahead: what went to the client before.
            from_client: who looks at what the client sends; by default, for where
                frames begin only.
            half_close: whether the client may end its half and still read.
        """
        self._idle_s = idle_s
        self._recall_s = recall_s
        self._scope = trio.CancelScope()
        self._recalled = False
        self._ways = (
            _Way(self, up, down, WebSocketFrameTracker(), half_close=True),
            _Way(
                self,
                down,
                up,
                from_client or WebSocketFrameTracker(),
                half_close=half_close,
            ),
        )
        self._ways[0].frames.pass_over(ahead)

    def __repr__(self) -> str:
        return f"<Tunnel recalled={self._recalled}>"

    async def run(self) -> None:
        """Move bytes until both sides have ended, or none has come for too long."""
        self.touch()
        with self._scope:
            async with trio.open_nursery() as nursery:
                for way in self._ways:
                    nursery.start_soon(way.run)

    @property
    def cut_by_server(self) -> bool:
        """Whether the server's side broke off, in place of ending."""
        return self._ways[0].source_broke

    def recall(self) -> None:
        """End it soon: with a close frame to each side where that can be given."""
        self._end(SERVICE_RESTART, GOING_AWAY)

    def refuse(self, code: int) -> None:
        """End it soon, as the client's fault."""
        self._end(code, code)

    def _end(self, to_client: int, to_server: int) -> None:
        if self._recalled:
            return
        self._recalled = True
        self._scope.deadline = trio.current_time() + self._recall_s
        self._ways[0].recall(close_frame(to_client))
        self._ways[1].recall(close_frame(to_server, mask=os.urandom(4)))

    def touch(self) -> None:
        """Note that something came."""
        if not self._recalled:
            self._scope.deadline = trio.current_time() + self._idle_s

    def cut(self) -> None:
        """End the tunnel at once: one side is gone."""
        self._scope.cancel()

    async def wait_room(self, sink: ByteStream) -> int:
        """Wait until one side takes something; give how much."""
        return await sink.wait_room(self._idle_s)

    async def send(self, sink: ByteStream, data: bytes | memoryview) -> None:
        """Send to one side."""
        await sink.send(data, self._idle_s)


class _Way:
    """One direction of a tunnel."""

    def __init__(
        self,
        tunnel: Tunnel,
        source: ByteStream,
        sink: ByteStream,
        frames: WebSocketFrameTracker,
        *,
        half_close: bool,
    ) -> None:
        self.frames = frames
        self._tunnel = tunnel
        self._source, self._sink = source, sink
        self._close = b""
        self._half_close = half_close
        self._receiving = trio.CancelScope()
        self._is_sending = False
        self._recalled = False
        self.source_broke = False

    async def run(self) -> None:
        try:
            with self._receiving:
                await self._pass_all()
            if self._recalled:
                with copy_buffer() as view:
                    await self._finish(view)
        except (OSError, trio.TooSlowError):
            self._tunnel.cut()

    def recall(self, close: bytes) -> None:
        """Stop where nothing is half sent, and end with this frame."""
        self._close = close
        self._recalled = True
        if not self._is_sending:
            self._receiving.cancel()

    async def _pass_all(self) -> None:
        """Take no more than there is room for, and hold no buffer where there is none."""
        while not self._recalled:
            room = await self._tunnel.wait_room(self._sink)
            with copy_buffer() as view:
                while room and not self._recalled:
                    try:
                        count = await self._source.receive_into(view[:room], math.inf)
                    except OSError:
                        self.source_broke = True
                        raise
                    if not count:
                        self._sink.end_sending()
                        if not self._half_close:
                            self._tunnel.cut()
                        return
                    await self._pass_on(view[:count])
                    room = self._sink.room

    async def _pass_on(self, data: memoryview) -> None:
        good = data[: self.frames.pass_over(data)]
        self._tunnel.touch()
        self._is_sending = True
        await self._tunnel.send(self._sink, good)
        self._is_sending = False
        if self.frames.fault:
            self._tunnel.refuse(self.frames.fault)

    async def _finish(self, view: memoryview) -> None:
        """Complete the present frame, say goodbye, and wait for the other's."""
        frames, dropped = self.frames, view[:0]
        if frames.fault:
            if frames.is_clean:
                await self._tunnel.send(self._sink, self._close)
            while await self._source.receive_into(view, math.inf):
                pass  # what it sends is not looked at any more
            return
        while not frames.between:
            count = await self._source.receive_into(view, math.inf)
            if not count:
                return
            end = frames.to_boundary(view[:count])
            await self._tunnel.send(self._sink, view[:end])
            if frames.fault:
                return
            dropped = view[end:count]
        if frames.closed:
            return
        await self._tunnel.send(self._sink, self._close)
        frames.pass_over(dropped)
        while not frames.closed:
            count = await self._source.receive_into(view, math.inf)
            if not count:
                return
            frames.pass_over(view[:count])
