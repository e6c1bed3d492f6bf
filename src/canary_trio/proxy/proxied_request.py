"""One request on its way: the server that has it, the next one if that fails, the count.

    start --> send_to --> ended
      |       ^    |
      |       |    +-- failed / answered: elsewhere, maybe after a pause
      +-- wait: for the body, then by turns for a place at a server that is short of them

The rule that it obeys: each `began` of a server has one `ended`, and each request is told
to the observer once, whatever happens. `retry` decides on a failed try. One file, since
each step of a request changes the same few fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary_trio.proxy.arm_plan import ArmPlan, Context
from canary_trio.proxy.counting import count_other, count_timed, user_of
from canary_trio.proxy.retry import Step, next_step, pause_s
from canary_trio.rollout.fleet.arm_tally import KNOWN
from canary_trio.routing.decision import Decision, Reason
from canary_trio.telemetry.decision_labels import DecisionLabels
from canary_trio.upstream.pending_queue import client_of
from canary_trio.upstream.server import ServerState
from http_trio import (
    Failure,
    ForwardedRequest,
    ForwardHooks,
    Response,
    Retry,
    Upstream,
    error_response,
    forward,
)
from http_trio.http1.grpc import http_status_of

if TYPE_CHECKING:
    from http_trio import Exchange


class ProxiedRequest(ForwardHooks):
    """One request, tried again by the rules of its arm."""

    # fmt: off
    __slots__ = (
        "_chosen", "_context", "_decision", "_exchange", "_failed", "_fields", "_labels",
        "_names", "_plan", "_repeats", "_request_id", "_server", "_share", "_started",
        "_tried", "_tries",
    )
    # fmt: on

    def __init__(  # noqa: PLR0917  # a keyword costs as much as all of it: 0.17 us
        self,
        context: Context,
        plan: ArmPlan,
        decision: Decision,
        exchange: Exchange,
        fields: bytes,
        names: bytes,
        request_id: bytes,
    ) -> None:
        """Begin with a decision, which is counted.

        Args:
            context: of its revision.
            plan: of the arm that was chosen.
            decision: which chose it.
            exchange: it.
            fields: of the request that go on, before any arm's changes to them.
            names: lines that name it for the servers, each led by CRLF.
            request_id: the name, for the log.
        """
        self._context = context
        self._plan = self._chosen = plan
        self._decision = decision
        self._labels: DecisionLabels = context.labels.note(decision)
        self._exchange = exchange
        self._request_id = request_id
        self._fields = fields
        self._names = names
        self._server: ServerState | None = None
        self._share = ""  # the client whose place this is, where places are short
        self._started = 0.0
        self._tried: tuple[ServerState, ...] = ()
        self._tries = self._repeats = 0
        self._failed = False
        self.timeouts = plan.timeouts
        self._apply_header_changes()
        state = plan.state
        state.requests += 1
        if exchange.began >= state.budget.next_at:
            state.budget.move_on(exchange.began, state.requests)

    def __repr__(self) -> str:
        return f"<ProxiedRequest for {self._plan.name} at {self._server} tries={self._tries}>"

    @property
    def plan(self) -> ArmPlan:
        """The plan of the arm that serves it now."""
        return self._plan

    @property
    def decision(self) -> Decision:
        """Why it was sent to the arm that was chosen at first."""
        return self._decision

    @property
    def server(self) -> ServerState | None:
        """The server that has it now; None while none has."""
        return self._server

    # === on its way ===

    def start(self) -> None:
        """Send it to a server of its arm, or of another arm, or let it wait, or refuse."""
        server = self._plan.pick(self._decision.key) or self._fall_back()
        if server is None:
            self._turn_away("no server is usable")
        elif server.in_flight >= server.crowded_at:
            self._server = server
            self._exchange.await_body(self._enter, self._left)
        else:
            self.send_to(server)

    def start_when_ready(self) -> None:
        """Start when its body is here: before that a place were of no use to it."""
        self._exchange.await_body(lambda _: self.start(), self._left)

    def send_to(self, server: ServerState) -> None:
        """Send it to a server that has a place."""
        exchange = self._exchange
        self._server = server
        now = self._started = exchange.loop.now
        if server.in_flight >= server.crowded_at:
            self._share = server.take_share(client_of(exchange.client))
        server.began(now)
        forward(exchange, server.upstream, self)

    def on_failure(
        self, request: ForwardedRequest, failure: Failure
    ) -> Upstream | Retry | None:
        """Try the request elsewhere, if the rules of its arm allow it."""
        sent = failure.sent
        if sent and not request.exchange.head.repeatable:
            return None
        condition, arm = failure.condition, self._plan.name
        ok, unreachable = condition.verdict, condition.is_unreachable
        following = self._go_on(sent=sent, ok=ok, unreachable=unreachable)
        if following is not None:
            self._context.observer.counters.failed(arm, condition.value)
        return following

    def passes_trailer(self, line: bytes) -> bool:
        """Tell whether a trailer may go on: it says nothing that no field may say."""
        field = b"\r\n" + line
        if self._plan.request.without(field) != field:
            return False
        return self._context.may_say(field)

    def error_response(self, request: ForwardedRequest, failure: Failure) -> Response:
        """Give the response for a failure that is final; it says what was decided."""
        response = super().error_response(request, failure)
        response.headers += self._plan.own_fields(self._labels, self._exchange)
        return response

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        """Count how the request ended: at its server, its arms and the observer."""
        exchange, server = self._exchange, self._server
        assert server is not None, "it was sent to one"
        now = exchange.loop.now
        if self._share:
            self._share = server.give_share(self._share)
        called = request.grpc_status if exchange.head.method == b"POST" else None
        stands_for = status if called is None else http_status_of(called)
        if failure is None and stands_for < 500:
            # A client that left, and a tunnel, tell nothing of the server.
            server.ended(now, True if status >= 200 else None, self._started)
            if self._failed:
                self._count(bad=False, saved=status > 0)
        else:
            condition = None if failure is None else failure.condition
            ok = False if condition is None else condition.verdict
            unreachable = condition is not None and condition.is_unreachable
            server.ended(now, ok, self._started, unreachable=unreachable)
            self._count(bad=True, saved=False)
        labels, seconds = self._labels, now - exchange.began
        self._context.observer.ended(
            exchange,
            labels,
            status,
            seconds,
            server=server.server.url,
            request_id=self._request_id,
            retries=self._tries,
            failure=failure,
            grpc_status=called,
        )
        tally = labels.tally
        if tally is not None:  # for the judge of a rollout
            bad = self._failed or failure is not None or stands_for in tally.failing
            if bad or status < 200 or exchange.connection is None:
                count_other(tally, self._decision, status, failed=bad)
            else:  # of most users, and of most requests where they are many, no more
                tally.requests = number = tally.requests + 1
                if number >= tally.due and tally.slots[self._decision.unit] < KNOWN:
                    count_timed(tally, self._decision, seconds)
        if labels.mirror is not None:
            fields, answered = self._fields + self._names, failure is None
            labels.mirror.offer(request, stands_for, fields, answered=answered)

    # === elsewhere ===

    def _go_on(
        self, *, sent: bool, ok: bool | None, unreachable: bool
    ) -> Upstream | Retry | None:
        """Leave the server that failed for another one; None to give up, at this one."""
        plan, retries = self._plan, self._chosen.retries
        server, now = self._server, self._exchange.loop.now
        assert server is not None, "it was sent to one"
        tried = (*self._tried, server)
        other = plan.pick_other(tried, self._decision.key)
        step = next_step(
            sent=sent,
            tries_left=self._ask_budget(now) if sent else self._tries_left,
            tried=len(tried),
            other=other is not None,
            fallback=self._can_fall_back(),
        )
        repeat = sent or step is Step.SAME
        following = None
        match step:
            case Step.OTHER:
                following = other
            case Step.FALLBACK:
                following = self._pick_of_fallback()
            case Step.SAME if sent or self._ask_budget(now):
                following = plan.pick(self._decision.key)
        if following is None or following.full:
            return None
        if self._share:
            self._share = server.give_share(self._share)
        server.ended(now, ok, self._started, unreachable=unreachable)
        self._failed = True
        self._tries += 1
        if step is Step.FALLBACK:
            self._move_to_fallback(Reason.RETRY)
        else:
            self._tried = tried
        pause = 0.0
        if repeat:
            pause = pause_s(retries, self._repeats, self._context.draw)
            self._repeats += 1
        self._server, self._started = following, now + pause
        if following.in_flight >= following.crowded_at:
            self._share = following.take_share(client_of(self._exchange.client))
        following.began(now)
        return Retry(following.upstream, pause) if pause else following.upstream

    @property
    def _tries_left(self) -> int:
        return self._chosen.retries.tries - self._repeats

    def _ask_budget(self, now: float) -> int:
        """Give the tries that are left, if the budget has one."""
        left, state = self._tries_left, self._chosen.state
        if left and state.budget.take(self._chosen.retries, now, state.requests):
            return left
        return 0

    def _can_fall_back(self) -> bool:
        fallback = self._fallback()
        return fallback is not None and bool(fallback.state.server_set.usable)

    def _fallback(self) -> ArmPlan | None:
        """Give the plan of the other arm; there is one such move per request."""
        name = self._chosen.fallback
        if name is None or self._plan is not self._chosen:
            return None
        return self._context.arm_plans.of(name)

    def _pick_of_fallback(self) -> ServerState | None:
        fallback = self._fallback()
        return None if fallback is None else fallback.pick(self._decision.key)

    def _fall_back(self) -> ServerState | None:
        """Turn to the other arm, since this one has no usable server at all."""
        if not self._can_fall_back():
            return None
        self._failed = True
        self._move_to_fallback(Reason.FALLBACK)
        return self._plan.pick(self._decision.key)

    def _move_to_fallback(self, why: Reason) -> None:
        fallback = self._fallback()
        assert fallback is not None, "asked only if there is one"
        self._plan, self._tried = fallback, ()
        self._labels = self._context.labels.moved(self._decision, fallback.name, why)
        self._chosen.state.fallbacks += 1
        fallback.state.taken_over += 1
        self._apply_header_changes()

    def _apply_header_changes(self) -> None:
        """Compute the fields by the header changes of the arm."""
        plan, cookie = self._plan, self._decision.cookie
        changes = plan.request
        if changes.left_out is None:  # the engine has these fields rendered already
            self.fields = self._fields
            self.request_fields = self._names + changes.lines
        else:
            self.fields = changes.without(self._fields + self._names)
            self.request_fields = changes.lines
        fields = plan.response.lines
        if self._labels.lines:
            fields = self._labels.lines[self._exchange.protocol] + fields
        if plan.strict is not None and self._exchange.secure:
            fields += b"\r\n%b: %b" % plan.strict
        self.response_fields = (
            b"\r\nSet-Cookie: " + cookie + fields if cookie else fields
        )

    # === places ===

    def admit(self) -> None:
        """Take the place that is free at the server it waits at."""
        self._exchange.decide(self._enter, self._exchange)

    def _enter(self, exchange: Exchange) -> None:
        """Take a place where they are short, or wait for one: the request is here."""
        server = self._server
        assert server is not None, "it waits at one"
        if server.removed or not server.healthy:
            self.start()
            return
        client = client_of(exchange.client)
        if server.has_room_for(client):
            self.send_to(server)
            return
        limits, now = self._plan.limits, exchange.loop.now
        self._started = self._started or now  # from here on it waits for others
        left_s = self._started + limits.wait - now
        if left_s > 0 and server.queue_up(self, client, limits):
            exchange.park(left_s, self._waited_too_long, self._left)
        else:
            self._turn_away("too many requests wait for this service")

    def _waited_too_long(self, _: Exchange) -> None:
        self._leave_queue()
        self._turn_away("no server had a place in time")

    def _left(self, exchange: Exchange) -> None:
        self._leave_queue()
        self._report_end(exchange, 0)

    def _leave_queue(self) -> None:
        server, self._server = self._server, None
        if server is not None and server.queue is not None:
            server.queue.leave(self)

    # === counting ===

    def _turn_away(self, reason: str) -> None:
        """Respond 503 for a request that no server has."""
        exchange = self._exchange
        response = error_response(503, reason, retry_after_s=1)
        response.headers += self._plan.own_fields(self._labels, exchange)
        if exchange.head.method != b"HEAD":
            exchange.response_bytes = len(response.body)
        self._count(bad=True, saved=False)
        if self._labels.tally is not None:
            self._labels.tally.add(user_of(self._decision), failed=True)
        self._report_end(exchange, response.status)
        exchange.respond(response)

    def _report_end(self, exchange: Exchange, status: int) -> None:
        self._context.observer.ended(
            exchange,
            self._labels,
            status,
            exchange.loop.now - exchange.began,
            request_id=self._request_id,
            retries=self._tries,
        )

    def _count(self, *, bad: bool, saved: bool) -> None:
        """Count an error against the arms that did not serve the request."""
        chosen, last = self._chosen.state, self._plan.state
        if self._failed or bad:
            chosen.errors += 1
        if bad and last is not chosen:
            last.errors += 1
        chosen.saved += saved
