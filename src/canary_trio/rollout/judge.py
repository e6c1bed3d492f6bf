"""Whether the canary is worse than what it is compared with: a judge of counts. Pure.

It looks at errors and at latency, each as a sequential test between the two arms
(`sequential.comparison`), which may be looked at after every tick. Their e-values are
averaged, which is an e-value again, so `alpha` bounds a false alarm of any of them, in all
steps together.

The same tests between two arms that run the same version, the baseline and stable, say
whether the environment is one in which such a comparison means anything; so does, where
requests of users who keep their arm are counted, the test of `user_groups`. Their e-values
are averaged, too: where that raises an alarm, the verdict is `UNSOUND`, and nothing is concluded.

The rule that it obeys: it is told of ticks and asked for a verdict; it knows no clock, no
arm's name and no document. What it says never depends on who asks, or how often. One
file, since all of it is one state, which is kept and gone on from elsewhere.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence

import attrs

from canary_trio.rollout.evidence import ArmTick, GroupCounts
from canary_trio.rollout.latency import Latencies
from canary_trio.rollout.sequential.comparison import ArmComparison, NumberReader
from canary_trio.rollout.sequential.rates import (
    ERROR_RATIOS,
    CeilingTest,
    RatioTest,
    RegressionTest,
    log_mean,
)
from canary_trio.rollout.sequential.user_groups import GroupTest
from canary_trio.rollout.verdict import Finding, MetricVerdict, Verdict

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
        errors_by_request: whether errors are counted by request though users keep their arm.
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
    errors_by_request: bool = False


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
        *("_below", "_control", "_groups", "_has_control", "_mirror", "_ratios"),
        *("_requests", "_tests"),
        *("compares", "settings"),
    )

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.compares = False
        self._tests = _comparison(settings)
        self._mirror = None
        if settings.comparisons is not None:
            self._mirror = RegressionTest(settings.mirror_tolerance, ERROR_RATIOS)
        self._control = (_comparison(settings), _comparison(settings))
        self._has_control = False
        self._groups = GroupTest() if settings.errors_by_request else None
        self._begin_counts()

    def __repr__(self) -> str:
        return f"<Judge {self.verdict()}>"

    def begin_step(self) -> None:
        """Let another step begin: other shares, other users.

        What speaks for a regression is kept; requests, intervals and what is shown to be
        fine are of one step.
        """
        self._tests.begin_step()
        for comparison in self._control:
            comparison.begin_step()
        if self._groups is not None:
            self._groups.begin_step()
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
        arms = [canary, baseline]
        if stable is not None:
            forth, back = self._control
            forth.observe(baseline, stable)
            back.observe(stable, baseline)
            self._has_control = True
            arms.append(stable)
        if self._groups is not None:
            self._groups.observe([arm.groups for arm in arms])

    def learn(self, arms: Sequence[GroupCounts | None]) -> None:
        """Take in what groups of users had in this step, of each arm, without judging it."""
        if self._groups is not None:
            self._groups.learn(arms)

    @property
    def learnt(self) -> Mapping[int, GroupCounts]:
        """What groups of users had in this step, by the place of their arm, as far as known."""
        return {} if self._groups is None else self._groups.seen

    @property
    def finding(self) -> Finding:
        """What the judge says now, in one word."""
        settings = self.settings
        needed = math.log(1 / settings.alpha)
        log_e = self._log_e
        controls = self._controls()
        if controls and log_mean(controls) >= needed:
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
        settings, finding, groups = self.settings, self.finding, self._groups
        is_unsound = finding is Finding.UNSOUND
        return Verdict(
            finding=finding,
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
            by_user=is_unsound
            and groups is not None
            and groups.log_e == max(self._controls()),
        )

    def numbers(self) -> JudgeNumbers:
        """Give what has to be kept to go on elsewhere."""
        proves: list[float] = [*self._requests, self._has_control]
        proves += self._below.state()
        shown = array("f")
        for ratio in self._ratios:
            lower, points = ratio.state()
            proves += lower
            shown += points
        for comparison in self._comparisons:
            proves += comparison.state()
        if self._mirror is not None:
            proves += self._mirror.state()
        if self._groups is not None:
            proves += self._groups.state()
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
        proves, shown = NumberReader(kept.proves), NumberReader(kept.shown)
        self._requests = [int(one) for one in proves.take(2)]
        self._has_control = bool(proves.take(1)[0])
        self._below.restore(proves.take(len(self._below.state())))
        for ratio in self._ratios:
            lower, points = ratio.state()
            ratio.restore(proves.take(len(lower)), shown.take(len(points)))
        for comparison, warm_up in zip(self._comparisons, kept.warm_ups, strict=True):
            comparison.restore(proves.take(len(comparison.state())), warm_up)
        if self._mirror is not None:
            self._mirror.restore(proves.take(len(self._mirror.state())))
        if self._groups is not None:
            self._groups.restore(proves.take(len(self._groups.state())))

    @property
    def _log_e(self) -> float:
        """Of all metrics together."""
        return self._tests.log_e(*self._mirrored)

    def _controls(self) -> list[float]:
        """Give the evidence of each control that there is, against what is assumed."""
        found = []
        if self._has_control:
            found.append(log_mean([control.log_e() for control in self._control]))
        if self._groups is not None:
            found.append(self._groups.log_e)
        return found

    @property
    def _mirrored(self) -> tuple[float, ...]:
        """The evidence of copies, where there is such a step."""
        return () if self._mirror is None else (self._mirror.log_e,)

    def _metrics(self) -> Iterator[tuple[str, RegressionTest, float | None]]:
        yield from self._tests.metrics()
        if self._mirror is not None:
            yield MIRROR, self._mirror, None

    @property
    def _comparisons(self) -> tuple[ArmComparison, ...]:
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


def _comparison(settings: JudgeSettings) -> ArmComparison:
    return ArmComparison(
        settings.latency_quantiles,
        error_tolerance=settings.error_tolerance,
        latency_tolerance=settings.latency_tolerance,
        errors_by_request=settings.errors_by_request,
    )


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
