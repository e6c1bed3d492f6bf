"""The handler of the proxy's listeners: decide on an arm, name the request, send it.

It reads the live configuration once, so a request is routed by one revision from its
first byte to its last. One file, since each step may be a request's last.
"""

from __future__ import annotations

import os
import re
from functools import partial
from time import monotonic_ns

import attrs

from canary_trio.proxy.arm_plan import ArmPlans, Context
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.auth.verdict import Granted
from canary_trio.proxy.changing.trial import Trial
from canary_trio.proxy.fields import max_forwards
from canary_trio.proxy.fields.path_prefix import leaves_root
from canary_trio.proxy.fields.request_ids import RandomHex
from canary_trio.proxy.inspected_request import InspectedRequest
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.proxied_request import ProxiedRequest
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.access.gate import RefusalKind
from canary_trio.routing.decision import Decision
from canary_trio.telemetry.decision_labels import Whose, unrouted
from http_trio import BodyLimit, Exchange, Response, error_response
from http_trio.http1.request_head import RequestHead

_CLAIMS = re.compile(
    rb"\r\n(?:x-canary-mirror|x[-_]forwarded[-_]client[-_]cert"
    rb"|client[-_]cert(?:[-_]chain)?)[ \t]*:[^\r\n]*",
    re.IGNORECASE,
)
_OF_CLIENTS = re.compile(
    rb"""\r\n(?:
    x[-_](?:real|client|cluster[-_]client|remote|originating|proxyuser)[-_]ip
    |x[-_]remote[-_]addr|x[-_]client[-_]addr|x[-_]envoy[-_]external[-_]address
    |x[-_]azure[-_](?:client|socket)ip|x[-_]appengine[-_]user[-_]ip
    |x[-_]original[-_]forwarded[-_]for|x[-_]url[-_]scheme
    |x[-_]forwarded(?:[-_](?:for|proto|host|port|server|scheme|ssl|protocol|by|prefix
        |for[-_]original|proto[-_]version|path|uri))?
    |(?:(?:true|fastly|fly|wl[-_]proxy|proxy)[-_])?client[-_]ip
    |cf[-_]connecting[-_](?:ip|ipv6)|cf[-_]pseudo[-_]ipv4|cf[-_]visitor
    |cloudfront[-_]forwarded[-_]proto|cloudfront[-_]viewer[-_]address
    |cdn[-_]src[-_]ip|ali[-_]cdn[-_]real[-_]ip|front[-_]end[-_]https|forwarded[-_]for
    )[ \t]*:[^\r\n]*""",
    re.IGNORECASE | re.VERBOSE,
)
"""What balancers say of a client beside what the engine reads (docs/balancers.md)."""

_MAY_CLAIM = re.compile(
    # Two sets pass most lines by, and only then the pairs are looked at: a third of the time.
    rb"\n[xXcCfFtTwWpPaA][-_lLfFdDaAoOrR]"
    rb"(?:(?<=[xX][-_]|[cC][lLfFdD]|[fF][aAlLoOrR]|[tT][rR]|[wW][lL]|[aA][lL])"
    rb"|(?<=[pP][rR])(?=[oO][xX]))"
)


class ProxyHandler:
    """The handler of the proxy's listeners, or of one route of a gateway."""

    def __init__(
        self, runtime: Runtime, route: str = "", auth: Authenticator | None = None
    ) -> None:
        """Serve a service, or the requests of one route, which may have checks too."""
        self._runtime = runtime
        self._auth = auth
        self._route = route
        self._unrouted = runtime.observer.unrouted
        whose = "this proxy"
        if route:
            whose = f"service {runtime.service}"
            whose_ = Whose(runtime.service, route)
            self._unrouted = unrouted(runtime.observer.counters, whose_)
        self._random = RandomHex(os.urandom)
        self._context: Context | None = None
        self._trial: tuple[Trial, ProxyHandler] | None = None
        self._not_ready: Response = error_response(
            503, f"{whose} has no configuration yet", retry_after_s=1
        )

    def __repr__(self) -> str:
        return f"<ProxyHandler {self._runtime}>"

    def __call__(self, exchange: Exchange, new_key: bytes | None = None) -> None:
        """Send a request to the arm that it belongs to; see `Router.choose` for the key."""
        runtime = self._runtime
        live = runtime.live
        if live is None:
            runtime.observer.ended(exchange, self._unrouted, 503, 0.0)
            exchange.respond(self._not_ready)
            return
        context = self._context
        if context is None or context.arm_plans.live is not live:
            context = self._make_ready(live)
        arm_plans = context.arm_plans
        head = exchange.head
        fields = head.passed
        if fields is not head.kept:
            fields = _without_claims_of(exchange)
        if arm_plans.looks_closer or head.method in max_forwards.METHODS:
            if self._trial is not None:
                self._choose_document(exchange, fields, context, *self._trial)
                return
            passed = self._look_closer(exchange, fields, context, new_key)
            if passed is None:
                return
            fields = passed
        self._send(exchange, fields, context, None, new_key)

    def _send(  # noqa: PLR0912  # the hot path
        self,
        exchange: Exchange,
        fields: bytes,
        context: Context,
        granted: Granted | None,
        new_key: bytes | None,
    ) -> None:
        """Send a request that may pass; `granted` is what it was granted, if it was asked."""
        runtime, arm_plans, head = self._runtime, context.arm_plans, exchange.head
        shown = head
        if granted is not None and arm_plans.auth is not None:
            shown = arm_plans.auth.routed_head(head, granted)
        certificate = (
            exchange.client_certificate if arm_plans.asks_certificate else None
        )
        router = arm_plans.live.router
        if router.is_blind:
            decision = router.draw(runtime.sequence, runtime.chance)
        else:
            decision = router.choose(
                shown,
                exchange.client,
                runtime.sequence,
                runtime.chance,
                secure=exchange.secure,
                certificate=certificate,
                new_key=new_key,
            )
        noted = runtime.noted
        noted.left -= 1
        if noted.left < 0:
            self._note(exchange, shown, arm_plans.live)
        if arm_plans.hidden_cookie is not None:
            fields = arm_plans.hidden_cookie.hide(head, fields)
        request_id = b""
        names = b"" if certificate is None else arm_plans.certificate_line(certificate)
        ids = arm_plans.ids
        if ids is not None:
            if granted is None and head.is_quiet and ids.begins_with_x:  # no name
                request_id, names = ids.make(names)
            else:
                request_id, fields, line = ids.name(fields)
                names += line
        if arm_plans.traces is not None:
            fields, line = arm_plans.traces.start(fields)
            names += line
        if granted is not None:
            context = context.of_user(granted.user)
            decision = _with_cookies(decision, granted.cookies)
        plan = arm_plans.by_arm.get(decision.arm) or arm_plans.of(decision.arm)
        kind = InspectedRequest if plan.reads_responses else ProxiedRequest
        request = kind(context, plan, decision, exchange, fields, names, request_id)
        if head.framing > 0 and exchange.has_short_body:
            request.start_when_ready()
        else:
            request.start()

    def _choose_document(
        self,
        exchange: Exchange,
        fields: bytes,
        context: Context,
        trial: Trial,
        tried: ProxyHandler,
    ) -> None:
        """Send a request by the document that is tried, or by the present one."""
        tries, new_key = trial.choose(exchange)
        if tries:
            self._note_one(exchange, context.arm_plans.live)
            tried(exchange, new_key)
            return
        passed = self._look_closer(exchange, fields, context, new_key)
        if passed is not None:
            self._send(exchange, passed, context, None, new_key)

    def _note(self, exchange: Exchange, head: RequestHead, live: LiveConfig) -> None:
        """Note a request, so that it can be asked what another document would do."""
        self._runtime.noted.note(
            *(live.router, head, exchange.client, exchange.loop.now),
            secure=exchange.secure,
            certificate=exchange.client_certificate is not None,
        )

    def _note_one(self, exchange: Exchange, live: LiveConfig) -> None:
        """Note one that does not go on here, where its turn has come."""
        noted = self._runtime.noted
        noted.left -= 1
        if noted.left < 0:
            self._note(exchange, exchange.head, live)

    def _authenticate(
        self,
        exchange: Exchange,
        fields: bytes,
        context: Context,
        auth: Authenticator,
        new_key: bytes | None,
    ) -> None:
        """Send a request once it is known who asks, or refuse it."""
        if context.arm_plans.hidden_cookie is not None:
            fields = context.arm_plans.hidden_cookie.hide(exchange.head, fields)

        def go_on(left: bytes, granted: Granted) -> None:
            # With what was granted, which may name the request, or its trace.
            self._send(exchange, left + granted.lines, context, granted, new_key)

        auth.admit(
            exchange,
            fields,
            go_on,
            lambda denied: self._turn_down(
                exchange, context, denied.kind, denied.response
            ),
            lambda: self._left(exchange, context),
        )

    def _left(self, exchange: Exchange, context: Context) -> None:
        """Note that a client went away before it was known whether it may pass."""
        seconds = exchange.loop.now - exchange.began
        labels = context.labels.refused("authenticating")
        self._runtime.observer.ended(exchange, labels, 0, seconds)

    def _turn_down(
        self,
        exchange: Exchange,
        context: Context,
        kind: RefusalKind,
        response: Response,
        rule: str = "",
    ) -> None:
        """Respond to a request that may not pass, and note why."""
        observer = self._runtime.observer
        observer.counters.refused(kind.value)
        labels = context.labels.refused(kind.value, rule)
        seconds = exchange.now - exchange.began
        observer.respond(exchange, labels, response, seconds)

    def _admit(self, exchange: Exchange, context: Context) -> bool:
        """Tell whether a request may pass; one that may not is responded to."""
        gate, limiter = context.arm_plans.gate, context.arm_plans.limiter
        if gate is not None:
            found = gate.turn_down(exchange.client, exchange.head.framing)
            if found is not None:
                self._note_one(exchange, context.arm_plans.live)
                self._turn_down(exchange, context, found.kind, found.response())
                return False
            if gate.body is not None and exchange.head.framing:
                counters = self._runtime.observer.counters
                note = partial(counters.refused, RefusalKind.TOO_LARGE.value)
                exchange.body_limit = BodyLimit(gate.body, note)
        if limiter is not None:
            excess = limiter.check(exchange.head, exchange.client, monotonic_ns())
            if excess is not None:
                kind, response = RefusalKind.RATE_LIMITED, excess.response()
                self._turn_down(exchange, context, kind, response, excess.limit)
                return False
        return True

    def _look_closer(
        self,
        exchange: Exchange,
        fields: bytes,
        context: Context,
        new_key: bytes | None,
    ) -> bytes | None:
        """Give the fields that go on; None if the request does not, and is responded to."""
        head, arm_plans = exchange.head, context.arm_plans
        known, replaces = exchange.identity, arm_plans.replaces
        if known is not None and replaces is not None:
            exchange.identity = attrs.evolve(known, replaces=replaces)
        if not self._admit(exchange, context):
            return None
        if arm_plans.has_prefixes and leaves_root(head.target):
            self.refuse_path(exchange)
            return None
        going_on: bytes | None = fields
        if head.method in max_forwards.METHODS:
            going_on = self._count_hop(exchange, fields)
        if going_on is not None and arm_plans.auth is not None:
            self._authenticate(exchange, going_on, context, arm_plans.auth, new_key)
            return None
        return going_on

    def refuse_path(self, exchange: Exchange) -> None:
        """Refuse a request whose path climbs out of what it may reach."""
        observer = self._runtime.observer
        observer.ended(exchange, self._unrouted, 400, 0.0)
        exchange.respond(error_response(400, "the path leaves its root by .."))

    def _count_hop(self, exchange: Exchange, fields: bytes) -> bytes | None:
        """Give the fields with one hop less; None if the request was meant for us."""
        left = max_forwards.hops_left(fields)
        if left == 0:
            response = max_forwards.respond_here(exchange.head.method)
            observer = self._runtime.observer
            observer.ended(exchange, self._unrouted, response.status, 0.0)
            exchange.respond(response)
            return None
        return fields if left is None else max_forwards.one_less(fields)

    def _make_ready(self, live: LiveConfig) -> Context:
        runtime, trial = self._runtime, live.trial
        if isinstance(trial, Trial):
            tried = ProxyHandler(trial.runtime, self._route, self._auth)
            self._trial = trial, tried
        else:
            self._trial = None
        arm_plans = ArmPlans(live, runtime, self._random, self._auth)
        self._context = Context(
            arm_plans,
            runtime.observer,
            runtime.chance.uniform,
            without_claims,
            self._route,
        )
        return self._context


def _without_claims_of(exchange: Exchange) -> bytes:
    """Look at a head for the first time, or again if it claims something."""
    head = exchange.head
    fields = head.passed
    if fields is None:
        fields = head.pass_on(strip_claims)
    if fields is not head.kept and exchange.trusted:
        return without_forgeries(head.kept)
    return fields


def without_claims(kept: bytes) -> bytes:
    """Leave out what only a proxy may say: that it is a copy, who was verified or asks.

    With `_` for `-` too, where that matters: many servers read both as the same name.
    """
    left = strip_claims(kept)
    return kept if left is None else left


def strip_claims(kept: bytes) -> bytes | None:
    """Leave out the same; give None where no field even begins as one of these."""
    if _MAY_CLAIM.search(kept) is None:
        return None
    if _CLAIMS.search(kept) is not None:
        kept = _CLAIMS.sub(b"", kept)
    return kept if _OF_CLIENTS.search(kept) is None else _OF_CLIENTS.sub(b"", kept)


def without_forgeries(kept: bytes) -> bytes:
    """Leave out the same, but for what a trusted balancer says of a client.

    Balancers write `-`; who writes `_` would be read by servers beside them.
    """
    kept = _CLAIMS.sub(b"", kept)
    return _OF_CLIENTS.sub(
        lambda match: b"" if b"_" in match[0].partition(b":")[0] else match[0], kept
    )


def _with_cookies(decision: Decision, lines: bytes) -> Decision:
    """Let a client be given more cookies than that of the decision."""
    if not lines:
        return decision
    own = decision.cookie
    cookie = own + lines if own else lines.partition(b":")[2].lstrip(b" \t")
    return attrs.evolve(decision, cookie=cookie)
