"""HTTP/2, by hypercorn: the only module that imports it, and its public API only.

For each client that chose HTTP/2, hypercorn listens on a port of its own on the
loopback interface, without TLS (RFC 9113 section 3.3, prior knowledge), and runs
`as_asgi`. What the TLS listener decrypts of the client is moved there, and back. So the
sockets, the handshakes, the limits on connections and the certificates stay
with the listener; whoever else finds that port is answered 421.

One hypercorn for each client, since on trio an error in one of its connections ends it
whole (0.18: a request target that is not ASCII does). Nor is its own draining used:
it closes a connection before the END_STREAM of its last response is out. Instead
each client is sent GOAWAY between two frames, hypercorn closes what is idle as ever,
only sooner, and the rest has until the deadline of `serve`.

The rule that it obeys: a client's connection here ends when either side ends.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
from functools import partial
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework

from http_trio.asgi.app import AsgiApp
from http_trio.asgi.http import Receive, ResponseCut, Send
from http_trio.asgi.messages import Scope
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.http2.frames import Http2FrameTracker, goaway
from http_trio.limits import Limits
from http_trio.net.connect import connect
from http_trio.net.event_loop import EventLoop
from http_trio.net.stream import SocketStream, copy_buffer
from http_trio.net.tls_socket import TlsSocket
from http_trio.server.exchange import Handler
from http_trio.server.listener import Listener

_log = logging.getLogger(__name__)
_log_of_hypercorn = logging.getLogger("http_trio.hypercorn")
_LEAVE_S = 0.1  # how long a drained client that is idle has to hear of it
_log_of_hypercorn.setLevel(logging.WARNING)  # below that, it says where it listens


class Http2Bridge:
    """The HTTP/2 side of one `serve`."""

    def __init__(
        self, loop: EventLoop, handler: Handler, rules: ForwardedPolicy
    ) -> None:
        self.loop = loop
        self._app = AsgiApp(handler, loop.limits, rules)
        self._pairs = self._app.use(loop)
        self._clients: set[Http2Client] = set()

    def __repr__(self) -> str:
        return f"<Http2 clients={len(self._clients)}>"

    def carry(
        self, sock: TlsSocket, client_address: str, listener: Listener
    ) -> Http2Client:
        """Take over a client that chose HTTP/2."""
        client = Http2Client(self._app, sock, client_address, listener)
        self._clients.add(client)
        self.loop.spawn(self._run, client)
        return client

    def drain(self) -> None:
        """Ask the clients for no more streams; answer the parked, end what is idle."""
        for client in self._clients:
            client.say_goaway()
            self.loop.spawn(client.leave_if_idle)
        self._pairs.drain()

    async def _run(self, client: Http2Client) -> None:
        try:
            with client.scope:
                await client.run()
        except Exception as exc:  # of hypercorn, whatever it is: it is this client's
            _log.warning("%r ended: %r", client, exc, exc_info=_log.isEnabledFor(10))
        finally:
            self._clients.discard(client)
            client.close()


class Http2Client:
    """A client's connection that speaks HTTP/2.

    Attributes:
        streams: how many are open.
    """

    def __init__(
        self, app: AsgiApp, sock: TlsSocket, client_address: str, listener: Listener
    ) -> None:
        self.streams = 0
        self.scope = trio.CancelScope()
        self._app = app
        self._sock = sock
        self._client_address = client_address
        self._listener = listener
        self._limits = listener.loop.limits
        self._config = _config(self._limits)
        self._port = 0
        self._frames = Http2FrameTracker()
        self._sending = False
        self._leaving = False

    def __repr__(self) -> str:
        return f"<Http2Client {self._client_address} streams={self.streams}>"

    async def run(self) -> None:
        """Serve until either side ends."""
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(
                partial(
                    serve,
                    cast("Framework", self._serve),
                    self._config,
                    shutdown_trigger=trio.sleep_forever,
                    mode="asgi",
                )
            )
            port = int(urls[0].rpartition(":")[2])
            inner = await connect((socket.AF_INET, ("127.0.0.1", port)))
            self._port = inner.getsockname()[1]
            with inner:
                await self._move(inner)
            nursery.cancel_scope.cancel()

    def abort(self) -> None:
        """Close at once."""
        self.scope.cancel()

    def drain(self) -> None:
        """Do nothing: `Http2Bridge.drain` does it for all clients."""

    def turn_away(self, response: Response) -> None:
        """Close: there is no request yet that could be answered."""
        del response
        self.abort()

    def say_goaway(self) -> None:
        """Ask for no more streams, as soon as a frame may be put in."""
        self._leaving = True
        self._config.keep_alive_timeout = _LEAVE_S
        if not self._sending and self._frames.between:
            self._leaving = False
            with contextlib.suppress(OSError):  # a client that takes nothing now
                self._sock.send(goaway())

    async def leave_if_idle(self) -> None:
        """Close, if no stream is open after a while."""
        await trio.sleep(_LEAVE_S)
        if not self.streams:
            self.abort()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, told who its client really is."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["client"] is None or scope["client"][1] != self._port:
            await _turn_away(scope, send)
            return
        client = (
            None
            if self._client_address == "unix"
            else (self._client_address, self._port)
        )
        scheme = "https" if scope["type"] == "http" else "wss"
        scope = {**scope, "client": client, "scheme": scheme}
        self.streams += 1
        try:
            await self._app(scope, receive, send)
        except ResponseCut as exc:
            # ASGI cannot reset a stream, so the connection is what shows it.
            _log.debug("%r: %s", self, exc)
            self.abort()
        finally:
            self.streams -= 1

    async def _move(self, inner: socket.socket) -> None:
        """Move bytes both ways until either side ends."""
        async with trio.open_nursery() as nursery:
            for pump in (self._move_up, self._move_down):
                nursery.start_soon(pump, inner, self._limits.write_s, nursery)

    async def _move_up(
        self, inner: socket.socket, write_s: float, nursery: trio.Nursery
    ) -> None:
        source, sink = SocketStream(self._sock), SocketStream(inner)
        with contextlib.suppress(OSError, trio.TooSlowError), copy_buffer() as view:
            while count := await source.receive_into(view, math.inf):
                await sink.send(view[:count], write_s)
        nursery.cancel_scope.cancel()

    async def _move_down(
        self, inner: socket.socket, write_s: float, nursery: trio.Nursery
    ) -> None:
        source, sink = SocketStream(inner), SocketStream(self._sock)
        with contextlib.suppress(OSError, trio.TooSlowError), copy_buffer() as view:
            while count := await source.receive_into(view, math.inf):
                self._sending = True
                self._frames.feed(view[:count])
                await sink.send(view[:count], write_s)
                self._sending = False
                if self._leaving:
                    self.say_goaway()
        nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the client's side."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._sock.close()
        self._listener.ended(self)


async def _turn_away(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 421, "headers": []})
    await send({"type": "http.response.body", "body": b"this port is not for you\n"})


def _config(limits: Limits) -> Config:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 1
    config.errorlog = _log_of_hypercorn
    config.include_date_header = False  # the engine's is there
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle_s
    config.keep_alive_max_requests = (
        2**62
    )  # at its limit it breaks the streams that run
    config.h2_max_header_list_size = limits.head
    return config
