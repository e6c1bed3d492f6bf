"""What a connection is after the protocol changed: bytes both ways, until both ended.

RFC 9110 section 7.8. A side that ends is half-closed on the other, and the tunnel
lives on for what still comes that way.
"""

from __future__ import annotations

import math
import socket

import trio

from http_trio.wire import Wire, copy_buffer


class Tunnel:
    """Two sockets that talk to each other."""

    def __init__(self, down: Wire, up: Wire, *, idle_s: float) -> None:
        self._down, self._up = down, up
        self._idle_s = idle_s
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Move bytes until both sides have ended, or none has come for too long."""
        self._scope.deadline = trio.current_time() + self._idle_s
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, self._down, self._up)
                nursery.start_soon(self._pump, self._up, self._down)

    async def _pump(self, source: Wire, sink: Wire) -> None:
        try:
            with copy_buffer() as view:
                while count := await source.receive_into(view, math.inf):
                    self._scope.deadline = trio.current_time() + self._idle_s
                    await sink.send(view[:count], self._idle_s)
            sink.sock.shutdown(socket.SHUT_WR)
        except (OSError, trio.TooSlowError):
            self._scope.cancel()  # one side is gone: so is the tunnel
