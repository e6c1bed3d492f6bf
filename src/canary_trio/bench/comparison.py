"""What was measured, and what follows from it: values that the reports are made of. Pure.

The verdict is what the judge of a rollout says of the same counts, asked both ways: whether B is
worse than A, and A than B. It tolerates a tenth in latency, as it does there. Beside it stand the
bounds of every metric, which tolerate nothing. One file, since all of it is one value.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from canary_trio.bench.conditions import ERRORS, Condition, ConditionOutcome
from canary_trio.bench.intervals import (
    Bounds,
    QuantileRatio,
    error_ratio_interval,
    quantile_interval,
    share_interval,
)
from canary_trio.bench.plan import GeneratorCost, LoadPlan
from canary_trio.bench.tally import LoadResult, side_by_side
from canary_trio.rollout.evidence import ArmCounts, ArmTick
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.latency import bound_of, quantile
from canary_trio.rollout.verdict import Finding, Verdict

QUANTILES = (0.5, 0.9, 0.99)
"""That are always shown."""

ENOUGH = 1000
"""Requests of each arm until the judge calls two alike."""

BUSY = 0.9
"""Which part of a core the generator may use until it is called the limit."""

LATE_PART, LATE_S = 0.5, 0.001
"""How late half of the requests may be sent: that part of the lesser median, or so long."""

_PAIR = 2


@attrs.frozen
class Figure:
    """One figure of one arm.

    Attributes:
        value: a share, or seconds; None where there is none.
        bounds: between which what is true lies.
    """

    value: float | None
    bounds: Bounds


@attrs.frozen
class MetricComparison:
    """One metric, of each arm and between them.

    Attributes:
        name: `errors`, or a quantile such as `p99`.
        arms: of each.
        ratio: B's to A's; None where there is no B.
    """

    name: str
    arms: tuple[Figure, ...]
    ratio: Figure | None = None

    @property
    def difference(self) -> Bounds | None:
        """Bounds of B's share of errors less A's; each arm has half of what may be wrong."""
        if len(self.arms) < _PAIR or self.name != ERRORS:
            return None
        one, other = (arm.bounds for arm in self.arms)
        return other[0] - one[1], other[1] - one[0]


@attrs.frozen
class Decided:
    """What is known of a condition."""

    condition: Condition
    outcome: ConditionOutcome
    bounds: Bounds


@attrs.frozen
class Measurement:
    """A whole measurement.

    Attributes:
        urls: of A, and of B if there is one.
        plan: how it was asked.
        http2: whether by HTTP/2.
        results: of each URL.
        metrics: errors first.
        cost: of the generator.
        alpha: how likely each of the bounds may be wrong.
        worse: the judge's verdict on B beside A; None with one URL.
        better: on A beside B.
        decided: conditions that were asked for.
        resent: requests that went out twice, since a kept connection had ended.
    """

    urls: tuple[str, ...]
    plan: LoadPlan
    http2: bool
    results: tuple[LoadResult, ...]
    metrics: tuple[MetricComparison, ...]
    cost: GeneratorCost
    alpha: float
    worse: Verdict | None = None
    better: Verdict | None = None
    decided: tuple[Decided, ...] = ()
    resent: int = 0

    @property
    def verdict(self) -> str:
        """In words."""
        if self.worse is None or self.better is None:
            return ""
        return _in_words(self.worse, self.better, self.alpha)

    @property
    def limited(self) -> str:
        """Say why the generator was the limit; "" if it was not."""
        return _limit(self)

    @property
    def holds(self) -> bool:
        """Whether a condition does."""
        return any(one.outcome is ConditionOutcome.HOLDS for one in self.decided)

    @property
    def undecided(self) -> bool:
        """Whether it cannot be told of one."""
        return any(one.outcome is ConditionOutcome.UNDECIDED for one in self.decided)


def compare(
    urls: Sequence[str],
    results: Sequence[LoadResult],
    plan: LoadPlan,
    cost: GeneratorCost,
    *,
    conditions: Sequence[Condition] = (),
    alpha: float,
    http2: bool = False,
    resent: int = 0,
) -> Measurement:
    """Make what was measured into what follows from it."""
    named = {name_of(part): part for part in QUANTILES}
    named |= {one.metric: one.part for one in conditions if one.part is not None}
    tick_s = max(result.tick_s for result in results)
    first, last = (results[at].ticks_of(tick_s) for at in (0, -1))
    pairs = side_by_side(first, last)
    is_pair = len(results) == _PAIR
    metrics = [_errors(results, pairs, alpha)]
    for name, part in sorted(named.items(), key=lambda one: one[1]):
        metrics.append(_latency(name, part, results, pairs, alpha))
    by_name = {metric.name: metric for metric in metrics}
    return Measurement(
        urls=tuple(urls),
        plan=plan,
        http2=http2,
        results=tuple(results),
        metrics=tuple(metrics),
        cost=cost,
        alpha=alpha,
        worse=_judged(pairs, alpha) if is_pair else None,
        better=_judged([(b, a) for a, b in pairs], alpha) if is_pair else None,
        decided=tuple(_decide(one, by_name[one.metric]) for one in conditions),
        resent=resent,
    )


def name_of(part: float) -> str:
    """Give what a quantile is called.

    >>> name_of(0.5), name_of(0.999)
    ('p50', 'p99.9')
    """
    return f"p{part * 100:g}"


def value_of(result: LoadResult, part: float) -> float | None:
    """Give a quantile, as the bound that it is counted below; the slowest beyond the last."""
    latencies = result.latencies
    if not latencies:
        return None
    return min(bound_of(quantile(latencies, part)), result.slowest_s)


# === private ===


def _errors(
    results: Sequence[LoadResult],
    pairs: Sequence[tuple[ArmTick, ArmTick]],
    alpha: float,
) -> MetricComparison:
    arms = tuple(
        Figure(
            one.errors / one.requests if one.requests else None,
            share_interval(ArmCounts(one.requests, one.errors), alpha / len(results)),
        )
        for one in results
    )
    if len(results) < _PAIR:
        return MetricComparison(ERRORS, arms)
    shares = [arm.value for arm in arms]
    times = shares[1] / shares[0] if shares[0] and shares[1] is not None else None
    bounds = error_ratio_interval(pairs, alpha)
    return MetricComparison(ERRORS, arms, Figure(times, bounds))


def _latency(
    name: str,
    part: float,
    results: Sequence[LoadResult],
    pairs: Sequence[tuple[ArmTick, ArmTick]],
    alpha: float,
) -> MetricComparison:
    arms = tuple(
        Figure(value_of(one, part), quantile_interval(one.latencies, part, alpha))
        for one in results
    )
    if len(results) < _PAIR:
        return MetricComparison(name, arms)
    test = QuantileRatio(part)
    for one, other in pairs:
        test.observe(one, other)
    values = [arm.value for arm in arms]
    times = values[1] / values[0] if values[0] and values[1] is not None else None
    return MetricComparison(name, arms, Figure(times, test.interval(alpha)))


def _judged(pairs: Sequence[tuple[ArmTick, ArmTick]], alpha: float) -> Verdict:
    """Ask the judge whether the second of each pair is worse than the first."""
    judge = Judge(JudgeSettings(alpha=alpha, requests=ENOUGH))
    for baseline, canary in pairs:
        judge.observe(canary, baseline)
    return judge.verdict()


def _decide(condition: Condition, metric: MetricComparison) -> Decided:
    measured = metric.ratio if condition.relative else metric.arms[-1]
    assert measured is not None, "one URL has no relative conditions"
    bounds = measured.bounds
    has_none = (
        metric.name == ERRORS and condition.relative and not metric.arms[-1].value
    )
    if has_none and bounds[0] <= condition.limit:
        # B has no error at all: it cannot have more than its share
        return Decided(condition, ConditionOutcome.DOES_NOT, (0.0, condition.limit))
    return Decided(condition, condition.judge(bounds), bounds)


def _in_words(worse: Verdict, better: Verdict, alpha: float) -> str:
    both = {"worse": worse, "better": better}
    said = [
        f"{how} ({_names(verdict, alpha)})"
        for how, verdict in both.items()
        if verdict.finding is Finding.REGRESSION
    ]
    if said:
        return f"B is {' and '.join(said)}"
    maybe = [how for how, v in both.items() if v.finding is Finding.SUSPICIOUS]
    if maybe:
        return f"B may be {' or '.join(maybe)}: more requests would tell"
    if worse.finding is Finding.NOT_ENOUGH_DATA:
        return f"no difference is seen in fewer than {ENOUGH:,} requests of each"
    if worse.finding is Finding.NOT_WORSE:
        return f"no difference is seen; errors of B are shown to be {_shown(worse)}"
    return "no difference is seen"


def _shown(verdict: Verdict) -> str:
    if verdict.not_worse_than is not None:
        return f"below {verdict.not_worse_than:g} times A's"
    return f"below {JudgeSettings().error_ceiling:.2%}"


def _names(verdict: Verdict, alpha: float) -> str:
    """Name the metrics that say so; the one that says most, if only all together do."""
    clear = [one.name for one in verdict.metrics if one.e_value >= 1 / alpha]
    most = max(verdict.metrics, key=lambda one: one.e_value)
    return ", ".join(clear or [most.name])


def _limit(comparison: Measurement) -> str:
    cost = comparison.cost
    if cost.busy >= BUSY:
        return f"it used {cost.busy:.0%} of a core: rates and latencies are its own"
    if not cost.lateness:
        return ""
    late_s = bound_of(quantile(cost.lateness, 0.5))
    medians = [value_of(one, 0.5) for one in comparison.results]
    least = min((one for one in medians if one is not None), default=0.0)
    if late_s > max(LATE_S, LATE_PART * least):
        return (
            f"half of the requests were sent {late_s * 1000:.1f} ms later than due, since it"
            " got no processor in time: latencies are partly its own"
        )
    return ""
