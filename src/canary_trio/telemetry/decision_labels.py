"""What is said of a decision, rendered once per revision: for field, log, counters. Pure.

Few decisions differ in what is said of them: an arm, a reason, a rule. So a
`DecisionLabels` holds the bytes and the counters of one such route, and a request only
looks it up. The rule that it obeys: nothing here depends on a single request, but for
the protocol, which is one of three. One file, since all of it is one rendering.

The response field is a Dictionary of RFC 9651 (Structured Field Values for HTTP):

    X-Canary: revision=57, protocol=HTTP/2, arm="canary", reason=rule, rule="beta"
    X-Canary: revision=57, protocol=HTTP/1.1, arm="stable", reason=fallback, chosen="canary"

    revision  Integer   the configuration that the request was routed by
    trial     Boolean   it is one that is tried in place of the present one; else left out
    protocol  Token     by what the request came: HTTP/1.0, HTTP/1.1 or HTTP/2
    arm       String    the arm that served it
    reason    Token     why that arm: rule, sticky, ratio, hash, fallback or retry
    rule      String    the rule that chose, where one did (a Display String if its
                        name is not ASCII)
    chosen    String    the arm that was chosen at first, where another one served
"""

from __future__ import annotations

import copy
import json
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

import attrs

from canary_trio.config.model import Config
from canary_trio.rollout.fleet.arm_tally import BothTallies, Counting, Tally
from canary_trio.routing.decision import Decision, Reason
from canary_trio.telemetry.counters import (
    BOUNDS_S,
    ArmCounters,
    Counters,
    DocumentCounts,
    RouteLabels,
)
from canary_trio.telemetry.split_check import SplitCheck

_PROTOCOLS = ("HTTP/1.0", "HTTP/1.1", "HTTP/2")


class MirrorLabels(Protocol):
    """Who takes requests that are over, to copy them: a `Mirror`."""

    @property
    def arm(self) -> str:
        """The arm that gets the copies."""

    def offer(
        self, exchange: Any, status: int, fields: bytes, *, answered: bool
    ) -> None:
        """Take a request whose response has been sent."""


@attrs.frozen
class Whose:
    """Whose requests they are.

    Attributes:
        service: its name; a gateway's where no service is asked.
        route: of the gateway's table; empty where there is none.
    """

    service: str
    route: str = ""


@attrs.frozen
class Side:
    """One of two documents, while one of them is tried.

    Attributes:
        counts: of its requests.
        tally: the same for a judge.
    """

    counts: DocumentCounts
    tally: Tally


class DecisionLabels:
    """What is said of requests that are routed in one way by one revision.

    Attributes:
        fields: the response field by protocol; empty where the document asks for none.
        lines: the same as a line of a head, led by CRLF.
        json: the members of a log line, `"revision":57,"arm":"canary",...`.
        text: the same as words, `arm=canary reason=rule:beta revision=57`.
        counts: of requests that ended, by `counters.CLASSES`.
        served: the counts of the arm that served.
        chosen: of the arm that was chosen at first.
        mirror: who copies such requests; None for nobody.
        tally: where they count for the judge of a rollout; None for nowhere.
    """

    # fmt: off
    __slots__ = (
        "chosen", "counts", "fields", "json", "lines", "mirror", "route",
        "served", "tally", "text",
    )
    # fmt: on

    def __init__(
        self,
        route: RouteLabels,
        revision: int,
        name: str | None,
        counters: Counters,
        whose: Whose,
        *,
        is_trial: bool = False,
    ) -> None:
        self.route = route
        self.follow(None, None)
        self.fields: dict[str, tuple[bytes, bytes]] = {}
        for protocol in () if name is None else _PROTOCOLS:
            value = _dictionary(route, revision, protocol, is_trial=is_trial)
            self.fields[protocol] = (str(name).encode(), value)
        self.lines = {one: b"\r\n%b: %b" % said for one, said in self.fields.items()}
        self.json = _members(route, revision, whose, is_trial=is_trial)
        self.text = _words(route, revision, whose, is_trial=is_trial)
        self.counts = counters.of_route(route)
        self.served: ArmCounters = counters.of_arm(route.arm)
        self.chosen: ArmCounters = counters.of_arm(route.chosen)

    def __repr__(self) -> str:
        return f"<DecisionLabels {self.text.decode()}>"

    def follow(self, mirror: MirrorLabels | None, tally: Tally | None) -> None:
        """Let others know of each such request that is over."""
        self.mirror, self.tally = mirror, tally

    def count(self, status: int, seconds: float) -> None:
        """Count a request that ended; status 0 where the client left first."""
        self.counts[status // 100] += 1
        served = self.served
        served.counts[bisect_left(BOUNDS_S, seconds)] += 1
        served.sum_s += seconds


class SideLabels(DecisionLabels):
    """The same while a document is tried: such requests are counted for theirs, too."""

    __slots__ = ("side",)

    side: Side

    def count(self, status: int, seconds: float) -> None:
        """Count a request that ended."""
        super().count(status, seconds)
        self.side.counts.add(status, seconds)


class LabelCache:
    """The labels of one revision.

    Args:
        config: of the revision.
        revision: its number.
        counters: where requests are counted, which outlives it.
        before: of the revision before, whose split goes on if the ratio is the same.
        mirrors: who copy requests; none copies those of its own arm.
        service: whose they are.
        counting: what is counted for the judge of a rollout; None for nothing.
        is_trial: whether the revision is tried in place of the present one.
        side: what is counted beside it while a document is tried; None while none is.
    """

    def __init__(
        self,
        config: Config,
        revision: int,
        counters: Counters,
        before: LabelCache | None = None,
        *,
        mirrors: tuple[MirrorLabels, ...] = (),
        service: str = "",
        counting: Counting | None = None,
        is_trial: bool = False,
        side: Side | None = None,
    ) -> None:
        self._begin(Whose(service))
        self._is_trial, self._side = is_trial, side
        self.split: SplitCheck = SplitCheck.of(
            config, None if before is None else before.split
        )
        self._revision = revision
        self._name = config.decision_header
        self._counters = counters
        self._mirrors = mirrors
        self._tallies = {} if counting is None else counting.tallies

    def __repr__(self) -> str:
        return f"<LabelCache revision={self._revision} known={len(self._labels)}>"

    def of_route(self, route: str) -> LabelCache:
        """Give the same for the requests of one route of a gateway."""
        same = copy.copy(self)
        same._begin(Whose(self._whose.service, route))  # noqa: SLF001  # its own
        return same

    def beside(self, side: Side | None) -> LabelCache:
        """Give the same while some requests try another document, or no more."""
        same = copy.copy(self)
        same._begin(self._whose)  # noqa: SLF001  # its own
        same._side = side  # noqa: SLF001
        return same

    def note(self, decision: Decision) -> DecisionLabels:
        """Note that a decision was made; give what is said of it."""
        arm, reason = decision.arm, decision.reason
        if reason is Reason.RATIO:
            counts = self.split.counts
            counts[arm] = counts.get(arm, 0) + 1
            labels = self._by_ratio.get(arm)
            if labels is not None:
                return labels
        key = (arm, reason, decision.rule)
        labels = self._labels.get(key)
        if labels is None:
            route = RouteLabels(arm, arm, reason, decision.rule or "")
            labels = self._labels[key] = self._make(route)
        if reason is Reason.RATIO:
            self._by_ratio[arm] = labels
        return labels

    def moved(self, decision: Decision, arm: str, why: Reason) -> DecisionLabels:
        """Give what is said of a request that another arm serves than the chosen one."""
        key = (decision.arm, decision.rule, arm, why)
        labels = self._moved.get(key)
        if labels is None:
            route = RouteLabels(arm, decision.arm, why, decision.rule or "")
            labels = self._moved[key] = self._make(route)
        return labels

    def refused(self, kind: str, rule: str = "") -> DecisionLabels:
        """Give what is said of a request that might not pass, by why, and by which limit."""
        labels = self._refused.get((kind, rule))
        if labels is None:
            route = RouteLabels("", "", kind, rule)
            labels = self._refused[kind, rule] = self._make(route)
            labels.follow(None, None)
        return labels

    def _begin(self, whose: Whose) -> None:
        self._whose = whose
        self._labels: dict[tuple[str, Reason, str | None], DecisionLabels] = {}
        self._by_ratio: dict[str, DecisionLabels] = {}  # the same, found sooner
        self._moved: dict[tuple[str, str | None, str, Reason], DecisionLabels] = {}
        self._refused: dict[tuple[str, str], DecisionLabels] = {}

    def _make(self, route: RouteLabels) -> DecisionLabels:
        side = self._side
        labels = (DecisionLabels if side is None else SideLabels)(
            *(route, self._revision, self._name, self._counters, self._whose),
            is_trial=self._is_trial,
        )
        if isinstance(labels, SideLabels) and side is not None:
            labels.side = side
        wanted = [one for one in self._mirrors if one.arm != route.arm]
        mirror = _Several(wanted) if len(wanted) > 1 else next(iter(wanted), None)
        # What a rule sent to an arm nobody drew: it says nothing of the version.
        tally: Tally | None = None if route.rule else self._tallies.get(route.chosen)
        if side is not None and not (route.rule and side.tally.by_user):
            tally = side.tally if tally is None else BothTallies(tally, side.tally)
        labels.follow(mirror, tally)
        return labels


class _Several:
    """Some who copy requests, as one of them."""

    __slots__ = ("_mirrors", "arm")

    def __init__(self, mirrors: Sequence[MirrorLabels]) -> None:
        self.arm = mirrors[0].arm
        self._mirrors = mirrors

    def offer(
        self, exchange: Any, status: int, fields: bytes, *, answered: bool
    ) -> None:
        for mirror in self._mirrors:
            mirror.offer(exchange, status, fields, answered=answered)


NOWHERE = Whose("")
"""Nobody."""


def unrouted(
    counters: Counters,
    whose: Whose = NOWHERE,
    reason: str = "none",
    rule: str = "",
) -> DecisionLabels:
    """Give the labels of requests that no revision of a service has routed."""
    return DecisionLabels(RouteLabels("", "", reason, rule), 0, None, counters, whose)


def _dictionary(
    route: RouteLabels, revision: int, protocol: str, *, is_trial: bool
) -> bytes:
    members = [
        f"revision={revision}",
        *(["trial"] if is_trial else []),
        f"protocol={protocol}",
        f"arm={_string(route.arm)}",
        f"reason={route.reason}",
    ]
    if route.rule:
        members.append(f"rule={_string(route.rule)}")
    if route.chosen != route.arm:
        members.append(f"chosen={_string(route.chosen)}")
    return ", ".join(members).encode("ascii")


def _string(text: str) -> str:
    """Write a String (RFC 9651 section 4.1.6), or a Display String (4.1.11)."""
    if text.isascii() and text.isprintable():
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    # Printable ASCII stands for itself, but for % and "; hexadecimal is lower case.
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'%"' else f"%{byte:02x}"
        for byte in text.encode("utf-8", "replace")
    )
    return f'%"{escaped}"'


def _members(
    route: RouteLabels, revision: int, whose: Whose, *, is_trial: bool
) -> bytes:
    shown: dict[str, object] = {"service": whose.service}
    if whose.route:
        shown["route"] = whose.route
    shown["revision"] = revision
    if is_trial:
        shown["trial"] = True
    shown["arm"] = route.arm
    shown["reason"] = route.reason
    if route.rule:
        shown["rule"] = route.rule
    if route.chosen != route.arm:
        shown["chosen"] = route.chosen
    return json.dumps(shown, separators=(",", ":")).encode()[1:-1]


def _words(route: RouteLabels, revision: int, whose: Whose, *, is_trial: bool) -> bytes:
    words = [f"service={quote(whose.service)}"]
    if whose.route:
        words.append(f"route={quote(whose.route)}")
    words += [f"arm={quote(route.arm)}", f"reason={route.reason}"]
    if route.rule:
        words.append(f"rule={quote(route.rule)}")
    if route.chosen != route.arm:
        words.append(f"chosen={quote(route.chosen)}")
    words.append(f"revision={revision}")
    return " ".join([*words, "trial=yes"] if is_trial else words).encode()
