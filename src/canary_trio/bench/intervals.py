"""Between which bounds a share, a quantile, or a ratio of two of them lies. Pure.

All of these may be looked at after every tick: each holds what is true, at all times
together, with a probability of at least 1 - alpha. Two arms are compared by the judge's own
likelihood ratios (`rollout.sequential`), tick by tick, so what drifts in both at once means
nothing. One arm alone is compared with a number, by a mixture of Bernoulli likelihoods
(Robbins 1970), which takes its requests as alike and independent.

The ratio of two quantiles comes from a shift. If B is `factor` times as slow as A, then as
many of B's requests take longer than `factor * x` as of A's take longer than x. The latencies
are counted between bounds 4 % apart, so that is a shift by whole intervals, and every shift is
two hypotheses: "B is at most that slow", which many slow requests of B refute, and "B is at
least that slow". What is not refuted is the interval. (The more it is shifted the fewer of B's
requests lie beyond, so a shift that is refuted refutes all before it.) As x stands A's quantile,
taken from the ticks before, so that it never depends on what it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from canary_trio.rollout.evidence import ArmCounts, ArmTick
from canary_trio.rollout.latency import (
    BOUNDS_S,
    Latencies,
    add,
    bound_of,
    quantile,
    slower_than,
)
from canary_trio.rollout.sequential.rates import (
    LATENCY_RATIOS,
    RatioTest,
    log_mean,
    log_share_gain,
)

Bounds = tuple[float, float]
"""Low and high; an end that is not known is 0 or infinity."""

FACTOR = BOUNDS_S[1] / BOUNDS_S[0]
"""By which the bounds of latencies grow, and the steps of a ratio of quantiles."""

SHIFTS = 75
"""How many such steps are looked at either way: 0.05 to 19 times."""

LEAST_BEYOND = 3
"""Requests beyond a quantile until it is taken as known well enough to compare by it."""

_MORE = LATENCY_RATIOS
_FEWER = tuple(1 / ratio for ratio in LATENCY_RATIOS)
_PRIOR = 0.5  # of the mixture: Jeffreys's
_HALVINGS = 40


def share_interval(counts: ArmCounts, alpha: float) -> Bounds:
    """Give bounds of the share of units that have an event.

    >>> low, high = share_interval(ArmCounts(1000, 100), 0.05)
    >>> round(low, 3), round(high, 3)
    (0.069, 0.138)
    """
    events, units = counts.events, counts.at_risk
    if not units:
        return 0.0, 1.0
    found, limit = events / units, math.log(1 / alpha)

    def is_refuted(share: float) -> bool:
        return _log_evidence(counts, share) >= limit

    low = _edge(0.0, found, is_refuted) if events else 0.0
    high = _edge(1.0, found, is_refuted) if events < units else 1.0
    return low, high


def quantile_interval(latencies: Latencies, part: float, alpha: float) -> Bounds:
    """Give bounds of a quantile, in seconds: those between which latencies are counted."""
    units, beyond = sum(latencies.values()), 1 - part
    limit = math.log(2 / alpha)
    low, high, slower = 0.0, math.inf, units
    for number in range(len(BOUNDS_S)):
        slower -= latencies.get(number, 0)
        counts = ArmCounts(units, slower)
        if not units or _log_evidence(counts, beyond) < limit:
            continue
        if slower > beyond * units:
            low = bound_of(number)
        else:
            high = bound_of(number)
            break
    return low, high


def error_ratio_interval(
    ticks: Sequence[tuple[ArmTick, ArmTick]], alpha: float
) -> Bounds:
    """Give bounds of B's share of errors, times A's; ticks are of A and B."""
    test = RatioTest(())
    for one, other in ticks:
        test.observe(other.error_counts, one.error_counts)
    return test.interval(alpha)


class QuantileRatio:
    """How many times as slow B is as A, at one quantile.

    Attributes:
        part: which quantile, 0 to 1.
    """

    __slots__ = ("_before", "_fewer", "_more", "part")

    def __init__(self, part: float) -> None:
        self.part = part
        self._before: dict[int, int] = {}
        self._more = [[0.0] * len(_MORE) for _ in range(2 * SHIFTS + 1)]
        self._fewer = [[0.0] * len(_FEWER) for _ in range(2 * SHIFTS + 1)]

    def __repr__(self) -> str:
        return f"<QuantileRatio part={self.part} requests={sum(self._before.values())}>"

    def observe(self, one: ArmTick, other: ArmTick) -> None:
        """Take a tick of A and of B in."""
        if sum(self._before.values()) * (1 - self.part) >= LEAST_BEYOND:
            self._compare(one.latencies, other.latencies)
        add(self._before, one.latencies)

    def interval(self, alpha: float) -> Bounds:
        """Give bounds of the factor: of those by which latencies are counted."""
        limit = math.log(2 / alpha)
        above = [at for at, logs in enumerate(self._more) if log_mean(logs) >= limit]
        below = [at for at, logs in enumerate(self._fewer) if log_mean(logs) >= limit]
        low = FACTOR ** (above[-1] - SHIFTS) if above else 0.0
        return low, FACTOR ** (below[0] - SHIFTS) if below else math.inf

    def _compare(self, ours: Latencies, theirs: Latencies) -> None:
        count, other_count = sum(ours.values()), sum(theirs.values())
        if not count or not other_count:
            return
        at = quantile(self._before, self.part)
        slow = slower_than(ours, at)
        slower = [slower_than(theirs, at + by) for by in range(-SHIFTS, SHIFTS + 1)]
        for ratios, kept in ((_MORE, self._more), (_FEWER, self._fewer)):
            for number, ratio in enumerate(ratios):
                # a gain is linear in the events, so one of each side says all of it
                of_other = log_share_gain(
                    ArmCounts(other_count, 1), ArmCounts(count, 0), ratio, 1.0
                )
                of_one = log_share_gain(
                    ArmCounts(other_count, 0), ArmCounts(count, 1), ratio, 1.0
                )
                for logs, events in zip(kept, slower, strict=True):
                    logs[number] += events * of_other + slow * of_one


def _log_evidence(counts: ArmCounts, share: float) -> float:
    """Give the logarithm of the evidence against a share: the mixture's likelihood to its."""
    events, rest = counts.events, counts.at_risk - counts.events
    if (events and share <= 0) or (rest and share >= 1):
        return math.inf
    there = _log_beta(_PRIOR + events, _PRIOR + rest) - _log_beta(_PRIOR, _PRIOR)
    here = (events * math.log(share) if events else 0.0) + (
        rest * math.log1p(-share) if rest else 0.0
    )
    return there - here


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def _edge(outside: float, inside: float, is_refuted: Callable[[float], bool]) -> float:
    """Give where what is refuted begins, on the refuted side of it."""
    for _ in range(_HALVINGS):
        between = (outside + inside) / 2
        if is_refuted(between):
            outside = between
        else:
            inside = between
    return outside
