"""One forwarded request, from the choice of an upstream to the end of its answer.

    sending -> awaiting the head -> relaying the body -> ended
       ^               |
       +-- elsewhere --+   only while nothing of an answer has gone out

The rule that it obeys: it ends exactly once, in `_end`, and the delivery is told. A
connection that was kept open and turns out to be closed is not the upstream's
failure: the request goes out again on a new one, if it may be repeated (RFC 9112
section 9.3.1), and the delivery never hears of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from http_trio.errors import BadAnswer, ProtocolError
from http_trio.http1.body import Passage, Truncated
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.request_head import render_request
from http_trio.http1.response import Answer, http_date
from http_trio.http1.response_head import AnswerHead, parse_answer_head, render_answer
from http_trio.limits import BUFFER, Limits, Waits
from http_trio.proxy import forward_task as relay
from http_trio.proxy.hooks import Delivery, Retry
from http_trio.upstream.failure import Condition, Failure

if TYPE_CHECKING:
    from http_trio.net.event_loop import Timer
    from http_trio.server.exchange import Exchange
    from http_trio.upstream.connection import UpstreamConnection
    from http_trio.upstream.pool import Upstream


class Transit:
    """One forwarded request."""

    __slots__ = (
        "_body",
        "_delivery",
        "_interims",
        "_keep",
        "_peer",
        "_received",
        "_request",
        "_retried",
        "_timers",
        "_upstream",
        "carrier",
        "exchange",
        "head",
        "passage",
        "status",
        "waits",
    )

    def __init__(
        self, exchange: Exchange, upstream: Upstream, delivery: Delivery
    ) -> None:
        self.exchange = exchange
        self.status = 0
        self.waits: Waits | Limits = delivery.waits or exchange.lane.limits
        self.carrier: relay.Relay | None = None
        self.head: AnswerHead | None = None
        self.passage: Passage | None = None
        self._upstream = upstream
        self._interims = 0
        self._delivery = delivery
        self._body: bytes | None = None
        self._timers: tuple[Timer, ...] = ()
        self._request = b""
        self._received = b""
        self._peer: UpstreamConnection | None = None
        self._retried = False
        self._keep = True
        if self.waits.request_s != math.inf:
            left_s = exchange.began + self.waits.request_s - exchange.lane.now
            self._call_later(left_s, self._overdue)

    def __repr__(self) -> str:
        return f"<Transit to {self._upstream.name} status={self.status}>"

    # === the express way out ===

    def send(self, body: bytes) -> None:
        """Send the request, whose whole body is given, and await its answer."""
        self._body = body
        head = self.exchange.head
        self._send_to(
            self._upstream.take_idle(peek=not head.repeatable) or self._connect()
        )

    def send_by_task(self) -> None:
        """Let a task carry the whole exchange."""
        relay.start(self)

    def request_bytes(self, body_length: int | None) -> bytes:
        """Give the head to send to the present upstream."""
        exchange = self.exchange
        added = exchange.forwarding_fields() + self._delivery.request_fields
        upstream = self._upstream
        return render_request(
            *(exchange.head, upstream.host, added, body_length),
            prefix=upstream.prefix,
            kept=exchange.fields,
        )

    # === what the upstream's connection tells ===

    def received(self, data: bytes) -> None:
        """Take what the upstream sent."""
        try:
            if self.passage is None:
                self._await_head(self._received + data if self._received else data)
            else:
                self._relay(self.passage, data)
        except ProtocolError as exc:
            self.failed(Condition.BAD_ANSWER, str(exc))

    def closed(self) -> None:
        """Take that the upstream closed."""
        passage = self.passage
        if passage is None:
            self.failed(Condition.CLOSED, "closed without an answer")
            return
        try:
            out = passage.end()
        except Truncated as exc:
            self.failed(Condition.CLOSED, str(exc))
            return
        self._release(reusable=False)
        self._finish(out)

    def expired(self) -> None:
        """Take that the upstream was silent for too long."""
        if self.passage is None:
            self.failed(Condition.ANSWER_TIMEOUT, "")
        else:
            self.failed(Condition.STALLED, "")

    def failed(self, condition: Condition, detail: str) -> None:
        """Take that the upstream failed: try again, elsewhere, or give up."""
        peer = self._peer
        failure = self._failure(condition, detail)
        stale = (
            condition is Condition.CLOSED
            and peer is not None
            and not peer.fresh
            and not self._received
        )
        self._release(reusable=False)
        if self.exchange.gone:
            self._end(failure)
        elif self.status:
            self._give_up(failure)
        elif stale and not self._retried and self._may_repeat(failure):
            self._retried = True
            self._send_to(self._connect())
        else:
            self._try_elsewhere(failure)

    # === what the client's side tells ===

    def client_gone(self) -> None:
        """Take that the client went away: release the upstream."""
        self._release(reusable=False)
        self._end(None)

    def recall(self) -> None:
        """End an answer that has begun, early and visibly; a WebSocket politely."""
        if not self.status:
            return
        if self.carrier is not None:
            self.carrier.recall()
            return
        self._release(reusable=False)
        self._end(None)
        self.exchange.cut()

    # === shared with the task lane ===

    @property
    def delivery(self) -> Delivery:
        """Whose it is."""
        return self._delivery

    @property
    def upstream(self) -> Upstream:
        """The upstream that is being tried."""
        return self._upstream

    def begin_answer(self, head: AnswerHead, body: bytes, *, last: bool) -> bytes:
        """Note the answer's beginning; give what of it goes to the client.

        Args:
            head: the answer's.
            body: what came of its body already.
            last: the client's connection must end with this answer.

        Raises:
            ProtocolError: the body's framing is broken; nothing has gone out.
        """
        request = self.exchange.head
        self._keep = self.exchange.keeps_connection() and not last
        self.head = head
        self.status = head.status
        data, framing = render_answer(
            head,
            to_http10=request.http10,
            connection=self.exchange.connection_value(keep=self._keep),
            added=self._delivery.answer_fields,
        )
        if framing == UNTIL_CLOSE:
            self._keep = False
        passage = self.passage = Passage(
            head.framing,
            framing,
            trailers=request.takes_trailers,
            line_limit=self.exchange.limits.trailers,
        )
        if passage.done:
            passage.rest = body
        elif body:
            try:
                data += passage.feed(body)
            except ProtocolError:
                self.status, self.passage = 0, None
                raise
        return data

    def switch(self, head: AnswerHead) -> bytes:
        """Note that the protocol changes; give the head that says so."""
        for timer in self._timers:
            timer.cancel()  # a tunnel lasts as long as it is used
        self.status = head.status
        self._keep = False
        return b"HTTP/1.1%b%b\r\nConnection: Upgrade\r\nUpgrade: %b%b\r\n\r\n" % (
            head.line,
            head.kept,
            head.upgrade or b"",
            self._delivery.answer_fields,
        )

    @property
    def keeps_client(self) -> bool:
        """Whether the client's connection lives on."""
        return self._keep

    @property
    def can_repeat(self) -> bool:
        """Whether the whole request is held, and nothing of an answer has gone out."""
        held = self._body is not None or self.exchange.head.framing == 0
        return held and not self.status

    def after_failure(self, failure: Failure) -> float | None:
        """Ask the delivery where to try next; give after how long, None for nowhere."""
        return self._turn_to(self._delivery.failed(self.exchange, failure))

    def after_answer(self, head: AnswerHead) -> float | None:
        """Ask whether to try elsewhere; give after how long, None to pass it on."""
        if not self._delivery.reads_answers:
            return None
        following = self._delivery.answered(self.exchange, head)
        if following is not None and not self.can_repeat:
            raise RuntimeError("the request is not held any more: ask can_repeat first")
        return self._turn_to(following)

    def refuse(self, failure: Failure) -> Answer:
        """Give the answer for a failure that is final."""
        return self._delivery.refuse(self.exchange, failure)

    def note_refusal(self, answer: Answer) -> None:
        """Note that this goes out, of an answer of ours."""
        self.status = answer.status
        if self.exchange.head.method != b"HEAD":
            self.exchange.answer_bytes = len(answer.body)

    def end(self, failure: Failure | None) -> None:
        """End in the task lane."""
        self._end(failure)

    # === private ===

    def _connect(self) -> UpstreamConnection | Failure:
        return self._upstream.connect(self.exchange.lane)

    def _send_to(self, peer: UpstreamConnection | Failure) -> None:
        if isinstance(peer, Failure):
            self._try_elsewhere(peer)
            return
        if not self._request:
            body = self._body or b""
            self._request = self.request_bytes(len(body)) + body
        self._peer = peer
        peer.begin(self, self._request)

    def _try_elsewhere(self, failure: Failure) -> None:
        after_s = self.after_failure(failure)
        if after_s is None:
            self._give_up(failure)
        else:
            self._send_again(after_s)

    def _turn_to(self, following: Upstream | Retry | None) -> float | None:
        if following is None:
            return None
        self._request = self._received = b""
        if isinstance(following, Retry):
            self._upstream = following.upstream
            return following.after_s
        self._upstream = following
        return 0.0

    def _send_again(self, after_s: float) -> None:
        if after_s > 0:
            self._call_later(after_s, partial(self._send_again, 0.0))
        else:
            self._send_to(self._upstream.take_idle(peek=True) or self._connect())

    def _give_up(self, failure: Failure) -> None:
        exchange = self.exchange
        if self.status:
            self._end(failure)
            exchange.cut()
        else:
            answer = self.refuse(failure)
            self.note_refusal(answer)
            self._end(failure)
            exchange.respond(answer)

    def _may_repeat(self, failure: Failure) -> bool:
        return not failure.sent or self.exchange.head.repeatable

    def _overdue(self) -> None:
        failure = self._failure(Condition.REQUEST_TIMEOUT, "")
        if self.carrier is not None:
            self.carrier.fail(failure)
            return
        self._release(reusable=False)
        self._give_up(failure)

    def _call_later(self, after_s: float, call: Callable[[], None]) -> None:
        timer = self.exchange.lane.call_later(after_s, call)
        self._timers = (*self._timers, timer)

    def _failure(self, condition: Condition, detail: str) -> Failure:
        peer = self._peer
        sent = peer is not None and peer.sent
        return Failure(condition, self._upstream.name, sent, detail)

    def _await_head(self, data: bytes) -> None:
        exchange = self.exchange
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > exchange.limits.head:
                    raise BadAnswer("a header section beyond the limit")
                self._received = data
                return
            head = self._parse_head(data[:end])
            data = data[end:]
            if head.status >= 200:
                self._begin(head, data)
                return
            if head.status == 101:
                raise BadAnswer("101 to a request without Upgrade")
            self._interims += 1
            if self._interims > exchange.limits.interim_answers:
                raise BadAnswer(f"more than {self._interims - 1} interim answers")
            exchange.send_interim(head)
            if exchange.gone:
                return

    def _begin(self, head: AnswerHead, body: bytes) -> None:
        if self._delivery.reads_answers:
            head = head.private()
        elif head.framing == len(body) and not self.exchange.head.http10:
            self._pass_whole(head, body)
            return
        after_s = self.after_answer(head)
        if after_s is not None:
            self._release(reusable=head.keep_alive and len(body) == head.framing)
            self._send_again(after_s)
            return
        out = self.begin_answer(head, body, last=False)
        assert self.passage is not None, "begin_answer sets it"
        self._pass_on(self.passage, out)

    def _parse_head(self, raw: bytes) -> AnswerHead:
        method = self.exchange.head.method
        if method == b"HEAD":  # what its answers mean is not in their bytes alone
            return parse_answer_head(raw, method)
        known = self.exchange.lane.known_answers
        head = known.get(raw)
        if head is None:
            head = parse_answer_head(raw, method)
            known.offer(raw, head)
        return head

    def _pass_whole(self, head: AnswerHead, body: bytes) -> None:
        """Pass on an answer that came in one piece, as most do.

        It gives what `begin_answer` and a passage of this length would.
        """
        exchange, delivery, peer = self.exchange, self._delivery, self._peer
        assert peer is not None, "an answer comes over a connection"
        self.status = head.status
        exchange.answer_bytes = len(body)
        keep = exchange.keeps_connection()
        added = delivery.answer_fields
        if not keep:
            added = b"\r\nConnection: close" + added
        if not head.dated:
            added = b"\r\nDate: " + http_date() + added
        self._peer = None
        if head.keep_alive:
            peer.release()
        else:
            peer.close()
        self._end(None)
        exchange.send_last(b"%b%b\r\n\r\n%b" % (head.start, added, body), keep=keep)

    def _relay(self, passage: Passage, data: bytes) -> None:
        assert self._peer is not None, "only a connection in use is received from"
        self._peer.touch(self.waits.stream_idle_s)
        self._pass_on(passage, passage.feed(data))

    def _pass_on(self, passage: Passage, out: bytes) -> None:
        if passage.done:
            head = self.head
            assert head is not None, "begin_answer sets it"
            self._release(reusable=head.keep_alive and not passage.rest)
            self._finish(out)
        elif passage.left > BUFFER:
            self._hand_over(out)
        elif out:
            unsent = self.exchange.send_part(out)
            if unsent:
                self._hand_over(unsent)

    def _finish(self, out: bytes) -> None:
        exchange, keep = self.exchange, self._keep
        self._end(None)
        exchange.send_last(out, keep=keep)

    def _hand_over(self, unsent: bytes) -> None:
        peer = self._peer
        assert peer is not None, "an answer comes over a connection"
        self._peer = None
        peer.leave_lane()
        relay.start_answer(self, peer, unsent)

    def _release(self, *, reusable: bool) -> None:
        peer, self._peer = self._peer, None
        if peer is None:
            return
        if reusable:
            peer.release()
        else:
            peer.close()

    def _end(self, failure: Failure | None) -> None:
        exchange, passage = self.exchange, self.passage
        exchange.transit_ended()
        for timer in self._timers:
            timer.cancel()
        if passage is not None:
            exchange.answer_bytes = passage.passed
        self.carrier = None  # a cycle: it would wait, with buffers, for the collector
        self._delivery.ended(exchange, self.status, failure)
