"""One request and its response, as the handler sees it.

A handler is a plain function that is called when a request's head is complete. It
decides by calling one of `respond`, `begin`, `collect`, `park` or `spawn`, or something
that builds on them, such as `forward`; or by `hold`, and `respond` later. One that returns
without any of these is answered for with 500, since its client would wait for ever.
All of it runs in the trio thread, in the event loop: a handler must not block.

An exchange is over when its last byte is with the kernel or its client is gone;
from then on `gone` holds and every decision is without effect. One file, since it is
one thing with many sides. The rule that it obeys: whoever calls code that decides on an
exchange does so by `decide`, or ends it by `crashed`, so that a raise leaves no client
waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec

from http_trio.http1.body_pace import BodyLimit
from http_trio.http1.forwarded import ClientIdentity
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response import Response, error_response
from http_trio.http1.response_head import ResponseHead
from http_trio.net.event_loop import EventLoop, Timer
from http_trio.server.client_connection import Attached, ClientFacts, ConnectionOf

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")

Handler = Callable[["Exchange"], None]
ClientConnection = ConnectionOf["Exchange"]


class Exchange(ClientFacts["Exchange"]):
    """One request and its response.

    Attributes:
        head: the head of the request.
        client: the address of the client, as trusted proxies name it; or "unix".
        identity: what else they say of it; None if nobody does.
        began: the event loop's clock, in seconds, when the head was complete.
        body_limit: what bounds its body while it is passed on; None for nothing.
        response_bytes: the content that went to the client, in bytes; of a forwarded
            request, and valid when its hooks are told of the end.
        attached: the one who is told when the client goes away.
        on_due: what is called when its time has come; None unless it is parked.
    """

    __slots__ = (
        "_keep",
        "_on_gone",
        "_pending",
        "_tick",
        "attached",
        "began",
        "body_limit",
        "client",
        "connection",
        "head",
        "identity",
        "loop",
        "on_due",
        "response_bytes",
    )

    def __init__(self, connection: ClientConnection, head: RequestHead) -> None:
        self.head = head
        self.loop: EventLoop = connection.loop
        self.connection: ClientConnection | None = connection
        self.client = connection.client_address
        self.identity: ClientIdentity | None = None
        if head.forwarded and (said := connection.said.identify(head)) is not None:
            self.identity, self.client = said, said.address
        self.began = connection.loop.now
        self.body_limit: BodyLimit | None = None
        self.response_bytes = 0
        self.attached: Attached | None = None
        self.on_due: Callable[[Exchange], None] | None = None
        self._on_gone: Callable[[Exchange], None] | None = None
        self._tick = -1
        self._pending = 0  # of what may still decide on it
        self._keep: bool | None = None  # whether a begun response lets it live on

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.target!r} gone={self.gone}>"

    @property
    def gone(self) -> bool:
        """Whether the exchange is over."""
        return self.connection is None

    # === what the handler decides ===

    def respond(self, response: Response) -> None:
        """Answer the request; an error of a gRPC call is said as gRPC does."""
        connection = self.connection
        if connection is None:
            return
        if response.status >= 400:
            response = self.suited(response)
        if self.takes_plain:
            self._leave()
            connection.send_last(response.render(), keep=True)
            return
        keep = self.keeps_connection() and connection.skip_body(self.head)
        data = response.render(
            for_head=self.head.method == b"HEAD",
            connection=self.connection_value(keep=keep),
        )
        self.send_last(data, keep=keep)

    def begin(self, start: Response) -> None:
        """Begin a response whose end is not known: `send` its parts, then `finish` it.

        To hear that the client went away, `park` the exchange meanwhile.

        Args:
            start: its status and fields; its body is not used.
        """
        connection = self.connection
        if connection is None:
            return
        self.unpark()
        http10 = self.head.http10
        keep = self.keeps_connection() and not http10
        self._keep = keep and connection.skip_body(self.head)
        value = self.connection_value(keep=self._keep)
        connection.write(start.render_start(chunked=not http10, connection=value))

    def send(self, data: bytes) -> int:
        """Send a part of the response begun; give how many bytes the client is behind.

        What it does not take at once is kept, so a caller bounds how far behind a
        client may be, and cuts the response beyond that.
        """
        connection = self.connection
        if connection is None or not data or self.head.method == b"HEAD":
            return 0
        chunk = data if self.head.http10 else b"%x\r\n%b\r\n" % (len(data), data)
        return connection.write(chunk)

    @property
    def behind(self) -> int:
        """Bytes of the response begun that the client has not taken yet."""
        return 0 if self.connection is None else self.connection.behind

    def finish(self) -> None:
        """End the response begun."""
        bare = self.head.http10 or self.head.method == b"HEAD"
        self.send_last(b"" if bare else b"0\r\n\r\n", keep=bool(self._keep))

    def collect(
        self,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None] | None = None,
    ) -> None:
        """Call `then(exchange, body)` when the whole body is there.

        Args:
            limit: bytes of content at most.
            then: decides again, as a handler does.
            on_too_large: called with the size, declared or seen so far, of a body
                beyond the limit; it must respond. By default 413 is answered.
        """
        if self.connection is not None:
            self.unpark()
            self._pending += 1
            refuse = self._later(on_too_large or _too_large)
            self.connection.collect(self, limit, self._later(then), refuse)

    def await_body(
        self,
        then: Callable[[Exchange], None],
        on_gone: Callable[[Exchange], None] | None = None,
    ) -> None:
        """Call `then(exchange)` when its body can be passed on without waiting for it.

        That is when all of it is here, or as much as is read at a time. A client that
        waits for 100 is told to go on.

        Args:
            then: decides again, as a handler does; `collect` and `forward` find the body.
            on_gone: called once if the client goes away first, or is refused.
        """
        if self.connection is None:
            return
        self.unpark()
        if self.head.framing == 0 or self.is_grpc:  # which may wait for us first
            then(self)
            self.expect_decision(then)
            return
        self._on_gone = on_gone
        self._pending += 1
        self.connection.await_body(self, self._later(then))

    def park(
        self,
        timeout_s: float,
        on_due: Callable[[Exchange], None],
        on_gone: Callable[[Exchange], None] | None = None,
    ) -> None:
        """Leave the exchange to be decided on later, as a handler does.

        Args:
            timeout_s: when to give up waiting.
            on_due: called once when the time is over or the server drains; it must
                respond.
            on_gone: called once if the client goes away first.
        """
        if self.connection is None:
            return
        self.on_due, self._on_gone = on_due, on_gone
        if self.loop.draining:
            self.due()
            return
        self._tick = self.loop.park(self, timeout_s)

    def spawn(self, run: Callable[[Exchange], Awaitable[None]]) -> None:
        """Let a task decide: `await run(exchange)`, in the nursery of `serve`."""
        if self.connection is not None:
            self._pending += 1
            self.loop.spawn(self._run, run)

    def hold(self) -> None:
        """Leave it to whoever keeps it, who calls `respond` or another of these later.

        Nothing limits how long that takes: see `park`.
        """
        self._pending += 1

    def call_later(self, after_s: float, call: Callable[[], None]) -> Timer:
        """Call in after_s seconds, whether or not it is over by then."""
        self._pending += 1
        return self.loop.call_later(after_s, partial(self.decide, call))

    def decide(
        self, call: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """Call what decides on it; if that raises, it is logged, and answered 500.

        For whoever keeps an exchange and decides on it later, from elsewhere.
        """
        try:
            call(*args, **kwargs)
        except Exception:
            self.crashed()

    # === what the engine asks and tells ===

    @property
    def is_parked(self) -> bool:
        """Whether it waits in `park`."""
        return self.on_due is not None

    def keeps_connection(self) -> bool:
        """Tell whether the client's connection may live on."""
        return self.head.keep_alive and not self.loop.leaving

    def forwarded_fields(self) -> bytes:
        """Give what is said of the client to the upstream."""
        assert self.connection is not None, "asked while it is not over"
        said, head = self.connection.said, self.head
        if self.identity is None and head.host == said.host and not head.http10:
            return said.lines  # they rarely change
        return said.fields(head, self.identity)

    def due(self) -> None:
        """Call what was parked: its time has come."""
        on_due = self.on_due
        self.unpark()
        if on_due is not None:
            self.decide(on_due, self)
            self.expect_decision(on_due)

    def crashed(self) -> None:
        """End it, since code that decides on it raised: 500, or a cut if it has begun.

        Called while the exception is handled. Nobody else would answer this client.
        """
        path = self.head.target.partition(b"?")[0]  # a query may hold secrets
        _log.exception("what decides on %s %r failed", self.method, path)
        if self.connection is None:
            return
        if self.attached is not None:
            self.attached.crashed()
        elif self._keep is None:
            self.respond(error_response(500, ""))
        else:
            self.cut()

    def expect_decision(self, handler: Callable[..., object]) -> None:
        """Answer 500 if a handler has returned, and nobody is left who will decide."""
        if self.connection is None or self.attached is not None or self._pending:
            return
        if self.on_due is not None or self._keep is not None:
            return
        path = self.head.target.partition(b"?")[0]
        name = getattr(handler, "__qualname__", None) or repr(handler)
        _log.error("%s returned undecided on %s %r", name, self.method, path)
        self.respond(error_response(500, ""))

    async def _run(self, run: Callable[[Exchange], Awaitable[None]]) -> None:
        try:
            await run(self)
        except Exception:
            self.crashed()
        self._pending -= 1
        self.expect_decision(run)

    def _later(
        self, then: Callable[Concatenate[Exchange, _P], object]
    ) -> Callable[Concatenate[Exchange, _P], None]:
        """Give what lets another handler decide, which is expected to."""

        def decide(exchange: Exchange, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
            self._pending -= 1
            then(exchange, *args, **kwargs)
            exchange.expect_decision(then)

        return decide

    def unpark(self) -> None:
        """Wait no more in `park`; something else is decided."""
        if self._tick >= 0:
            self.loop.unpark(self, self._tick)
            self._tick = -1
        self.on_due = self._on_gone = None

    def client_gone(self) -> None:
        """Release what hangs on this exchange: the client went away."""
        on_gone, attached = self._on_gone, self.attached
        self._leave()
        if attached is not None:
            self.decide(attached.client_gone)
        if on_gone is not None:
            self.decide(on_gone, self)

    def cut(self, *, by_upstream: bool = False) -> None:
        """End a response that cannot be completed, visibly, and whoever's fault it is."""
        connection = self.connection
        self._leave()
        if connection is not None:
            connection.drop(by_upstream=by_upstream)

    def send_interim(self, head: ResponseHead) -> None:
        """Pass a 1xx response on (RFC 9110 section 15.2)."""
        connection = self.connection
        if connection is None or self.head.http10:
            return
        if connection.send_part(b"HTTP/1.1%b%b\r\n\r\n" % (head.line, head.kept)):
            connection.abort()  # it takes not even this: it reads nothing at all

    def send_part(self, data: bytes) -> bytes:
        """Send a part of the response; give what the client does not take now."""
        return b"" if self.connection is None else self.connection.send_part(data)

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the end of the response; the exchange is over."""
        connection, self.connection = self.connection, None
        if self.on_due is not None:
            self.unpark()
        if connection is not None:
            connection.send_last(data, keep=keep)

    @property
    def takes_plain(self) -> bool:
        """Whether it can be answered with the bytes that most are, and nothing else."""
        return self.head.takes_plain and not self.loop.leaving

    def sent_last(self, data: bytes, count: int) -> None:
        """Note that the end of the response was sent, and how much of it was taken."""
        own = None if self.connection is None else self.connection.own_socket
        self._leave()
        if own is not None:
            own.sent_last(data, count)

    def _leave(self) -> None:
        self.connection = None
        if self.on_due is not None:
            self.unpark()


def _too_large(exchange: Exchange, size: int) -> None:
    exchange.respond(error_response(413, f"a body of {size} bytes"))


class Http2Exchange(Exchange):
    """The same, of a request that came over HTTP/2."""

    __slots__ = ()

    @property
    def protocol(self) -> str:
        """By what the request came."""
        return "HTTP/2"
