"""HTTP/2, by hypercorn: the only module that imports it, and its public API only.

hypercorn listens on a port of its own on the loopback interface, without TLS (RFC
9113 section 3.3, prior knowledge), and runs `as_asgi`. What a TLS listener decrypts
of a client that chose HTTP/2 is moved there, and back. So the sockets, the handshakes,
the limits on connections and the certificates stay with the listener, and
whoever is no client of ours, but finds that port, is answered 421.

Draining does not use hypercorn's own: when it is told to stop, it closes a connection
before the END_STREAM of its last answer is out (0.18). So each client is sent GOAWAY
between two frames, hypercorn closes what is idle as ever, only sooner, and the rest has
until the deadline of `serve`.

The rule that it obeys: a client's connection here ends when either side ends.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework

from http_trio.answer import Answer
from http_trio.asgi import AsgiApp
from http_trio.asgi_http import AnswerCut, Receive, Send
from http_trio.asgi_messages import Scope
from http_trio.errors import BadRequest
from http_trio.frames import Frames, goaway
from http_trio.limits import Limits
from http_trio.tls_socket import TlsSocket
from http_trio.wire import Wire, copy_buffer

if TYPE_CHECKING:
    from http_trio.exchange import Handler
    from http_trio.forwarding import Forwarding
    from http_trio.lane import Lane
    from http_trio.listener import Listener

_log = logging.getLogger(__name__)
_log_of_hypercorn = logging.getLogger("http_trio.hypercorn")
_LEAVE_S = 0.1  # how long a drained client that is idle has to hear of it
_log_of_hypercorn.setLevel(logging.WARNING)  # below that, it says where it listens


class Http2:
    """The HTTP/2 side of one `serve`."""

    def __init__(self, lane: Lane, handler: Handler, rules: Forwarding) -> None:
        self.lane = lane
        self._app = AsgiApp(handler, lane.limits, rules, client_of=self._client_of)
        self._pairs = self._app.use(lane)
        self._clients: dict[int, Http2Client] = {}
        self._address = ("127.0.0.1", 0)
        self._config = _config(lane.limits)

    def __repr__(self) -> str:
        return f"<Http2 clients={len(self._clients)}>"

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until drained or cancelled; `started` when it can carry clients."""
        async with trio.open_nursery() as nursery:
            run = partial(
                serve,
                cast("Framework", self._serve),
                self._config,
                shutdown_trigger=trio.sleep_forever,
                mode="asgi",
            )
            urls = await nursery.start(run)
            self._address = ("127.0.0.1", int(urls[0].rpartition(":")[2]))
            task_status.started()

    def carry(self, sock: TlsSocket, peer: str, listener: Listener) -> Http2Client:
        """Take over a client that chose HTTP/2."""
        client = Http2Client(sock, peer, listener)
        self.lane.spawn(self._carry, client)
        return client

    def drain(self) -> None:
        """Ask the clients for no more streams; answer the parked, end what is idle."""
        self._config.keep_alive_timeout = _LEAVE_S
        for client in self._clients.values():
            client.say_goaway()
            self.lane.spawn(client.leave_if_idle)
        self._pairs.drain()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = self._clients.get(_port(scope))
        if client is None:
            await self._app(scope, receive, send)  # the lifespan, or to be refused
            return
        client.streams += 1
        try:
            await self._app(scope, receive, send)
        except AnswerCut as exc:
            # ASGI cannot reset a stream, so the connection is what shows it.
            _log.debug("%s", exc)
            client.abort()
        finally:
            client.streams -= 1

    def _client_of(self, scope: Scope) -> tuple[str, bytes]:
        client = self._clients.get(_port(scope))
        if client is None:
            raise BadRequest(421, "this port is not for you")
        return client.peer, b"https"

    async def _carry(self, client: Http2Client) -> None:
        port = 0
        try:
            with client.scope:
                inner = await _connect(self._address)
                port = inner.getsockname()[1]
                self._clients[port] = client
                await client.move(inner, self.lane.limits)
        except OSError as exc:
            _log.debug("%r: %s", client, exc)
        finally:
            self._clients.pop(port, None)
            client.close()


class Http2Client:
    """A client's connection that speaks HTTP/2.

    Attributes:
        peer: its address, or "unix".
        streams: how many are open.
    """

    def __init__(self, sock: TlsSocket, peer: str, listener: Listener) -> None:
        self.peer = peer
        self.streams = 0
        self.scope = trio.CancelScope()
        self._sock = sock
        self._listener = listener
        self._frames = Frames()
        self._sending = False
        self._leaving = False

    def __repr__(self) -> str:
        return f"<Http2Client {self.peer} streams={self.streams}>"

    def abort(self) -> None:
        """Close at once."""
        self.scope.cancel()

    def drain(self) -> None:
        """Nothing: `Http2.drain` does it for all."""

    def turn_away(self, answer: Answer) -> None:
        """Close: there is no request yet that could be answered."""
        del answer
        self.abort()

    def say_goaway(self) -> None:
        """Ask for no more streams, as soon as a frame may be put in."""
        self._leaving = True
        if not self._sending and self._frames.between:
            self._leaving = False
            with contextlib.suppress(OSError):  # a client that takes nothing now
                self._sock.send(goaway())

    async def leave_if_idle(self) -> None:
        """Close, if no stream is open after a while."""
        await trio.sleep(_LEAVE_S)
        if not self.streams:
            self.abort()

    async def move(self, inner: socket.socket, limits: Limits) -> None:
        """Move bytes both ways until either side ends."""
        with inner:
            async with trio.open_nursery() as nursery:
                for pump in (self._move_up, self._move_down):
                    nursery.start_soon(pump, inner, limits.write_s, nursery)

    async def _move_up(
        self, inner: socket.socket, write_s: float, nursery: trio.Nursery
    ) -> None:
        source, sink = Wire(self._sock), Wire(inner)
        with contextlib.suppress(OSError, trio.TooSlowError), copy_buffer() as view:
            while count := await source.receive_into(view, math.inf):
                await sink.send(view[:count], write_s)
        nursery.cancel_scope.cancel()

    async def _move_down(
        self, inner: socket.socket, write_s: float, nursery: trio.Nursery
    ) -> None:
        source, sink = Wire(inner), Wire(self._sock)
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


async def _connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection to hypercorn."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _port(scope: Scope) -> int:
    client = scope.get("client")
    return 0 if client is None else int(client[1])


def _config(limits: Limits) -> Config:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 4096
    config.errorlog = _log_of_hypercorn
    config.include_date_header = False  # the engine's is there
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle_s
    config.keep_alive_max_requests = (
        2**62
    )  # at its limit it breaks the streams that run
    config.h2_max_header_list_size = limits.head
    return config
