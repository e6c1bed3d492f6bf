"""One forwarded request: what it is, what is decided on its way, and how it ends.

Whoever carries it, the event loop (`forward.py`) or a task (`forward_task.py`), keeps
here how far it is and asks here where it goes next. It knows neither of the two. One
file, since all of it is one request's state.

The rule that it obeys: it ends exactly once, in `end`, and the hooks are told.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Protocol

from http_trio.errors import ProtocolError
from http_trio.hosts.introduction import ProxyVersion
from http_trio.http1.body import BodyTranscoder
from http_trio.http1.fields import find_value
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.grpc import is_grpc, parse_grpc_status
from http_trio.http1.request_head import render_request
from http_trio.http1.response import Response, error_response
from http_trio.http1.response_head import ResponseHead, render_response
from http_trio.limits import Limits, Timeouts
from http_trio.net.event_loop import Timer
from http_trio.proxy.codings.encoded_body import EncodedBody
from http_trio.proxy.hooks import ForwardHooks, Retry
from http_trio.server.exchange import Exchange
from http_trio.server.introduction import introduce, is_named_by_balancer
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream

_log = logging.getLogger(__name__)


class Carrier(Protocol):
    """A task that carries a request."""

    def recall(self) -> None:
        """End the response that has begun, early; a WebSocket with close frames."""

    def fail(self, failure: Failure) -> None:
        """End the request with a failure."""

    def crash(self) -> None:
        """End the request with 500, or a cut: code that decides on it raised."""


class UpstreamRequest:
    """One forwarded request.

    Attributes:
        exchange: the one that is forwarded.
        upstream: the server that is being tried.
        hooks: the hooks of the one who forwards it.
        body: the body of the request, if it is held whole; None if it is streamed.
        status: the one that went to the client; 0 if nothing of a response did.
        head: the head of the response that has begun.
        transcoder: the transcoder of its body.
        keeps_client: whether the client's connection lives on.
        timeouts: how long it may take.
        carrier: the task that carries it; None while the event loop does.
    """

    # fmt: off
    __slots__ = (
        "_connection", "_late_lines", "_timers", "body", "carrier", "exchange", "head",
        "hooks", "keeps_client", "status", "timeouts", "transcoder", "upstream",
    )
    # fmt: on

    def __init__(
        self, exchange: Exchange, upstream: Upstream, hooks: ForwardHooks
    ) -> None:
        self.exchange = exchange
        self.upstream = upstream
        self.status = 0
        self.timeouts: Timeouts | Limits = hooks.timeouts or exchange.loop.limits
        self.body: bytes | None = None
        self.carrier: Carrier | None = None
        self.head: ResponseHead | None = None
        self.transcoder: BodyTranscoder | None = None
        self.hooks = hooks
        self._timers: tuple[Timer, ...] = ()
        self._late_lines = b""  # trailers behind a body that states its length
        self._connection: UpstreamChannel | None = None
        self.keeps_client = True
        if self.timeouts.request_s != math.inf:
            left_s = exchange.began + self.timeouts.request_s - exchange.loop.now
            self.call_later(left_s, self._overdue)

    def __repr__(self) -> str:
        return f"<UpstreamRequest to {self.upstream.name} status={self.status}>"

    # === how far it is ===

    @property
    def has_begun(self) -> bool:
        """Whether something of the response has gone out."""
        return self.status != 0

    @property
    def switched(self) -> bool:
        """Whether it is a WebSocket by now."""
        return self.status == 101

    @property
    def is_open_ended(self) -> bool:
        """Whether its response has begun, and nobody knows where it ends."""
        return self.status != 0 and (self.head is None or self.head.framing < 0)

    @property
    def can_repeat(self) -> bool:
        """Whether the whole request is held, and nothing of a response has gone out.

        Whether it may be sent again is another matter: see `head.repeatable`.
        """
        held = self.body is not None or self.exchange.head.framing == 0
        return held and not self.status

    @property
    def content_bytes(self) -> int:
        """Bytes of the response's content as its server sent it, once it has ended."""
        transcoder = self.transcoder
        return self.exchange.response_bytes if transcoder is None else transcoder.taken

    @property
    def grpc_status(self) -> int | None:
        """What a call of gRPC came to; None if it is none, or is not over."""
        head, transcoder = self.head, self.transcoder
        if head is None or not self.exchange.is_grpc:
            return None
        if transcoder is not None:
            if not transcoder.done:
                return None
            value = transcoder.trailer(b"grpc-status")
            if value is not None:
                return parse_grpc_status(value)
        if not is_grpc(find_value(head.kept, b"content-type")):
            return None
        said = self._late_lines or head.kept
        return parse_grpc_status(find_value(said, b"grpc-status"))

    @property
    def lead(self) -> bytes:
        """What a connection to the present upstream must have begun with."""
        version = self.upstream.proxy_protocol
        return b"" if version is None else self._introduce(version)

    # === heads, and the beginning of a response ===

    def request_bytes(self, body_length: int | None) -> bytes:
        """Give the head to send to the present upstream."""
        exchange, hooks, upstream = self.exchange, self.hooks, self.upstream
        head, kept = exchange.head, hooks.fields
        said, added = exchange.forwarded_fields(), hooks.request_fields
        shared = head.shared
        if shared is not None and kept is not None and not upstream.prefix:
            line = head.method, b" ", head.target  # the same, but put together once
            return b"".join((*line, shared.start, kept, said, added, b"\r\n\r\n"))
        as_it_is = kept is head.kept and head.framing == body_length
        if as_it_is and head.host is not None and not upstream.prefix:  # and no call
            return b"".join((head.start, said, added, b"\r\n\r\n"))
        return render_request(
            *(head, upstream.host, said + added, body_length),
            prefix=upstream.prefix,
            kept=kept,
        )

    def begin_response(self, head: ResponseHead, body: bytes, *, last: bool) -> bytes:
        """Note the response's beginning; give what of it goes to the client.

        Args:
            head: the response's.
            body: what came of its body already.
            last: the client's connection must end with this response.

        Raises:
            ProtocolError: the body's framing is broken; nothing has gone out.
        """
        request = self.exchange.head
        self.keeps_client = self.exchange.keeps_connection() and not last
        self.head = head
        self.status = head.status
        data, framing = render_response(
            head,
            to_http10=request.http10,
            connection=self.exchange.connection_value(keep=self.keeps_client),
            added=self.hooks.response_fields,
            encoded=self.hooks.encoder is not None,
        )
        if framing == UNTIL_CLOSE:
            self.keeps_client = False
        transcoder = self.transcoder = self._transcoder(head.framing, framing)
        if transcoder.done:
            transcoder.rest = body
        elif body:
            try:
                data += transcoder.feed(body)
            except ProtocolError:
                transcoder.let_go()
                self.status, self.transcoder = 0, None
                raise
        return data

    def _transcoder(self, incoming: int, outgoing: int) -> BodyTranscoder:
        encoder = self.hooks.encoder
        trailers = self.exchange.head.takes_trailers
        limit = self.exchange.limits.trailers
        if encoder is None:
            return BodyTranscoder(
                incoming, outgoing, trailers=trailers, line_limit=limit
            )
        self.hooks.encoder = None  # type: ignore[misc]  # whose it was has a place for it
        return EncodedBody(
            incoming, outgoing, encoder, trailers=trailers, line_limit=limit
        )

    def switch(self, head: ResponseHead) -> bytes:
        """Note that the protocol changes; give the head that says so."""
        for timer in self._timers:
            timer.cancel()  # a tunnel lasts as long as it is used
        self.status = head.status
        self.keeps_client = False
        return b"HTTP/1.1%b%b\r\nConnection: Upgrade\r\nUpgrade: %b%b\r\n\r\n" % (
            head.line,
            head.kept,
            head.upgrade or b"",
            self.hooks.response_fields,
        )

    def call_later(self, after_s: float, call: Callable[[], None]) -> None:
        """Call in after_s seconds, unless it has ended by then."""
        timer = self.exchange.call_later(after_s, call)
        self._timers = (*self._timers, timer)

    # === where it goes next ===

    def after_failure(self, failure: Failure) -> float | None:
        """Ask the hooks where to try next; give after how long, None for nowhere."""
        return self._turn_to(self.hooks.on_failure(self, failure))

    def after_response(self, head: ResponseHead) -> float | None:
        """Ask whether to try elsewhere; give after how long, None to pass it on."""
        if not self.hooks.reads_responses:
            return None
        following = self.hooks.on_response(self, head)
        if following is not None and not self.can_repeat:
            raise RuntimeError("the request is not held any more: ask can_repeat first")
        return self._turn_to(following)

    def _turn_to(self, following: Upstream | Retry | None) -> float | None:
        if following is None:
            return None
        if isinstance(following, Retry):
            self.upstream = following.upstream
            return following.after_s
        self.upstream = following
        return 0.0

    # === how it ends ===

    def client_gone(self) -> None:
        """Take that the client went away: release the upstream."""
        self.release(reusable=False)
        self.end(None)

    def crashed(self, status: int = 500) -> None:
        """End an exchange in which code of ours or of the hooks raised, or cut it.

        The exception is logged. Whoever called that code knows nothing of the client,
        which would wait for ever.
        """
        exchange = self.exchange
        if self.carrier is not None:
            self.carrier.crash()
            return
        self.release(reusable=False)
        began = self.has_begun
        if exchange.attached is not self:
            exchange.cut()  # it had ended, as far as the hooks know
        elif began:
            self.end(None)
            exchange.cut()
        else:
            response = error_response(status, "")
            self.note_error_response(response)
            self.end(None)
            exchange.respond(response)

    def recall(self) -> None:
        """End a response that has begun, early and visibly; a WebSocket politely.

        A WebSocket gets close frames, 1012 to the client, then has `Limits.recall_s`;
        any other response is cut, which its client sees.
        """
        if not self.status:
            return
        if self.carrier is not None:
            self.carrier.recall()
            return
        self.release(reusable=False)
        self.end(None)
        self.exchange.cut()

    def give_up(self, failure: Failure) -> None:
        """End it with a failure that is final."""
        exchange = self.exchange
        if self.status:
            self.end(failure)
            exchange.cut(by_upstream=True)
        else:
            response = self.error_response(failure)
            self.note_error_response(response)
            self.end(failure)
            exchange.respond(response)

    def refuse(self, response: Response) -> None:
        """End it with an error of its client, before anything was sent on."""
        self.note_error_response(response)
        self.end(None)
        self.exchange.respond(response)

    def error_response(self, failure: Failure) -> Response:
        """Give the response for a failure that is final."""
        try:
            return self.hooks.error_response(self, failure)
        except Exception:
            _log.exception("an error response of the hooks failed")
            return error_response(failure.status, failure.condition.value)

    def note_error_response(self, response: Response) -> None:
        """Note that an error response of ours goes out."""
        self.status = response.status
        if self.exchange.head.method != b"HEAD":
            self.exchange.response_bytes = len(response.body)

    def failure(self, condition: FailureReason, detail: str) -> Failure:
        """Give the failure of the present try."""
        connection = self._connection
        sent = connection is not None and connection.sent
        return Failure(condition, self.upstream.name, sent, detail)

    def release(self, *, reusable: bool) -> None:
        """Let go of the upstream's connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if reusable:
            connection.release()
        else:
            connection.close()

    def pass_trailers(self, lines: bytes) -> None:
        """Pass the trailers of a response that states its length on, if they are taken."""
        exchange, body = self.exchange, self.transcoder
        self._late_lines = b"\r\n" + lines
        if exchange.connection is not None and exchange.head.takes_trailers:
            exchange.connection.add_trailers(body.passing(lines) if body else lines)

    def end(self, failure: Failure | None) -> None:
        """End the request, with a failure or without, and tell the hooks."""
        exchange, transcoder = self.exchange, self.transcoder
        exchange.attached = None
        for timer in self._timers:
            timer.cancel()
        if transcoder is not None:
            exchange.response_bytes = transcoder.passed
            transcoder.let_go()
        self.carrier = None  # a cycle: it would wait, with buffers, for the collector
        try:
            self.hooks.on_end(self, self.status, failure)
        except Exception:  # the response is not at fault: it goes out as it is
            _log.exception("the hooks failed at the end of an exchange")

    def _introduce(self, version: ProxyVersion) -> bytes:
        """Give the header that names the client; what began so ends with it."""
        exchange, upstream = self.exchange, self.upstream
        lead = introduce(exchange, version)
        connection = exchange.connection
        if connection is not None and not is_named_by_balancer(exchange):
            said = connection.said
            said.on_gone = {**(said.on_gone or {}), upstream.leave: lead}
        return lead

    def _overdue(self) -> None:
        failure = self.failure(FailureReason.REQUEST_TIMEOUT, "")
        if self.carrier is not None:
            self.carrier.fail(failure)
            return
        self.release(reusable=False)
        self.give_up(failure)
