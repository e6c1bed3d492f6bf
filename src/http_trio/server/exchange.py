"""One request and its answer, as the handler sees it.

A handler is a plain function that is called when a request's head is complete. It
decides by calling one of `respond`, `begin`, `collect`, `park`, `forward` or `spawn`;
it may also just return and call `respond` later. All of it runs in the trio thread, on the
express lane: a handler must not block.

An exchange is over when its last byte is with the kernel or its client is gone;
from then on `gone` holds and every decision is without effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from http_trio.http1.fields import find_value, find_values
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response import Answer, refusal
from http_trio.http1.response_head import AnswerHead
from http_trio.limits import BUFFER, Limits
from http_trio.proxy.hooks import Delivery
from http_trio.proxy.upstream_request import Transit

if TYPE_CHECKING:
    from http_trio.net.event_loop import Lane
    from http_trio.server.connection import Connection
    from http_trio.upstream.pool import Upstream

Handler = Callable[["Exchange"], None]


class Exchange:
    """One request and its answer.

    Attributes:
        head: what was asked.
        fields: what of the head's fields goes to an upstream, each line led by CRLF,
            without Host; at first `head.kept`. A handler may set it, a head never.
        client: the peer's address, or "unix".
        began: the lane's clock, in seconds, when the head was complete.
        answer_bytes: the content that went to the client, in bytes; of a forwarded
            request, and valid when its delivery is told of the end.
        body: of a forwarded request, if it was held whole; None if it was streamed.
    """

    __slots__ = (
        "_keep",
        "_on_due",
        "_on_gone",
        "_tick",
        "_transit",
        "answer_bytes",
        "began",
        "body",
        "client",
        "connection",
        "fields",
        "head",
        "lane",
    )

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self.head = head
        self.fields = head.kept
        self.lane: Lane = connection.lane
        self.connection: Connection | None = connection
        self.client = connection.peer
        self.began = connection.lane.now
        self.answer_bytes = 0
        self.body: bytes | None = None
        self._transit: Transit | None = None
        self._on_due: Callable[[Exchange], None] | None = None
        self._on_gone: Callable[[Exchange], None] | None = None
        self._tick = -1
        self._keep = False

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.target!r} gone={self.gone}>"

    # === what was asked ===

    @property
    def method(self) -> str:
        """The method, `"GET"`."""
        return self.head.method.decode("ascii")

    @property
    def target(self) -> bytes:
        """The path and the query, percent-encoded as sent."""
        return self.head.target

    @property
    def path(self) -> bytes:
        """The target up to `?`, percent-encoded as sent."""
        return self.head.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The target after `?`, percent-encoded as sent; empty if there is none."""
        return self.head.target.partition(b"?")[2]

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS; False when the exchange is over."""
        return self.connection is not None and self.connection.secure

    @property
    def gone(self) -> bool:
        """Whether the exchange is over."""
        return self.connection is None

    @property
    def limits(self) -> Limits:
        """The limits that it runs under."""
        return self.lane.limits

    def header(self, name: bytes) -> bytes | None:
        """Give a field's first value without outer space; None if it is absent."""
        return find_value(self.head.raw, name)

    def headers(self, name: bytes) -> list[bytes]:
        """Give all values of a field, in order."""
        return find_values(self.head.raw, name)

    # === what the handler decides ===

    def respond(self, answer: Answer) -> None:
        """Answer the request."""
        connection = self.connection
        if connection is None:
            return
        if self.takes_plain:
            self._leave()
            connection.send_last(answer.render(), keep=True)
            return
        keep = self.keeps_connection() and connection.skip_body(self.head)
        data = answer.render(
            for_head=self.head.method == b"HEAD",
            connection=self.connection_value(keep=keep),
        )
        self.send_last(data, keep=keep)

    def begin(self, start: Answer) -> None:
        """Begin an answer whose end is not known: `send` its parts, then `finish` it.

        To hear that the client went away, `park` the exchange meanwhile.

        Args:
            start: its status and fields; its body is not used.
        """
        connection = self.connection
        if connection is None:
            return
        self._unpark()
        http10 = self.head.http10
        keep = self.keeps_connection() and not http10
        self._keep = keep and connection.skip_body(self.head)
        value = self.connection_value(keep=self._keep)
        connection.write(start.render_start(chunked=not http10, connection=value))

    def send(self, data: bytes) -> int:
        """Send a part of the answer begun; give how many bytes the client is behind.

        What it does not take at once is kept, so a caller bounds how far behind a
        client may be, and cuts the answer beyond that.
        """
        connection = self.connection
        if connection is None or not data or self.head.method == b"HEAD":
            return 0
        chunk = data if self.head.http10 else b"%x\r\n%b\r\n" % (len(data), data)
        return connection.write(chunk)

    @property
    def behind(self) -> int:
        """Bytes of the answer begun that the client has not taken yet."""
        return 0 if self.connection is None else self.connection.behind

    def finish(self) -> None:
        """End the answer begun."""
        bare = self.head.http10 or self.head.method == b"HEAD"
        self.send_last(b"" if bare else b"0\r\n\r\n", keep=self._keep)

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
            self._unpark()
            self.connection.collect(self, limit, then, on_too_large or _too_large)

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
        self._on_due, self._on_gone = on_due, on_gone
        if self.lane.draining:
            self.due()
            return
        self._tick = self.lane.park(self, timeout_s)

    def forward(self, upstream: Upstream, delivery: Delivery) -> None:
        """Pass the request on, and the answer back.

        A request whose body is there, or is short and will be in a moment, goes the
        express way; all else is carried by a task.
        """
        connection = self.connection
        if connection is None:
            return
        if self._on_due is not None:
            self._unpark()
        head = self.head
        transit = self._transit = Transit(self, upstream, delivery)
        if head.framing == 0 and head.upgrade is None and not head.expects_continue:
            transit.send(b"")
        elif (
            head.upgrade is None
            and not head.expects_continue
            and (0 <= head.framing <= BUFFER or connection.holds_body(head))
        ):
            limit = max(BUFFER, len(connection.buffer))
            connection.collect(self, limit, _send_collected, _too_large)
        else:
            transit.send_by_task()

    def spawn(self, run: Callable[[Exchange], Awaitable[None]]) -> None:
        """Let a task decide: `await run(exchange)`, in the nursery of `serve`."""
        if self.connection is not None:
            self.lane.spawn(run, self)

    @property
    def delivery(self) -> Delivery | None:
        """Of the request, while it is forwarded."""
        return None if self._transit is None else self._transit.delivery

    @property
    def switched(self) -> bool:
        """Whether it is a WebSocket by now."""
        return self._transit is not None and self._transit.status == 101

    @property
    def has_begun(self) -> bool:
        """Whether something of the answer to a forwarded request has gone out."""
        return self._transit is not None and self._transit.status != 0

    @property
    def is_open_ended(self) -> bool:
        """Whether its answer has begun, and nobody knows where it ends."""
        transit = self._transit
        if transit is None or not transit.status:
            return False
        return transit.head is None or transit.head.framing < 0

    def recall(self) -> None:
        """End early what is forwarded, if its answer has begun.

        A WebSocket gets close frames, 1012 to the client, then has `Limits.recall_s`;
        any other answer is cut, which its client sees.
        """
        if self._transit is not None:
            self._transit.recall()

    # === what the engine asks and tells ===

    @property
    def is_parked(self) -> bool:
        """Whether it waits in `park`."""
        return self._on_due is not None

    @property
    def transit(self) -> Transit | None:
        """Its forwarding, while that lasts."""
        return self._transit

    @property
    def can_repeat(self) -> bool:
        """Whether the forwarded request is held whole, so that it could be sent again.

        Whether it may be sent again is another matter: see `head.repeatable`.
        """
        return self._transit is not None and self._transit.can_repeat

    def keeps_connection(self) -> bool:
        """Tell whether the client's connection may live on."""
        return self.head.keep_alive and not self.lane.draining

    def connection_value(self, *, keep: bool) -> bytes:
        """Give the value of the answer's Connection field; empty for none."""
        if not keep:
            return b"close"
        return b"keep-alive" if self.head.http10 else b""

    def forwarding_fields(self) -> bytes:
        """Give what is said of the client to the upstream."""
        assert self.connection is not None, "asked only while it is not over"
        return self.connection.forwarding_fields(self.head)

    def due(self) -> None:
        """The parked exchange's time has come."""
        on_due = self._on_due
        self._unpark()
        if on_due is not None:
            on_due(self)

    def client_gone(self) -> None:
        """The client went away: release what hangs on this exchange."""
        on_gone, transit = self._on_gone, self._transit
        self._leave()
        if transit is not None:
            transit.client_gone()
        if on_gone is not None:
            on_gone(self)

    def cut(self) -> None:
        """End an answer that cannot be completed, visibly."""
        connection = self.connection
        self._leave()
        if connection is not None:
            connection.drop()

    def send_interim(self, head: AnswerHead) -> None:
        """Pass a 1xx answer on (RFC 9110 section 15.2)."""
        connection = self.connection
        if connection is None or self.head.http10:
            return
        if connection.send_part(b"HTTP/1.1%b%b\r\n\r\n" % (head.line, head.kept)):
            connection.abort()  # it takes not even this: it reads nothing at all

    def send_part(self, data: bytes) -> bytes:
        """Send a part of the answer; give what the client does not take now."""
        return b"" if self.connection is None else self.connection.send_part(data)

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the end of the answer; the exchange is over."""
        connection = self.connection
        self._leave()
        if connection is not None:
            connection.send_last(data, keep=keep)

    @property
    def takes_plain(self) -> bool:
        """Whether it can be answered with the bytes that most are, and nothing else."""
        return self.head.takes_plain and not self.lane.draining

    def sent_last(self, data: bytes, count: int) -> None:
        """Note that the end of the answer was sent, and how much of it was taken."""
        connection = self.connection
        self._leave()
        if connection is not None:
            connection.sent_last(data, count)

    def transit_ended(self) -> None:
        """The forwarding is over, whatever came of it."""
        self._transit = None

    def _leave(self) -> None:
        self.connection = None
        if self._on_due is not None:
            self._unpark()

    def _unpark(self) -> None:
        if self._tick >= 0:
            self.lane.unpark(self, self._tick)
            self._tick = -1
        self._on_due = self._on_gone = None


def _send_collected(exchange: Exchange, body: bytes) -> None:
    if exchange.transit is not None:
        exchange.body = body
        exchange.transit.send(body)


def _too_large(exchange: Exchange, size: int) -> None:
    exchange.respond(refusal(413, f"a body of {size} bytes"))
