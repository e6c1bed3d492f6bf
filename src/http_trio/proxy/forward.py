"""Forwarding: the fast path in the event loop, and where it hands over to a task.

    sending -> awaiting the head -> relaying the body -> ended
       ^               |
       +-- elsewhere --+   only while nothing of a response has gone out

A request whose body is there, or is short and will be in a moment, goes the fast path;
all else is carried by a task. A response that is long, or whose client is slow, is
handed over in the middle.

A connection that was kept open and turns out to be closed is not the server's failure:
the request goes out again on a new one, if it may be repeated (RFC 9112 section 9.3.1),
and the hooks never hear of it. One file, since it is one state machine. The rule that
it obeys: nothing here waits.
"""

from __future__ import annotations

import logging

from http_trio.errors import BadRequest, BadResponse, ProtocolError
from http_trio.http1.body import BodyTranscoder, Truncated, kept_trailers
from http_trio.http1.response import error_response, http_date
from http_trio.http1.response_head import (
    ResponseHead,
    check_unfinished_response,
    parse_response_head,
)
from http_trio.limits import BUFFER
from http_trio.proxy import forward_task
from http_trio.proxy.codings.encoded_body import STEP
from http_trio.proxy.hooks import ForwardHooks
from http_trio.proxy.upstream_request import UpstreamRequest
from http_trio.server.exchange import Exchange
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream

_log = logging.getLogger(__name__)


def forward(exchange: Exchange, upstream: Upstream, hooks: ForwardHooks) -> None:
    """Pass a request on, and the response back; nothing if the exchange is over.

    A handler's decision, as the methods of `Exchange` are.

    Args:
        exchange: the request to pass on.
        upstream: the server to begin with.
        hooks: what is added, who decides, and who is told.
    """
    connection = exchange.connection
    if connection is None:
        return
    if exchange.on_due is not None:
        exchange.unpark()
    head = exchange.head
    request = exchange.attached = _FastPath(exchange, upstream, hooks)
    if head.framing == 0 and head.upgrade is None and not head.expects_continue:
        request.send(b"")
    elif (
        head.upgrade is None
        and not head.expects_continue
        and (0 <= head.framing <= BUFFER or connection.holds_body(head))
    ):
        exchange.collect(max(BUFFER, len(connection.buffer)), request.send_collected)
    else:
        forward_task.start(request)


def upstream_request_of(exchange: Exchange) -> UpstreamRequest | None:
    """Give the forwarded request of an exchange, while it is forwarded."""
    attached = exchange.attached
    return attached if isinstance(attached, UpstreamRequest) else None


class _FastPath(UpstreamRequest):
    """One forwarded request in the event loop: a `Receiver` of what the server sends."""

    __slots__ = ("_interims", "_received", "_request", "_retried")

    _interims: int
    _received: bytes
    _request: bytes
    _retried: bool

    def send(self, body: bytes) -> None:
        """Send the request, whose whole body is given, and await its response."""
        self.body = body
        self._request = self._received = b""
        self._interims = 0
        self._retried = False
        upstream = self.upstream
        lead = b"" if upstream.proxy_protocol is None else self.lead
        idle = upstream.take_idle(peek=not self.exchange.head.repeatable, lead=lead)
        self._send_to(idle or self._connect())

    def send_collected(self, exchange: Exchange, body: bytes) -> None:
        """Send the request, whose body has been collected."""
        if exchange.attached is not self:
            return
        if exchange.body_limit is not None:
            try:
                exchange.body_limit.check(len(body))
            except BadRequest as exc:
                self.refuse(error_response(exc.status, str(exc)))
                return
        self.send(body)

    # === what the upstream's connection tells ===

    @property
    def trailers(self) -> bytes:
        """Those of the request that go on, whose body states its length, as lines."""
        connection = self.exchange.connection
        if connection is None or not connection.trailers:
            return b""
        return kept_trailers(connection.trailers, self.hooks.passes_trailer)

    def received(self, data: bytes) -> None:
        """Take what the upstream sent."""
        try:
            if self.transcoder is None:
                self._await_head(self._received + data if self._received else data)
            else:
                self._pass_body(self.transcoder, data)
        except ProtocolError as exc:
            self.failed(FailureReason.BAD_RESPONSE, str(exc))
        except Exception:
            _log.exception("forwarding %s failed", self.exchange.method)
            self.crashed(502)

    def closed(self) -> None:
        """Take that the upstream closed."""
        transcoder = self.transcoder
        if transcoder is None:
            self.failed(FailureReason.CLOSED, "closed without a response")
            return
        try:
            out = transcoder.end()
        except Truncated as exc:
            self.failed(FailureReason.CLOSED, str(exc))
            return
        self.release(reusable=False)
        self._finish(out)

    def expired(self) -> None:
        """Take that the upstream was silent for too long."""
        if self.transcoder is None:
            self.failed(FailureReason.RESPONSE_TIMEOUT, "")
        else:
            self.failed(FailureReason.STALLED, "")

    def failed(self, condition: FailureReason, detail: str) -> None:
        """Take that the upstream failed: try again, elsewhere, or give up."""
        try:
            self._take_failure(condition, detail)
        except Exception:
            _log.exception("forwarding %s failed", self.exchange.method)
            self.crashed(502)

    def _take_failure(self, condition: FailureReason, detail: str) -> None:
        connection = self._connection
        failure = self.failure(condition, detail)
        stale = (
            condition is FailureReason.CLOSED
            and connection is not None
            and not connection.fresh
            and not self._received
        )
        self.release(reusable=False)
        if self.exchange.gone:
            self.end(failure)
        elif self.status:
            self.give_up(failure)
        elif stale and not self._retried and self._may_repeat(failure):
            self._retried = True
            self._send_to(self._connect())
        else:
            self._try_elsewhere(failure)

    # === sending ===

    def _connect(self) -> UpstreamChannel | Failure:
        return self.upstream.connect(self.exchange.loop, self.lead)

    def _send_to(self, connection: UpstreamChannel | Failure) -> None:
        if isinstance(connection, Failure):
            self._try_elsewhere(connection)
            return
        request = self._request
        if not request:
            body = self.body or b""
            request = self._request = self.request_bytes(len(body)) + body
        self._connection = connection
        connection.begin(self, request)

    def _try_elsewhere(self, failure: Failure) -> None:
        after_s = self.after_failure(failure)
        if after_s is None:
            self.give_up(failure)
        else:
            self._send_again(after_s)

    def _send_again(self, after_s: float) -> None:
        self._request = self._received = b""
        if after_s > 0:
            self.call_later(after_s, self._resend)
        else:
            self._send_to(
                self.upstream.take_idle(peek=True, lead=self.lead) or self._connect()
            )

    def _resend(self) -> None:
        try:
            self._send_again(0.0)
        except Exception:
            _log.exception("forwarding %s failed", self.exchange.method)
            self.crashed(502)

    def _may_repeat(self, failure: Failure) -> bool:
        return not failure.sent or self.exchange.head.repeatable

    # === the response ===

    def _await_head(self, data: bytes) -> None:
        exchange = self.exchange
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                check_unfinished_response(data, exchange.limits.head)
                self._received = data
                return
            head = self._parse_head(data[:end])
            data = data[end:]
            if head.status >= 200:
                if (
                    head.framing == len(data)
                    and not self.hooks.reads_responses
                    and not exchange.head.http10
                ):
                    self._pass_whole(head, data)
                else:
                    self._begin(head, data)
                return
            if head.status == 101:
                raise BadResponse("101 to a request without Upgrade")
            self._interims += 1
            if self._interims > exchange.limits.interim_responses:
                raise BadResponse(f"more than {self._interims - 1} interim responses")
            exchange.send_interim(head)
            if exchange.gone:
                return

    def _begin(self, head: ResponseHead, body: bytes) -> None:
        if self.hooks.reads_responses:
            head = head.private()
        after_s = self.after_response(head)
        if after_s is not None:
            self.release(reusable=head.keep_alive and len(body) == head.framing)
            self._send_again(after_s)
            return
        much = self.hooks.encoder is not None and len(body) > STEP
        out = self.begin_response(head, b"" if much else body, last=False)
        assert self.transcoder is not None, "begin_response sets it"
        if much:
            self._hand_over(out, body)
        else:
            self._pass_on(self.transcoder, out)

    def _parse_head(self, raw: bytes) -> ResponseHead:
        exchange = self.exchange
        method, known = exchange.head.method, exchange.loop.response_heads
        if method == b"HEAD":  # what its responses mean is not in their bytes alone
            return parse_response_head(raw, method)
        head = known.get(raw)
        if head is None:
            head = parse_response_head(raw, method)
            known.offer(raw, head)
        return head

    def _pass_whole(self, head: ResponseHead, body: bytes) -> None:
        """Pass on a response that came in one piece, as most do.

        It gives what `begin_response` and a transcoder of this length would.
        """
        exchange, hooks, connection = self.exchange, self.hooks, self._connection
        assert connection is not None, "a response comes over a connection"
        self.status, self.head = head.status, head
        exchange.response_bytes = len(body)
        keep = exchange.head.keep_alive and not exchange.loop.leaving
        added = hooks.response_fields
        if not keep:
            added = b"\r\nConnection: close" + added
        if not head.dated:
            added = b"\r\nDate: " + http_date() + added
        if connection.trailers:
            self.pass_trailers(connection.trailers)
        self._connection = None
        if head.keep_alive:
            connection.release()
        else:
            connection.close()
        self.end(None)
        data = b"".join((head.start, added, b"\r\n\r\n", body))
        exchange.send_last(data, keep=keep)

    def _pass_body(self, transcoder: BodyTranscoder, data: bytes) -> None:
        assert self._connection is not None, "only a connection in use is received from"
        if len(data) > transcoder.most_at_once:
            self._hand_over(b"", data)
            return
        self._connection.touch(self.timeouts.stream_idle_s)
        self._pass_on(transcoder, transcoder.feed(data))

    def _pass_on(self, transcoder: BodyTranscoder, out: bytes) -> None:
        if transcoder.done:
            head = self.head
            connection = self._connection
            assert head is not None, "begin_response sets it"
            if connection is not None and connection.trailers:
                self.pass_trailers(connection.trailers)
            self.release(reusable=head.keep_alive and not transcoder.rest)
            self._finish(out)
        elif transcoder.left > BUFFER:
            self._hand_over(out)
        elif out:
            unsent = self.exchange.send_part(out)
            if unsent:
                self._hand_over(unsent)

    def _finish(self, out: bytes) -> None:
        exchange, keep = self.exchange, self.keeps_client
        self.end(None)
        exchange.send_last(out, keep=keep)

    def _hand_over(self, unsent: bytes, received: bytes = b"") -> None:
        connection = self._connection
        assert connection is not None, "a response comes over a connection"
        self._connection = None
        connection.leave_loop()
        forward_task.start_response(self, connection, unsent, received)
