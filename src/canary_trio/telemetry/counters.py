"""What was counted of the traffic: plain whole numbers, added up as requests end. Pure.

A `Counters` outlives configurations. The rule that it obeys: what a request adds is a few
list entries, found before through its `DecisionLabels`; names, labels and formats are
for the one who reads. A list is handed out once for its labels and never replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import attrs

from canary_trio.routing.access.rate_limit import LimitCounts
from canary_trio.telemetry.auth_counts import AuthCounts

_STEPS = (1, 1.2, 1.4, 1.6, 1.8, 2.1, 2.5, 3, 3.5, 4.2, 5, 6, 7, 8.4)

BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005),
    *(float(f"{step}e{power}") for power in range(-3, 1) for step in _STEPS),
    *(10.0, 30.0, 60.0),
)
"""Upper ends of the histogram of latency, in seconds; beyond the last is one more.

From 1 ms to 10 s one is at most 1.2 times the one before, so that a version that takes 1.2
times as long is seen in its quantiles.
"""

CLASSES = ("499", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Of statuses, by their hundreds; `499` where the client left before any went out."""

CLIENT_LEFT = 499
"""What stands in the log for the status then, as in nginx's; nobody was sent it."""

SERIES_LIMIT = 4096
"""Routes that are told apart; from then on a rule's name is `other`."""


@attrs.frozen
class RouteLabels:
    """One way in which requests are routed: what the counters are told apart by.

    Attributes:
        arm: that served, empty if none did.
        chosen: that the request belonged to; another one after a fallback.
        reason: why it was served by `arm`, in the words of `Reason`.
        rule: that led to `chosen`, empty for none.
    """

    arm: str
    chosen: str
    reason: str
    rule: str = ""


class ArmCounters:
    """What the requests of one arm took.

    Attributes:
        counts: of requests that it served, by `BOUNDS_S`.
        sum_s: of their seconds.
        retries: further tries of requests that were meant for it.
    """

    __slots__ = ("counts", "retries", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.retries = 0

    def __repr__(self) -> str:
        return f"<ArmCounters {sum(self.counts)} in {self.sum_s:.3f} s>"

    def add(self, seconds: float) -> None:
        """Count one request."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class DocumentCounts:
    """What was counted of one of two documents while one of them is tried.

    Attributes:
        statuses: requests that ended, by `CLASSES`.
        took: what they took.
    """

    __slots__ = ("statuses", "took")

    def __init__(self) -> None:
        self.statuses = [0] * len(CLASSES)
        self.took = ArmCounters()

    def __repr__(self) -> str:
        return f"<DocumentCounts {self.requests} requests, {self.errors} errors>"

    @property
    def requests(self) -> int:
        """That ended."""
        return sum(self.statuses)

    @property
    def errors(self) -> int:
        """Of these, with a status of 5xx."""
        return self.statuses[CLASSES.index("5xx")]

    def add(self, status: int, seconds: float) -> None:
        """Count one request; status 0 where the client left first."""
        self.statuses[status // 100] += 1
        self.took.add(seconds)


class Counters:
    """All counters of one proxy's traffic."""

    def __init__(self) -> None:
        self._routes: dict[RouteLabels, list[int]] = {}
        self._arms: dict[str, ArmCounters] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._refusals: dict[str, int] = {}
        self._limits: dict[str, LimitCounts] = {}
        self._checks: dict[str, AuthCounts] = {}

    def __repr__(self) -> str:
        return f"<Counters routes={len(self._routes)} arms={list(self._arms)}>"

    @property
    def routes(self) -> Mapping[RouteLabels, list[int]]:
        """Requests that ended, by route and by `CLASSES`."""
        return self._routes

    @property
    def arms(self) -> Mapping[str, ArmCounters]:
        """What the requests of each arm took."""
        return self._arms

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """Tries that gave no response, by arm and by condition."""
        return self._failures

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests that might not pass, by why."""
        return self._refusals

    @property
    def limits(self) -> Mapping[str, LimitCounts]:
        """What each limit of the rate of requests has done, by name."""
        return self._limits

    def of_limit(self, name: str) -> LimitCounts:
        """Give the counts of a limit, to be added to."""
        return self._limits.setdefault(name, LimitCounts())

    @property
    def checks(self) -> Mapping[str, AuthCounts]:
        """What each check of who asks came to, by name."""
        return self._checks

    def of_check(self, name: str) -> AuthCounts:
        """Give the counts of a check, to be added to."""
        return self._checks.setdefault(name, AuthCounts())

    def of_route(self, route: RouteLabels) -> list[int]:
        """Give the counts of a route, by `CLASSES`, to be added to."""
        if (
            route.rule
            and route not in self._routes
            and len(self._routes) >= SERIES_LIMIT
        ):
            route = attrs.evolve(route, rule="other")
        return self._routes.setdefault(route, [0] * len(CLASSES))

    def of_arm(self, arm: str) -> ArmCounters:
        """Give the counts of an arm, to be added to."""
        return self._arms.setdefault(arm, ArmCounters())

    def failed(self, arm: str, condition: str) -> None:
        """Count a try at an arm that gave no response."""
        key = (arm, condition)
        self._failures[key] = self._failures.get(key, 0) + 1

    def refused(self, kind: str) -> None:
        """Count a request that might not pass."""
        self._refusals[kind] = self._refusals.get(kind, 0) + 1
