"""What forwarding needs of an arm, compiled when a revision first sends it a request.

The rule that it obeys: what does not depend on the request is computed here, once. What
all requests of a revision need beside it is their `Context`. One file, since a request reads
all of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import attrs

from canary_trio.config.policies import (
    ArmTimeouts,
    Compress,
    Forwarded,
    HeaderRules,
    Retries,
    ServerLimits,
)
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.fields.header_changes import (
    HeaderChanges,
    certificate_line,
    compile_changes,
)
from canary_trio.proxy.fields.hidden_cookie import HiddenCookie
from canary_trio.proxy.fields.request_ids import RandomHex, RequestIds, Traces
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.access.gate import gate_of
from canary_trio.telemetry.decision_labels import DecisionLabels, LabelCache
from canary_trio.telemetry.observer import Observer, ObserverOfUser
from canary_trio.upstream.arm import ArmState, LiveArm, Pick, PickOther
from http_trio import Certificate, Compression, Exchange, Timeouts

STRICT = "Strict-Transport-Security"


@attrs.frozen(eq=False)
class ArmPlan:
    """How one arm's requests are forwarded.

    Attributes:
        name: of the arm.
        state: its counters and its budget.
        pick, pick_other: see `LiveArm`.
        timeouts, retries, limits: as the document has them.
        failing: statuses that count as failed and may be tried again.
        request, response: changes of fields.
        strict: the field that tells browsers to come by TLS only, for clients that came
            by it; None for none.
        compression: what of its responses is compressed; None for nothing.
        reads_responses: whether a response's head must be looked at: here, or where it
            falls back to.
        fallback: the name of the arm that serves when this one cannot; None for none.
    """

    name: str
    state: ArmState
    pick: Pick
    pick_other: PickOther
    timeouts: Timeouts
    retries: Retries
    limits: ServerLimits
    failing: frozenset[int]
    request: HeaderChanges
    response: HeaderChanges
    strict: tuple[bytes, bytes] | None
    compression: Compression | None
    reads_responses: bool
    fallback: str | None

    def own_fields(
        self, labels: DecisionLabels, exchange: Exchange
    ) -> tuple[tuple[bytes, bytes], ...]:
        """Give what a response of our own says as a server's would: see `ProxiedRequest`."""
        said = labels.fields.get(exchange.protocol)
        strict = self.strict if exchange.secure else None
        return tuple(field for field in (said, strict) if field is not None)


class ArmPlans:
    """The plans of one revision.

    Attributes:
        live: the revision.
        ids: names requests; None where the document wants no names.
        traces: starts traces; None where it wants none.
        hidden_cookie: takes our cookie out where servers are not to see it, or None.
        asks_certificate: whether a client's certificate matters to rules or servers.
        gate: who may pass; None where all may.
        limiter: how many requests may pass; None for any number.
        auth: who asks is to be known; None where it is not.
        has_prefixes: whether a server has a path before that of each request.
        replaces: whether servers are told of the client alone; None where the document
            does not say.
        looks_closer: whether any of the last four is so, or some requests try another
            document.
    """

    def __init__(
        self,
        live: LiveConfig,
        runtime: Runtime,
        random: RandomHex,
        auth: Authenticator | None = None,
    ) -> None:
        """Compile what all arms need; `auth` comes before that of the revision."""
        config = live.config
        self.live = live
        hidden = live.router.hidden_cookie
        self.hidden_cookie = None if hidden is None else HiddenCookie(hidden)
        self._certificate_header = config.client_cert_header
        self.asks_certificate = (
            live.router.asks_certificate or config.client_cert_header is not None
        )
        self.has_prefixes = any(seat.server.parts.prefix for _, seat in live.seats())
        self.ids = RequestIds(config.request_id, random) if config.request_id else None
        self.traces = (
            None
            if config.start_traces is None
            else Traces(config.start_traces, random, runtime.chance.uniform)
        )
        self.gate = gate_of(config.access)
        self.limiter = runtime.limiter_of(config.access.rate_limits)
        self.auth = auth if live.auth is None else live.auth.after(auth)
        told = config.forwarded
        self.replaces = None if told is None else told is Forwarded.REPLACE
        tries = live.trial is not None
        self.looks_closer = (
            self.has_prefixes
            or tries
            or any(
                one is not None
                for one in (self.gate, self.limiter, self.auth, self.replaces)
            )
        )
        self.by_arm: dict[str, ArmPlan] = {}

    def __repr__(self) -> str:
        return f"<ArmPlans revision={self.live.revision} made={list(self.by_arm)}>"

    def of(self, name: str) -> ArmPlan:
        """Give the plan of an arm of this revision."""
        plan = self.by_arm.get(name)
        if plan is None:
            plan = self.by_arm[name] = self._make(name)
        return plan

    def certificate_line(self, certificate: Certificate) -> bytes:
        """Give the line that tells servers of a client's certificate; empty for none."""
        header = self._certificate_header
        return b"" if header is None else certificate_line(header, certificate)

    def _make(self, name: str) -> ArmPlan:
        arm = self.live.arms[name]
        config = arm.config
        fallback = config.fallback
        if fallback == name or fallback not in self.live.arms:
            fallback = None
        strict = self.live.config.strict_transport_security
        reads = (
            strict is not None
            or _reads(arm)
            or (fallback is not None and _reads(self.live.arms[fallback]))
        )
        changes = config.response_headers
        if strict is not None and _sets(changes, STRICT):
            strict = None
        return ArmPlan(
            name=name,
            state=arm.state,
            pick=arm.pick,
            pick_other=arm.pick_other,
            timeouts=timeouts_of(config.timeouts),
            retries=config.retries,
            limits=config.limits,
            failing=frozenset(_codes(config.retries.status)),
            request=compile_changes(config.request_headers),
            response=compile_changes(changes, *([STRICT] if strict else [])),
            strict=None if strict is None else (STRICT.encode(), strict.value.encode()),
            compression=_compression(config.compress),
            reads_responses=reads,
            fallback=fallback,
        )


def timeouts_of(timeouts: ArmTimeouts) -> Timeouts:
    """Say a document's timeouts in the engine's words."""
    request = timeouts.request
    return Timeouts(
        connect_s=timeouts.connect,
        response_s=timeouts.response,
        stream_idle_s=timeouts.idle,
        tunnel_idle_s=timeouts.tunnel,
        request_s=math.inf if request is None else request,
    )


def _compression(rule: Compress | None) -> Compression | None:
    """Say a document's compression in the engine's words."""
    if rule is None:
        return None
    return Compression(
        types=[one.encode() for one in rule.types],
        codings=tuple(one.value.encode() for one in rule.codings),
        least=rule.least,
        level=rule.level,
    )


def _reads(arm: LiveArm) -> bool:
    config = arm.config
    changes = config.response_headers
    looks = changes.remove or changes.set or config.retries.status
    return bool(looks) or config.compress is not None


def _sets(changes: HeaderRules, name: str) -> bool:
    """Tell whether changes have a field of their own."""
    own = (*changes.set, *changes.add)
    return name.lower() in {given.lower() for given in own}


def _codes(ranges: Iterable[tuple[int, int]]) -> Iterable[int]:
    for low, high in ranges:
        yield from range(low, high + 1)


class Context:
    """What the requests of one revision have in common.

    Attributes:
        arm_plans: of the revision's arms.
        labels: of its decisions.
        observer: is told of each end.
        draw: gives numbers in [0, 1).
    """

    __slots__ = ("_without_claims", "arm_plans", "draw", "labels", "observer")

    def __init__(
        self,
        arm_plans: ArmPlans,
        observer: Observer,
        draw: Callable[[], float],
        without_claims: Callable[[bytes], bytes],
        route: str = "",
    ) -> None:
        self._without_claims = without_claims
        self.arm_plans = arm_plans
        labels = arm_plans.live.labels
        self.labels: LabelCache = labels.of_route(route) if route else labels
        self.observer = observer
        self.draw = draw

    def may_say(self, field: bytes) -> bool:
        """Tell whether a client may say a field, led by CRLF, whatever its arm makes of it."""
        auth = self.arm_plans.auth
        return self._without_claims(field) == field and (
            auth is None or auth.without_hidden(field) == field
        )

    def of_user(self, user: bytes) -> Context:
        """Give the same for a request whose user is known."""
        if not user:
            return self
        same = copy.copy(self)
        same.observer = ObserverOfUser(self.observer, user)
        return same
