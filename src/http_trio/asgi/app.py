"""The engine's handler as an ASGI 3 application, for a server on trio.

Each HTTP request and each WebSocket of the server becomes a request over a
connection of its own to the event loop (`pairs`), so a handler runs here as it does under
`serve`: with the same limits, in the same two paths. The client's address and scheme
are those that the server names, never what a request says of itself.

The event loop's tasks live in the server's `lifespan` call, or in the nursery of the
`serve` that brings its own event loop.
"""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager

import trio

from http_trio.asgi.http import HttpExchange, Receive, Send
from http_trio.asgi.messages import Scope, read_request, read_websocket
from http_trio.asgi.websocket import WebSocketExchange, new_key
from http_trio.errors import BadRequest
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import error_response
from http_trio.limits import Limits
from http_trio.net.event_loop import EventLoop
from http_trio.server.exchange import Handler
from http_trio.server.in_process import InProcessListener


def as_asgi(
    handler: Handler,
    *,
    limits: Limits | None = None,
    forwarding: ForwardedPolicy | None = None,
) -> AsgiApp:
    """Make an ASGI 3 application of a handler.

    The server must run on trio and support `lifespan`, as hypercorn does:

        await hypercorn.trio.serve(as_asgi(handler), config)

    Responses stream, and a client that leaves (`http.disconnect`) ends its exchange. A
    WebSocket reaches the handler as a request with `Upgrade: websocket`. Where the
    server knows `http.response.trailers`, trailers are passed on.

    Args:
        handler: as for `serve`.
        limits: every size and wait, as for `serve`, but of the connections, which are
            the server's.
        forwarding: what forwarded requests say of the client; its `proto` is what the
            server says.

    Cancelled, a call closes its connection to the event loop, which ends the exchange.
    """
    return AsgiApp(handler, limits or Limits(), forwarding or ForwardedPolicy())


class AsgiApp:
    """A handler as an ASGI 3 application; `as_asgi` makes it."""

    def __init__(
        self, handler: Handler, limits: Limits, forwarding: ForwardedPolicy
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._forwarding = forwarding
        self._listener: InProcessListener | None = None

    def __repr__(self) -> str:
        return f"<AsgiApp {self._listener}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request or WebSocket, or the server's lifespan."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
            return
        if self._listener is None:
            raise RuntimeError(
                "no event loop runs: as_asgi needs a server that supports lifespan, as"
                " hypercorn on trio does"
            )
        if kind == "http":
            await self._serve_http(self._listener, scope, receive, send)
        elif kind == "websocket":
            await self._serve_websocket(self._listener, scope, receive, send)
        else:
            raise ValueError(f"scope {kind!r}, expected http, websocket or lifespan")

    def use(self, loop: EventLoop) -> InProcessListener:
        """Run on an event loop whose tasks run elsewhere."""
        self._listener = InProcessListener(loop, self._handler, self._forwarding)
        return self._listener

    def drain(self) -> None:
        """Answer the parked exchanges, and let none wait from now on.

        For a server that stops: it tells an application only when its own patience
        is over, so call this first.
        """
        if self._listener is not None:
            self._listener.loop.drain()
            self._listener.drain()

    async def _live(self, receive: Receive, send: Send) -> None:
        """Run the event loop from startup to shutdown, if there is none that runs."""
        await receive()
        if not _on_trio():
            message = "as_asgi runs on trio, and this server runs on something else"
            await send({"type": "lifespan.startup.failed", "message": message})
            return
        async with trio.open_nursery() as nursery:
            if own := self._listener is None:
                loop = EventLoop(self._limits, nursery)
                self.use(loop)
                nursery.start_soon(loop.run)
                nursery.start_soon(loop.keep_time)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.drain()
            nursery.cancel_scope.cancel()
        if own:
            self._listener = None
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve_http(
        self, pairs: InProcessListener, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            asked = read_request(scope)
        except BadRequest as exc:
            response = error_response(exc.status, str(exc))
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": [(b"content-length", b"%d" % len(response.body))],
                }
            )
            await send({"type": "http.response.body", "body": response.body})
            return
        with _opened(pairs, scope) as sock:
            await HttpExchange(scope, receive, send).run(asked, sock)

    async def _serve_websocket(
        self, pairs: InProcessListener, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            request = read_websocket(scope, new_key(os.urandom(16)))
        except BadRequest:
            await send({"type": "websocket.close", "code": 1000})
            return
        with _opened(pairs, scope) as sock:
            await WebSocketExchange(scope, receive, send).run(request, sock)


def _opened(
    pairs: InProcessListener, scope: Scope
) -> AbstractContextManager[socket.socket]:
    """Connect to the event loop in the name of a client: who it is, how it came."""
    client = scope.get("client")
    secure = scope.get("scheme") in ("https", "wss")
    client_address = (
        "unix" if client is None else str(client[0]).removeprefix("::ffff:")
    )
    scheme = b"https" if secure else b"http"
    http2 = scope.get("http_version", "1.1") >= "2"
    return pairs.open(client_address, scheme, http2=http2)


def _on_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
