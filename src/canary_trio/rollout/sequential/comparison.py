"""All metrics of two arms compared, each by a sequential test of its own. Pure.

Latency is the same question as errors: how many requests were slower than the baseline's
quantiles, which are taken from the baseline's first requests of a step and held for that
step, so that they never depend on what they judge.

Requests of another step are others, so the evidence of steps multiplies. Users come again:
who fails in one step fails in the next one, in the same arm, and is no news. So where users
count, each step has evidence of its own and a part of `alpha`: 1/2, 1/6, 1/12 and so on,
which add up to 1. The most that any step has is what counts. Where errors are counted by
request and only latency is of users, that holds for latency alone. Either way the
sum is below a mean of e-processes.

The rule that it obeys: what it was told stays told; nothing of it depends on who asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from canary_trio.rollout.evidence import ArmCounts, ArmTick
from canary_trio.rollout.latency import Latencies, add, bound_of, quantile
from canary_trio.rollout.sequential.rates import (
    ERROR_RATIOS,
    LATENCY_RATIOS,
    RegressionTest,
    log_sum,
)

WARM_UP_REQUESTS = 500
"""Of the baseline in a step, or so many of its users, until its quantiles are taken."""

ERRORS = "errors"


class ArmComparison:
    """The tests of all metrics between two arms.

    Attributes:
        warm_up: latencies from which quantiles are still to be taken.
    """

    # fmt: off
    __slots__ = (
        "_bounds", "_held", "_lasting", "_parts", "_starts_step", "_step", "_tests",
        "_tolerances", "warm_up",
    )
    # fmt: on

    def __init__(
        self,
        quantiles: tuple[float, ...],
        *,
        error_tolerance: float,
        latency_tolerance: float,
        errors_by_request: bool = False,
    ) -> None:
        """Begin with nothing seen.

        Args:
            quantiles: of the second arm's latencies, whose share of slower ones is compared.
            error_tolerance: times its rate of errors that is no regression.
            latency_tolerance: times its share of slower ones that is none.
            errors_by_request: whether users count for latency alone, where they count.
        """
        self._parts = quantiles
        self._tolerances = error_tolerance, latency_tolerance
        self._lasting = int(errors_by_request)  # tests of requests, at the front
        self._step = 0  # of users, where they are counted
        self._held = -math.inf  # the most that a step of users before had
        self._starts_step: list[bool] = []
        self._begin_tests()
        self.begin_step()

    def log_e(self, *more: float) -> float:
        """Give the evidence of all metrics together, and of more that is averaged in."""
        logs = [*more, *(test.log_e for test in self._tests)]
        if self._step:
            logs = logs[: len(more) + self._lasting]
            logs.append(self._most_of_users())
        return log_sum(logs) - math.log(len(more) + len(self._tests))

    def _most_of_users(self) -> float:
        """Give the most that tests of users had in a step, times its part of alpha."""
        logs = [test.log_e for test in self._tests[self._lasting :]]
        if not logs:
            return -math.inf
        return max(self._held, log_sum(logs) - math.log(self._step * (self._step + 1)))

    def begin_step(self) -> None:
        """Let the quantiles be taken anew, and where users count the evidence too."""
        if self._step and not self._starts_step[0]:
            self._held = self._most_of_users()
            self._step += 1
            lasting = self._tests[: self._lasting]
            self._begin_tests()
            self._tests[: self._lasting] = lasting
        self._bounds: list[int] = []
        self.warm_up: dict[int, int] = {}
        self._starts_step = [True] * len(self._tests)

    def observe(
        self, canary: ArmTick, baseline: ArmTick
    ) -> list[tuple[ArmCounts, ArmCounts]]:
        """Take one tick in, and give what was compared: errors, then each quantile."""
        if (canary.groups if self._lasting else canary.at_risk) is not None:
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
        left = NumberReader(state)
        bounds = [int(one) for one in left.take(len(self._parts))]
        self._bounds = bounds if bounds and bounds[0] >= 0 else []
        self._starts_step = [bool(one) for one in left.take(len(self._tests))]
        step, self._held = left.take(2)
        self._step = int(step)
        for test in self._tests:
            test.restore(left.take(len(test.state())))
        self.warm_up = dict(warm_up)

    def _begin_tests(self) -> None:
        errors, latency = self._tolerances
        self._tests = [RegressionTest(errors, ERROR_RATIOS)]
        self._tests += [RegressionTest(latency, LATENCY_RATIOS) for _ in self._parts]

    def _warm(self, latencies: Latencies) -> None:
        """Take the baseline's quantiles, once there are enough; the next tick uses them."""
        add(self.warm_up, latencies)
        if sum(self.warm_up.values()) >= WARM_UP_REQUESTS:
            self._bounds = [quantile(self.warm_up, part) for part in self._parts]
            self.warm_up = {}


class NumberReader:
    """Numbers, taken from the front."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers, self._at = numbers, 0

    def take(self, count: int) -> Sequence[float]:
        """Give the next ones."""
        begin, self._at = self._at, self._at + count
        return self._numbers[begin : self._at]
