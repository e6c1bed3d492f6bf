"""Whether the canary is worse than what it is compared with: a judge of counts. Pure.

It looks at errors and at latency, each as a sequential test (`sequential`) that may be
looked at after every tick. Latency is the same question as errors: how many requests were
slower than the baseline's quantiles, which are taken from the baseline's first requests of
a step and held for that step, so that they never depend on what they judge. The metrics'
e-values are averaged, which is an e-value again, so `alpha` bounds a false alarm of any of
them, in all steps together.

Requests of another step are others, so the evidence of steps multiplies. Users come again:
who fails in one step fails in the next one, in the same arm, and is no news. So where users
count, each step has evidence of its own and a part of `alpha`: 1/2, 1/6, 1/12 and so on,
which add up to 1. The most that any step has is what counts.

The same tests between two arms that run the same version, the baseline and stable, say
whether the environment is one in which such a comparison means anything: where they raise
an alarm, the verdict is `UNSOUND`, and nothing is concluded.

The rule that it obeys: it is told of ticks and asked for a verdict; it knows no clock, no
arm's name and no document. What it says never depends on who asks, or how often. One
file, since all of it is one state, which is kept and gone on from elsewhere.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence

import attrs

from canary_trio.rollout.evidence import ArmCounts, ArmTick
from canary_trio.rollout.latency import (
    Latencies,
    add,
    bound_of,
    quantile,
)
from canary_trio.rollout.sequential import (
    ERROR_RATIOS,
    LATENCY_RATIOS,
    CeilingTest,
    RatioTest,
    RegressionTest,
    log_mean,
)
from canary_trio.rollout.verdict import Finding, MetricVerdict, Verdict

WARM_UP_REQUESTS = 500
"""Of the baseline in a step, or so many of its users, until its quantiles are taken."""

ERRORS = "errors"
MIRROR = "answers"


@attrs.frozen
class JudgeSettings:
    """What is tolerated, and how sure the judge has to be.

    Attributes:
        error_tolerance: rate of errors, times the baseline's, that is no regression.
        latency_quantiles: of the baseline, whose share of slower requests is compared;
            none for errors only.
        latency_tolerance: share of slower requests, times the baseline's, that is none.
        alpha: how likely a false alarm may be in the whole rollout, 0 to 1.
        beta: how likely a wrong "not worse" may be in a step, 0 to 1.
        requests: least number per arm, in a step, before anything is called fine.
        bounds: multiples of the baseline's rate that "not worse than" is tried for.
        error_ceiling: rate of errors that is fine whatever the baseline's is.
        comparisons: of copies of requests, least number in the step that compares them;
            None where there is no such step.
        mirror_tolerance: how often the canary may differ from the baseline, times as often
            as that does from itself.
    """

    error_tolerance: float = 1.0
    latency_quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
    latency_tolerance: float = 1.1
    alpha: float = 0.01
    beta: float = 0.05
    requests: int = 5000
    bounds: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0)
    error_ceiling: float = 0.001
    comparisons: int | None = None
    mirror_tolerance: float = 1.0


@attrs.frozen
class JudgeNumbers:
    """What has to be kept of a judge to go on elsewhere.

    Attributes:
        proves: what its findings come from.
        shown: what the bounds of a ratio come from, in single precision.
        warm_ups: latencies from which quantiles are still to be taken, by comparison.
    """

    proves: tuple[float, ...]
    shown: array[float]
    warm_ups: tuple[Latencies, ...]


class Judge:
    """Compares a canary with its baseline through a rollout.

    Attributes:
        settings: what is tolerated.
        compares: whether the present step compares answers to copies of requests. What is
            observed in it are comparisons, and those that speak for one of the two.
    """

    __slots__ = (
        *("_below", "_control", "_mirror", "_ratios", "_requests", "_tests"),
        *("compares", "settings"),
    )

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.compares = False
        self._tests = _Comparison(settings)
        self._mirror = None
        if settings.comparisons is not None:
            self._mirror = RegressionTest(settings.mirror_tolerance, ERROR_RATIOS)
        self._control = (_Comparison(settings), _Comparison(settings))
        self._begin_counts()

    def __repr__(self) -> str:
        return f"<Judge {self.verdict()}>"

    def begin_step(self) -> None:
        """Let another step begin: other shares, other users.

        What speaks for a regression is kept; requests, intervals and what is shown to be
        fine are of one step.
        """
        self._tests.begin_step(*self._mirrored)
        for comparison in self._control:
            comparison.begin_step()
        self._begin_counts()

    def observe(
        self, canary: ArmTick, baseline: ArmTick, stable: ArmTick | None = None
    ) -> None:
        """Take one tick in.

        Args:
            canary: the version that is judged.
            baseline: what it is compared with.
            stable: a third arm that runs the baseline's version, as the control.
        """
        self._requests[0] += canary.requests
        self._requests[1] += baseline.requests
        if self.compares:
            if self._mirror is not None:
                counts = canary.error_counts, baseline.error_counts
                self._mirror.observe(*counts)
                self._ratios[-1].observe(*counts)
            return
        self._below.observe(canary.error_counts)
        compared = self._tests.observe(canary, baseline)
        for ratio, (ours, theirs) in zip(self._ratios, compared, strict=False):
            ratio.observe(ours, theirs)
        if stable is not None:
            forth, back = self._control
            forth.observe(baseline, stable)
            back.observe(stable, baseline)

    @property
    def finding(self) -> Finding:
        """What the judge says now, in one word."""
        settings = self.settings
        needed = math.log(1 / settings.alpha)
        log_e = self._log_e
        if log_mean([control.log_e() for control in self._control]) >= needed:
            return Finding.UNSOUND
        if log_e >= needed:
            return Finding.REGRESSION
        if log_e >= needed / 2:
            return Finding.SUSPICIOUS
        least = (settings.comparisons or 0) if self.compares else settings.requests
        if min(self._requests) < least:
            return Finding.NOT_ENOUGH_DATA
        is_fine = self._is_below_ceiling() or self._not_worse_than() is not None
        if is_fine and not self.compares:
            return Finding.NOT_WORSE
        return Finding.NO_DIFFERENCE

    def verdict(self) -> Verdict:
        """Say what is known now, and why."""
        settings = self.settings
        return Verdict(
            finding=self.finding,
            e_value=_exp(self._log_e),
            requests=(self._requests[0], self._requests[1]),
            metrics=tuple(
                MetricVerdict(
                    name, _exp(test.log_e), ratio.interval(settings.beta), bound_s
                )
                for (name, test, bound_s), ratio in zip(
                    self._metrics(), self._ratios, strict=True
                )
            ),
            not_worse_than=self._not_worse_than(),
            below_ceiling=self._is_below_ceiling(),
        )

    def numbers(self) -> JudgeNumbers:
        """Give what has to be kept to go on elsewhere."""
        proves: list[float] = [*self._requests, *self._below.state()]
        shown = array("f")
        for ratio in self._ratios:
            lower, points = ratio.state()
            proves += lower
            shown += points
        for comparison in self._comparisons:
            proves += comparison.state()
        if self._mirror is not None:
            proves += self._mirror.state()
        warm_ups = tuple(one.warm_up for one in self._comparisons)
        return JudgeNumbers(tuple(proves), shown, warm_ups)

    def restore(self, kept: JudgeNumbers) -> None:
        """Go on from what `numbers` gave.

        Raises:
            ValueError: it is none of a judge with such settings.
        """
        like = self.numbers()
        if (len(kept.proves), len(kept.shown), len(kept.warm_ups)) != (
            *(len(like.proves), len(like.shown), len(like.warm_ups)),
        ):
            raise ValueError("found numbers of a judge with other settings")
        proves, shown = _Reader(kept.proves), _Reader(kept.shown)
        self._requests = [int(one) for one in proves.take(2)]
        self._below.restore(proves.take(len(self._below.state())))
        for ratio in self._ratios:
            lower, points = ratio.state()
            ratio.restore(proves.take(len(lower)), shown.take(len(points)))
        for comparison, warm_up in zip(self._comparisons, kept.warm_ups, strict=True):
            comparison.restore(proves.take(len(comparison.state())), warm_up)
        if self._mirror is not None:
            self._mirror.restore(proves.take(len(self._mirror.state())))

    @property
    def _log_e(self) -> float:
        """Of all metrics together."""
        return self._tests.log_e(*self._mirrored)

    @property
    def _mirrored(self) -> tuple[float, ...]:
        """The evidence of copies, where there is such a step."""
        return () if self._mirror is None else (self._mirror.log_e,)

    def _metrics(self) -> Iterator[tuple[str, RegressionTest, float | None]]:
        yield from self._tests.metrics()
        if self._mirror is not None:
            yield MIRROR, self._mirror, None

    @property
    def _comparisons(self) -> tuple[_Comparison, ...]:
        return (self._tests, *self._control)

    def _begin_counts(self) -> None:
        settings = self.settings
        self._requests = [0, 0]
        self._below = CeilingTest(settings.error_ceiling)
        self._ratios = [RatioTest(settings.bounds)]
        others = len(settings.latency_quantiles) + (self._mirror is not None)
        self._ratios += [RatioTest(()) for _ in range(others)]

    def _not_worse_than(self) -> float | None:
        return self._ratios[0].not_worse_than(self.settings.beta)

    def _is_below_ceiling(self) -> bool:
        return self._below.log_e >= math.log(1 / self.settings.beta)


class _Comparison:
    """The tests of all metrics between two arms."""

    # fmt: off
    __slots__ = (
        "_bounds", "_held", "_parts", "_settings", "_starts_step", "_step", "_tests",
        "warm_up",
    )
    # fmt: on

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._parts = settings.latency_quantiles
        self._step = 0  # of users, where they are counted
        self._held = -math.inf  # the most that a step of users before had
        self._starts_step: list[bool] = []
        self._begin_tests()
        self.begin_step()

    def log_e(self, *more: float) -> float:
        """Give the evidence of all metrics together, and of more that is averaged in."""
        found = log_mean([*(test.log_e for test in self._tests), *more])
        if not self._step:
            return found
        return max(self._held, found - math.log(self._step * (self._step + 1)))

    def begin_step(self, *more: float) -> None:
        """Let the quantiles be taken anew, and where users count the evidence too."""
        if self._step and not self._starts_step[0]:
            self._held = self.log_e(*more)
            self._step += 1
            self._begin_tests()
        self._bounds: list[int] = []
        self.warm_up: dict[int, int] = {}
        self._starts_step = [True] * len(self._tests)

    def observe(
        self, canary: ArmTick, baseline: ArmTick
    ) -> list[tuple[ArmCounts, ArmCounts]]:
        """Take one tick in, and give what was compared: errors, then each quantile."""
        if canary.at_risk is not None:
            self._step = self._step or 1
        compared = [(canary.error_counts, baseline.error_counts)]
        compared += [
            (canary.slow_counts(number), baseline.slow_counts(number))
            for number in self._bounds
        ]
        for at, (ours, theirs) in enumerate(compared):
            self._tests[at].observe(ours, theirs, begins_step=self._starts_step[at])
            self._starts_step[at] = False
        if not self._bounds and self._parts:
            self._warm(baseline.latencies)
        return compared

    def metrics(self) -> Iterator[tuple[str, RegressionTest, float | None]]:
        """Give each metric's name, test, and what slower means in seconds."""
        yield ERRORS, self._tests[0], None
        for at, part in enumerate(self._parts):
            number = self._bounds[at] if self._bounds else None
            bound_s = None if number is None else bound_of(number)
            yield f"p{part * 100:g}", self._tests[1 + at], bound_s

    def state(self) -> list[float]:
        """Give what has to be kept to go on elsewhere, beside the warm-up."""
        bounds = [float(one) for one in self._bounds] or [-1.0] * len(self._parts)
        tests = [number for test in self._tests for number in test.state()]
        steps = (*map(float, self._starts_step), self._step, self._held)
        return [*bounds, *steps, *tests]

    def restore(self, state: Sequence[float], warm_up: Latencies) -> None:
        """Go on from what `state` gave."""
        left = _Reader(state)
        bounds = [int(one) for one in left.take(len(self._parts))]
        self._bounds = bounds if bounds and bounds[0] >= 0 else []
        self._starts_step = [bool(one) for one in left.take(len(self._tests))]
        step, self._held = left.take(2)
        self._step = int(step)
        for test in self._tests:
            test.restore(left.take(len(test.state())))
        self.warm_up = dict(warm_up)

    def _begin_tests(self) -> None:
        settings = self._settings
        self._tests = [RegressionTest(settings.error_tolerance, ERROR_RATIOS)]
        self._tests += [
            RegressionTest(settings.latency_tolerance, LATENCY_RATIOS)
            for _ in self._parts
        ]

    def _warm(self, latencies: Latencies) -> None:
        """Take the baseline's quantiles, once there are enough; the next tick uses them."""
        add(self.warm_up, latencies)
        if sum(self.warm_up.values()) >= WARM_UP_REQUESTS:
            self._bounds = [quantile(self.warm_up, part) for part in self._parts]
            self.warm_up = {}


class _Reader:
    """Numbers, taken from the front."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers, self._at = numbers, 0

    def take(self, count: int) -> Sequence[float]:
        """Give the next ones."""
        begin, self._at = self._at, self._at + count
        return self._numbers[begin : self._at]


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
