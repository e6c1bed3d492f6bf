"""Tests that may be looked at any time: whether one arm's events are more than its share.

In each tick the canary and its baseline had `at_risk` units and `events` among them. If
events come `ratio` times as often in the canary, then of the tick's events the share that
is the canary's is `p(ratio) = N_c ratio / (N_c ratio + N_b)`. A likelihood ratio of two
such shares is an e-process: given the past and the tick's N, its factor has a mean of at
most 1, since for independent units

    (1 - q_c + q_c a)^N_c (1 - q_b + q_b b)^N_b  <=  exp(N_c q_c (a - 1) + N_b q_b (b - 1))

with a and b the quotients of the shares, and the exponent is 0 where q_c is `null` times
q_b, and below where it lies on the side of the null hypothesis. (Drawn without replacement
from a fixed number of events it holds too: Hoeffding 1963.) A mean of e-processes is one,
and by Ville's inequality it ever reaches 1/alpha with a probability of at most alpha,
however often one looks. It is the sequential form of the log-rank test (ter Schure,
Perez-Ortiz, Ly, Gruenwald 2020); Lindon and Malek 2022 (arXiv 2011.03567) have it for
constant shares. Rates, volumes and shares may change from tick to tick.

The rule that this file obeys: whole numbers go in, logarithms are kept, and what
was seen is never taken back. Pure. One file, since its tests are of one family.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

from canary_trio.rollout.evidence import ArmCounts

ERROR_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Alternatives for the rate of errors: times what is tolerated."""

LATENCY_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Alternatives for the share of slow responses: times what is tolerated."""

LOWER_RATIOS = (1 / 1.1, 1 / 1.25, 1 / 1.5, 1 / 2.0, 1 / 3.0, 1 / 5.0)
"""Alternatives below a bound, for showing that an arm is not worse."""

CEILING_PARTS = (0.0, 0.1, 0.25, 0.5)
"""Alternatives below a ceiling: which part of it the true rate is."""

INTERVAL_RATIOS = tuple(10 ** (step / 20) for step in range(-20, 21))
"""Where a confidence sequence is evaluated, 0.1 to 10."""

FIRST_START = 0.5
STEP_STARTS = 0.25
TICK_STARTS = 0.25
"""Which part of the weight is for a regression that is there at the beginning, that comes
with a later step, and that comes at any other time."""


def log_share_gain(
    canary: ArmCounts, baseline: ArmCounts, ratio: float, null: float
) -> float:
    """Give the logarithm of one tick's likelihood ratio, of `ratio` against `null`.

    >>> round(log_share_gain(ArmCounts(100, 3), ArmCounts(100, 1), 2.0, 1.0), 4)
    0.4576
    """
    if not canary.at_risk or not baseline.at_risk:
        return 0.0  # all events are one arm's, whatever the ratio
    shift = math.log(canary.at_risk / baseline.at_risk)
    there, here = math.log(ratio) + shift, math.log(null) + shift
    return canary.events * (_log_sigmoid(there) - _log_sigmoid(here)) + (
        baseline.events * (_log_sigmoid(-there) - _log_sigmoid(-here))
    )


class RegressionTest:
    """Whether events come more often in the canary than `tolerated` times as often.

    It weighs regressions by when they begin: half of the weight is for one that is there
    at the start, a quarter for later steps' first ticks, a quarter for all other ticks
    (the Shiryaev-Roberts mixture, with weights that sum to 1; Shin, Ramdas and Rinaldo
    2022 call such a thing an e-detector). Without that an hour without a regression would
    count as evidence against one that begins now, and hide it for minutes.

    Attributes:
        tolerated: the ratio of rates that is no regression, above 0.
        ratios: alternatives, times `tolerated`, each above 1.
    """

    __slots__ = ("_logs", "_step", "_tick", "_unspent", "ratios", "tolerated")

    def __init__(self, tolerated: float, ratios: Sequence[float]) -> None:
        self.tolerated = tolerated
        self.ratios = tuple(ratios)
        self._logs = [-math.inf] * len(self.ratios)
        self._unspent = 1.0
        self._step = self._tick = 0

    def __repr__(self) -> str:
        return f"<RegressionTest log_e={self.log_e:.2f} tick={self._tick}>"

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value: 0 before the first tick, and none is evidence."""
        held = log_sum(self._logs) - math.log(len(self._logs))
        return log_sum((held, math.log(self._unspent) if self._unspent else -math.inf))

    def observe(
        self, canary: ArmCounts, baseline: ArmCounts, *, begins_step: bool = False
    ) -> None:
        """Take one tick in; `begins_step` if another share of traffic holds from it on."""
        weight = self._next_weight(begins_step=begins_step or not self._tick)
        self._unspent = max(0.0, self._unspent - weight)
        for at, ratio in enumerate(self.ratios):
            gain = log_share_gain(
                canary, baseline, ratio * self.tolerated, self.tolerated
            )
            self._logs[at] = log_sum((self._logs[at], math.log(weight))) + gain

    def _next_weight(self, *, begins_step: bool) -> float:
        """Give the weight of a regression that begins with this tick."""
        self._tick += 1
        if not begins_step:
            return TICK_STARTS * (
                1 / math.sqrt(self._tick - 1) - 1 / math.sqrt(self._tick)
            )
        self._step += 1
        if self._step == 1:
            return FIRST_START
        return STEP_STARTS / (self._step * (self._step - 1))

    def state(self) -> list[float]:
        """Give what has to be kept to go on elsewhere: a few numbers."""
        return [self._tick, self._step, self._unspent, *self._logs]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is none of a test with as many alternatives.
        """
        if len(state) != 3 + len(self._logs):
            raise ValueError(f"{len(state)} numbers, not {3 + len(self._logs)}")
        tick, step, self._unspent, *self._logs = state
        self._tick, self._step = int(tick), int(step)


class RatioTest:
    """How the rates compare: not worse than a factor, and between which bounds.

    It keeps the log-likelihood at `INTERVAL_RATIOS`, and at what `bounds` need.
    """

    __slots__ = ("_lower", "_points", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._points = array("f", [0.0] * len(INTERVAL_RATIOS))  # to be looked at only
        self._lower = [[0.0] * len(LOWER_RATIOS) for _ in self.bounds]

    def __repr__(self) -> str:
        return f"<RatioTest bounds={self.bounds}>"

    def observe(self, canary: ArmCounts, baseline: ArmCounts) -> None:
        """Take one tick in."""
        if not canary.events and not baseline.events:
            return
        for at, ratio in enumerate(INTERVAL_RATIOS):
            self._points[at] += log_share_gain(canary, baseline, ratio, 1.0)
        for bound, logs in zip(self.bounds, self._lower, strict=True):
            for at, part in enumerate(LOWER_RATIOS):
                logs[at] += log_share_gain(canary, baseline, part * bound, bound)

    def not_worse_than(self, beta: float) -> float | None:
        """Give the least of `bounds` that the ratio is shown to lie below, None for none.

        Args:
            beta: how likely a wrong one may be, for each of them, ever.
        """
        needed = math.log(1 / beta)
        for bound, logs in sorted(zip(self.bounds, self._lower, strict=True)):
            if log_mean(logs) >= needed:
                return bound
        return None

    def interval(self, alpha: float) -> tuple[float, float]:
        """Give bounds that hold the true ratio at all times, with 1 - alpha.

        Those of `INTERVAL_RATIOS` that are rejected are left out, so it is at most a step
        (12 %) too wide on either side; an end that is not known is 0 or infinity.
        """
        limit = log_mean(self._points) - math.log(1 / alpha)
        kept = [at for at, point in enumerate(self._points) if point > limit]
        first, last = kept[0], kept[-1]
        low = INTERVAL_RATIOS[first - 1] if first else 0.0
        beyond = last + 1 < len(INTERVAL_RATIOS)
        return low, INTERVAL_RATIOS[last + 1] if beyond else math.inf

    def state(self) -> tuple[list[float], array[float]]:
        """Give what has to be kept to go on elsewhere: what proves, and what is shown."""
        return [one for logs in self._lower for one in logs], self._points

    def restore(self, proves: Sequence[float], shown: Sequence[float]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is none of a test with as many bounds.
        """
        size = len(LOWER_RATIOS)
        if len(proves) != size * len(self.bounds) or len(shown) != len(self._points):
            raise ValueError(f"{len(proves)} and {len(shown)} numbers")
        self._lower = [
            list(proves[at * size : (at + 1) * size]) for at in range(len(self.bounds))
        ]
        self._points = array("f", shown)


class CeilingTest:
    """Whether the rate of one arm alone lies below a ceiling: for services without errors.

    A likelihood ratio of Bernoulli trials. Without an event it takes
    `(ln(1/beta) + ln 4) / ceiling` units.

    Attributes:
        ceiling: the rate that it is to be shown to lie below, 0 to 1.
    """

    __slots__ = ("_logs", "ceiling")

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self._logs = [0.0] * len(CEILING_PARTS)

    def __repr__(self) -> str:
        return f"<CeilingTest {self.ceiling} log_e={self.log_e:.2f}>"

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against a rate of at least the ceiling."""
        return log_mean(self._logs)

    def observe(self, counts: ArmCounts) -> None:
        """Take one tick in."""
        fine = counts.at_risk - counts.events
        for at, part in enumerate(CEILING_PARTS):
            rate = part * self.ceiling
            gain = fine * (math.log1p(-rate) - math.log1p(-self.ceiling))
            if counts.events:
                gain += counts.events * math.log(part) if part else -math.inf
            self._logs[at] += gain

    def state(self) -> list[float]:
        """Give what has to be kept to go on elsewhere."""
        return list(self._logs)

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is none of such a test.
        """
        if len(state) != len(self._logs):
            raise ValueError(f"{len(state)} numbers, not {len(self._logs)}")
        self._logs = list(state)


def log_sum(logs: Iterable[float]) -> float:
    """Give the logarithm of a sum, by the logarithms of what is added.

    >>> round(log_sum((math.log(2), math.log(3))), 6) == round(math.log(5), 6)
    True
    """
    logs = tuple(logs)
    most = max(logs)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(one - most) for one in logs))


def log_mean(logs: Sequence[float]) -> float:
    """Give the logarithm of a mean: of e-values it is an e-value, whatever binds them."""
    return log_sum(logs) - math.log(len(logs))


def _log_sigmoid(value: float) -> float:
    if value >= 0:
        return -math.log1p(math.exp(-value))
    return value - math.log1p(math.exp(value))
