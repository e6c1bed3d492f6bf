"""An ASGI 3 application as a handler of the engine: the other way round from `as_asgi`.

Each request becomes one call of the application, in a task of the server's: its body is
collected first, within a limit, and its response goes out as it comes. HTTP only; a WebSocket
is an ordinary request to it.

The rule that it obeys: the application learns that its client is gone, or that the server
ends, as ASGI says it (`http.disconnect`), and a client that does not read cannot make it, or
us, keep more than `BEHIND` bytes: then the exchange is cut, and what the application sends
raises `ClientLeft`. How far its client is behind it can look up itself, by the extension
`http_trio.behind`, and send less. One file, since a call is all that there is to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote

import trio

from http_trio.asgi.messages import Fields, Scope, split_fields
from http_trio.http1.response import Response
from http_trio.server.exchange import Exchange

BEHIND = 1024 * 1024
"""Bytes of a response that a client may be behind before it is cut off."""

BODY_BYTES = 1024 * 1024
"""Of a request's content at most, unless another limit is given."""

LOOK_S = 5.0
"""How soon a streamed response learns at the latest that the server ends, in seconds."""

Message = MutableMapping[str, Any]
Application = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[Message]],
        Callable[[Message], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI 3 application."""

Tell = Callable[[Exchange], Mapping[str, Any]]

_OURS = frozenset(
    {b"content-length", b"date", b"connection", b"transfer-encoding", b"server"}
)


class ClientLeft(OSError):
    """The client is gone, or reads too slowly: nothing more can be sent to it."""


class HostedApp:
    """A handler that an ASGI application stands behind."""

    def __init__(
        self,
        app: Application,
        *,
        body_limit: int = BODY_BYTES,
        tell: Tell | None = None,
        on_too_large: Callable[[Exchange, int], None] | None = None,
    ) -> None:
        """Serve an application.

        Args:
            app: it.
            body_limit: bytes of a request's content at most; beyond it 413 is answered.
            tell: gives more members of a request's scope, such as who asks.
            on_too_large: answers a larger body in place of that; see `Exchange.collect`.
        """
        self._app = app
        self._body_limit = body_limit
        self._tell = tell
        self._on_too_large = on_too_large

    def __repr__(self) -> str:
        return f"<HostedApp {self._app!r}>"

    def __call__(self, exchange: Exchange) -> None:
        """Serve a request, once its body is here."""
        exchange.collect(self._body_limit, self._begin, self._on_too_large)

    async def live(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the application's lifespan until cancelled; `started` once it is up.

        Raises:
            RuntimeError: the application says that it cannot start.
        """
        first = True

        async def receive() -> Message:
            nonlocal first
            if not first:
                await trio.sleep_forever()
            first = False
            return {"type": "lifespan.startup"}

        async def send(message: Message) -> None:
            await trio.lowlevel.checkpoint()
            if message["type"] == "lifespan.startup.failed":
                raise RuntimeError(message.get("message", "it does not start"))
            task_status.started()

        scope = {"type": "lifespan", "asgi": _VERSION, "state": {}}
        await self._app(scope, receive, send)

    def _begin(self, exchange: Exchange, body: bytes) -> None:
        extra = {} if self._tell is None else self._tell(exchange)
        call = _Call(exchange, body)
        scope = {**_scope_of(exchange), **extra}
        scope["extensions"] = {"http_trio.behind": {"bytes": call.behind}}
        exchange.spawn(partial(self._run, call, scope))

    async def _run(
        self, call: _Call, scope: MutableMapping[str, Any], exchange: Exchange
    ) -> None:
        del exchange  # the call has it
        try:
            await self._app(scope, call.receive, call.send)
        except Exception:
            if not call.left:  # else it is what ClientLeft became on its way
                raise
        call.end()


_VERSION = {"version": "3.0", "spec_version": "2.4"}


class _Call:
    """One request and its response.

    Attributes:
        left: whether the application was told that its client is gone.
    """

    def __init__(self, exchange: Exchange, body: bytes) -> None:
        self._exchange = exchange
        self._body: bytes | None = body
        self._start: tuple[int, Fields] | None = None
        self.left = self._begun = self._done = False
        self._over = trio.Event()
        self._wait()

    def behind(self) -> int:
        """Say how many bytes the client has not taken yet."""
        return self._exchange.behind

    async def receive(self) -> Message:
        """Give the body, then wait until the client is gone, or the response is out."""
        if self._body is not None:
            body, self._body = self._body, None
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the response.

        Raises:
            ClientLeft: the client is gone, or was cut off.
        """
        await trio.lowlevel.checkpoint()
        if self._exchange.gone and not self._done:
            self._leave("the client is gone")
        if message["type"] == "http.response.start":
            fields = [(bytes(name), bytes(v)) for name, v in message["headers"]]
            self._start = message["status"], fields
        elif message["type"] == "http.response.body":
            more = message.get("more_body", False)
            self._take(bytes(message.get("body", b"")), more=more)

    def end(self) -> None:
        """End what the application has left unfinished: visibly, if it has begun."""
        if self._done or self._exchange.gone:
            return
        self._finish()
        if self._begun:
            self._exchange.cut()
        else:
            self._exchange.respond(Response(500, b"it did not respond\n"))

    def _take(self, body: bytes, *, more: bool) -> None:
        assert self._start is not None, "a body follows a start"
        exchange = self._exchange
        if not self._begun and not more:
            self._finish()
            exchange.respond(_response(self._start, body))
            return
        if not self._begun:
            self._begun = True
            exchange.begin(_response(self._start, b""))
            self._wait()
        if exchange.send(body) > BEHIND:
            exchange.cut()
            self._leave(f"the client is {BEHIND} bytes behind")
        if not more:
            self._finish()
            exchange.finish()

    def _finish(self) -> None:
        self._done = True
        self._over.set()

    def _leave(self, why: str) -> NoReturn:
        self._finish()
        self.left = True
        raise ClientLeft(why)

    def _wait(self) -> None:
        """Park the exchange, so that it is told when the client is gone."""
        if self._done or self._exchange.gone:
            return
        if self._exchange.draining:
            self._over.set()
            return
        self._exchange.park(LOOK_S, lambda _: self._wait(), lambda _: self._over.set())


def _response(start: tuple[int, Fields], body: bytes) -> Response:
    status, fields = start
    kind = next((value for name, value in fields if name == b"content-type"), None)
    rest = tuple(
        pair for pair in fields if pair[0] not in _OURS and pair[0] != b"content-type"
    )
    return Response(status, body, kind, rest)


def _scope_of(exchange: Exchange) -> Scope:
    lines = exchange.head.raw.partition(b"\r\n\r\n")[0]
    fields = split_fields(b"\r\n" + lines.partition(b"\r\n")[2])
    return {
        "type": "http",
        "asgi": _VERSION,
        "http_version": exchange.protocol.partition("/")[2],
        "method": exchange.method,
        "scheme": "https" if exchange.secure else "http",
        "path": unquote(exchange.path.decode("latin-1")),
        "raw_path": exchange.path,
        "query_string": exchange.query,
        "root_path": "",
        "headers": fields,
        "client": None if exchange.client == "unix" else (exchange.client, 0),
        "server": None,
        "state": {},
    }
