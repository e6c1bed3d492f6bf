"""What the judge would say of given rates: how many requests until it is seen. Pure.

Requests fail independently of each other, and latencies are lognormal. Real failures come
in bursts and by user; what is simulated here is the best case of a service whose units may
be counted as the judge counts them: requests, or the users who come for the first time.
"""

from __future__ import annotations

import math
import random

import attrs

from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.latency import interval_of
from canary_trio.rollout.verdict import Finding

MEDIAN_S = 0.02
"""Of a baseline's latencies."""

SPREAD = 0.8
"""The standard deviation of their logarithms."""

TICK_REQUESTS = 100
"""Per arm in a tick, if nothing else is said."""


@attrs.frozen
class Scenario:
    """What is true.

    Attributes:
        baseline_errors: the baseline's rate, 0 to 1.
        canary_errors: the canary's.
        slower: the canary's latencies, times the baseline's; 1 leaves them out.
        healthy_ticks: before that the canary is as good as the baseline.
        tick_requests: per arm in a tick.
        limit: requests per arm after which a run ends.
    """

    baseline_errors: float
    canary_errors: float
    slower: float = 1.0
    healthy_ticks: int = 0
    tick_requests: int = TICK_REQUESTS
    limit: int = 100_000


@attrs.frozen
class Seen:
    """When an alarm came.

    Attributes:
        runs: how many there were.
        requests: per arm until the alarm, of the runs that had one, ascending.
    """

    runs: int
    requests: tuple[int, ...]

    def quantile(self, part: float) -> int | None:
        """Give how many requests that part of all runs took; None if more than `limit`."""
        at = math.ceil(part * self.runs) - 1
        return self.requests[at] if at < len(self.requests) else None


def simulate(
    settings: JudgeSettings, scenario: Scenario, *, runs: int, seed: int
) -> Seen:
    """Let the judge see a scenario again and again, until it says `REGRESSION`.

    Args:
        settings: of the judge.
        scenario: what is true.
        runs: how often, at least 1.
        seed: the same one gives the same result.
    """
    if scenario.slower == 1:
        settings = attrs.evolve(settings, latency_quantiles=())
    draw = random.Random(seed)
    seen = (_requests_until_alarm(settings, scenario, draw) for _ in range(runs))
    return Seen(runs, tuple(sorted(one for one in seen if one is not None)))


def binomial(draw: random.Random, trials: int, rate: float) -> int:
    """Draw how many of `trials` have an event, by the gaps between them."""
    if rate <= 0:
        return 0
    if rate >= 1:
        return trials
    scale = math.log1p(-rate)
    events = at = 0
    while True:
        at += int(math.log(1.0 - draw.random()) / scale) + 1
        if at > trials:
            return events
        events += 1


def _requests_until_alarm(
    settings: JudgeSettings, scenario: Scenario, draw: random.Random
) -> int | None:
    judge = Judge(settings)
    for _ in range(scenario.healthy_ticks):
        judge.observe(_healthy(scenario, draw), _healthy(scenario, draw))
    for tick in range(1, scenario.limit // scenario.tick_requests + 1):
        canary = _tick(scenario, draw, scenario.canary_errors, scenario.slower)
        judge.observe(canary, _healthy(scenario, draw))
        if judge.finding is Finding.REGRESSION:
            return tick * scenario.tick_requests
    return None


def _healthy(scenario: Scenario, draw: random.Random) -> ArmTick:
    return _tick(scenario, draw, scenario.baseline_errors, 1.0)


def _tick(
    scenario: Scenario, draw: random.Random, errors: float, slower: float
) -> ArmTick:
    latencies: dict[int, int] = {}
    if scenario.slower != 1:
        for _ in range(scenario.tick_requests):
            at = interval_of(MEDIAN_S * slower * math.exp(draw.gauss(0, SPREAD)))
            latencies[at] = latencies.get(at, 0) + 1
    failed = binomial(draw, scenario.tick_requests, errors)
    return ArmTick(scenario.tick_requests, failed, latencies=latencies)
