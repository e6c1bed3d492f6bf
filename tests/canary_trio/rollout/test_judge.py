"""The judge: its words, its limits, and how soon it sees what is there."""

from __future__ import annotations

import math
import random

import attrs
import pytest

from canary_trio.rollout.evidence import GROUPS, ArmTick, GroupCounts
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.latency import BOUNDS_S, interval_of
from canary_trio.rollout.sequential.comparison import WARM_UP_REQUESTS
from canary_trio.rollout.sequential.user_groups import GroupTest
from canary_trio.rollout.simulation import Scenario, binomial, simulate
from canary_trio.rollout.verdict import Finding

ERRORS_ONLY = JudgeSettings(latency_quantiles=())
BY_REQUEST = attrs.evolve(ERRORS_ONLY, errors_by_request=True)


def judged(
    ours: ArmTick, theirs: ArmTick, ticks: int, settings: JudgeSettings
) -> Judge:
    judge = Judge(settings)
    for _ in range(ticks):
        judge.observe(ours, theirs)
    return judge


@pytest.mark.parametrize(
    ("ours", "theirs", "ticks", "said"),
    [
        pytest.param((100, 0), (100, 0), 1, "not enough data", id="little"),
        pytest.param((1, 1), (2, 0), 1, "not enough data", id="one failure of three"),
        pytest.param((100, 10), (100, 1), 10, "regression: errors", id="broken"),
        pytest.param((100, 10), (100, 1), 1, "suspicious: errors", id="soon"),
        pytest.param((1000, 1), (1000, 1), 6, "no difference yet", id="same"),
        pytest.param((100, 1), (100, 1), 150, "not worse than x1.5", id="proven"),
        pytest.param((100, 0), (100, 0), 60, "errors below the ceiling", id="quiet"),
        pytest.param((100, 1), (100, 10), 100, "not worse than x1.25", id="better"),
        pytest.param((100, 100), (0, 0), 100, "not enough data", id="no baseline"),
    ],
)
def test_what_it_says(
    ours: tuple[int, int], theirs: tuple[int, int], ticks: int, said: str
) -> None:
    judge = judged(ArmTick(*ours), ArmTick(*theirs), ticks, ERRORS_ONLY)
    assert str(judge.verdict()) == said


def test_a_verdict_says_why() -> None:
    verdict = judged(ArmTick(100, 6), ArmTick(100, 2), 60, ERRORS_ONLY).verdict()
    assert verdict.requests == (6000, 6000)
    [errors] = verdict.metrics
    assert errors.name == "errors"
    assert errors.e_value == verdict.e_value > 100
    low, high = errors.ratio
    assert 1.9 < low < 3 < high < 4.6


def test_slowness_is_counted_beyond_the_baselines_quantiles() -> None:
    quick, slow = interval_of(0.01), interval_of(0.03)
    settings = JudgeSettings(latency_quantiles=(0.5, 0.99))
    judge = judged(
        ArmTick(100, 0, latencies={quick: 80, slow: 20}),
        ArmTick(100, 0, latencies={quick: 98, slow: 2}),
        WARM_UP_REQUESTS // 100,
        settings,
    )
    assert judge.verdict().e_value == pytest.approx(1)
    for _ in range(10):
        judge.observe(
            ArmTick(100, 0, latencies={quick: 80, slow: 20}),
            ArmTick(100, 0, latencies={quick: 98, slow: 2}),
        )
    verdict = judge.verdict()
    assert str(verdict) == "regression: p50"
    assert [metric.bound_s for metric in verdict.metrics] == [
        None,
        BOUNDS_S[quick],
        BOUNDS_S[slow],
    ]


def test_what_a_step_showed_ends_with_it_but_not_an_alarm() -> None:
    judge = judged(ArmTick(100, 10), ArmTick(100, 1), 60, ERRORS_ONLY)
    before = judge.verdict().e_value
    judge.begin_step()
    verdict = judge.verdict()
    assert verdict.e_value == before
    assert verdict.requests == (0, 0)
    assert verdict.finding is Finding.REGRESSION


def test_the_same_users_are_no_news_in_the_next_step() -> None:
    """Each step is judged by itself, with its part of alpha, and takes nothing back."""
    ours, theirs = ArmTick(500, 12, at_risk=500), ArmTick(500, 4, at_risk=500)
    judge, seen = Judge(ERRORS_ONLY), []
    for _ in range(5):
        judge.observe(ours, theirs)
        seen.append(judge.verdict().e_value)
        judge.begin_step()
        judge.begin_step()  # nothing has come in it: it is none
    assert max(seen) == seen[0] > 1
    assert judge.finding is not Finding.REGRESSION
    alone = judged(ours, theirs, 1, attrs.evolve(ERRORS_ONLY, alpha=0.5))
    requests = judged(ArmTick(500, 12), ArmTick(500, 4), 1, ERRORS_ONLY)
    assert alone.verdict().e_value == pytest.approx(requests.verdict().e_value / 2)
    for _ in range(5):
        requests.begin_step()
        requests.observe(ArmTick(500, 12), ArmTick(500, 4))
    assert requests.finding is Finding.REGRESSION  # of other requests each time


def test_a_later_step_of_users_still_raises_its_alarm() -> None:
    judge = Judge(ERRORS_ONLY)
    for _ in range(3):
        judge.observe(ArmTick(900, 3, at_risk=900), ArmTick(900, 3, at_risk=900))
        judge.begin_step()
    assert judge.verdict().e_value < 1
    judge.observe(ArmTick(900, 50, at_risk=900), ArmTick(900, 5, at_risk=900))
    assert judge.finding is Finding.REGRESSION
    judge.begin_step()
    judge.observe(ArmTick(900, 3, at_risk=900), ArmTick(900, 3, at_risk=900))
    assert judge.finding is Finding.REGRESSION


def test_where_two_arms_of_one_version_differ_nothing_is_concluded() -> None:
    for better, worse in ((1, 8), (8, 1)):
        judge = Judge(ERRORS_ONLY)
        for _ in range(30):
            judge.observe(ArmTick(100, 9), ArmTick(100, better), ArmTick(100, worse))
        assert judge.finding is Finding.UNSOUND
        assert str(judge.verdict()) == "unsound: two arms of the same version differ"


def of_groups(failed: tuple[int, ...], each: int = 10) -> ArmTick:
    """Give a tick of users who keep their arm, whose requests are counted."""
    failures = failed + (0,) * (GROUPS - len(failed))
    groups = GroupCounts((each,) * GROUPS, failures)
    return ArmTick(each * GROUPS, sum(failed), groups=groups)


def test_where_failures_hang_together_by_user_requests_say_nothing() -> None:
    judge = Judge(BY_REQUEST)
    for _ in range(8):
        judge.observe(of_groups((9,)), of_groups(()))
    assert judge.finding is Finding.UNSOUND
    assert '"unit": "users"' in str(judge.verdict())
    unguarded = judged(of_groups((9,)), of_groups(()), 8, ERRORS_ONLY)
    assert unguarded.finding is Finding.REGRESSION


def test_failures_of_all_users_alike_are_judged_by_request() -> None:
    judge = Judge(BY_REQUEST)
    for tick in range(60):
        ours = [int((group + tick) % 8 == 0) for group in range(GROUPS)]
        theirs = [int((group + tick) % 32 == 0) for group in range(GROUPS)]
        judge.observe(of_groups(tuple(ours)), of_groups(tuple(theirs)))
    assert str(judge.verdict()) == "regression: errors"


def test_all_controls_together_have_one_alpha() -> None:
    """With a third arm that says nothing, groups have to say twice as much."""
    ours, theirs = of_groups((2,)), of_groups(())
    groups = GroupTest()
    groups.observe([ours.groups, theirs.groups])
    e_value = math.exp(groups.log_e)
    assert e_value > 2
    settings = attrs.evolve(BY_REQUEST, alpha=1 / (0.75 * e_value))
    alone, beside = Judge(settings), Judge(settings)
    alone.observe(ours, theirs)
    beside.observe(ours, theirs, theirs)
    assert alone.finding is Finding.UNSOUND
    assert beside.finding is not Finding.UNSOUND


def test_errors_by_request_go_on_in_the_next_step_and_latency_of_users_does_not() -> (
    None
):
    slow, quick = {interval_of(0.5): 60}, {interval_of(0.01): 60}

    def ticks(judge: Judge, ours: dict[int, int], *, failed: int) -> None:
        for tick in range(12):
            failures = [int(at < failed) for at in range(GROUPS)]
            turned = tuple(failures[tick:] + failures[:tick])
            canary, baseline = of_groups(turned), of_groups(())
            judge.observe(
                attrs.evolve(canary, latencies=ours),
                attrs.evolve(baseline, latencies=quick),
            )

    settings = attrs.evolve(BY_REQUEST, latency_quantiles=(0.5,))
    judge = Judge(settings)
    ticks(judge, quick, failed=1)
    errors, p50 = judge.verdict().metrics
    judge.begin_step()
    again, anew = judge.verdict().metrics
    assert errors.e_value > 5
    assert again.e_value == errors.e_value  # of other requests: it goes on
    assert anew.e_value == 1 != p50.e_value  # of the same users: it begins
    ticks(judge, slow, failed=0)
    assert judge.verdict().metrics[1].e_value > 1000
    told = judge.verdict().e_value
    judge.begin_step()
    assert judge.verdict().e_value == told  # what was seen is not taken back


def test_users_are_at_risk_until_they_have_failed() -> None:
    ours, theirs = ArmTick(1000, 5, at_risk=50), ArmTick(1000, 5, at_risk=5000)
    judge = judged(ours, theirs, 3, ERRORS_ONLY)
    assert judge.finding is Finding.REGRESSION


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("scenario", "most"),
    [
        pytest.param(Scenario(0.01, 0.02), 4_000, id="twice the errors"),
        pytest.param(Scenario(0.01, 0.10), 400, id="broken"),
        pytest.param(Scenario(0.001, 0.01), 2_000, id="broken, quiet before"),
        pytest.param(
            Scenario(0.01, 0.10, healthy_ticks=600), 800, id="broken after ten minutes"
        ),
    ],
)
def test_how_soon_errors_are_seen(scenario: Scenario, most: int) -> None:
    runs = 20 if scenario.healthy_ticks else 200
    seen = simulate(ERRORS_ONLY, scenario, runs=runs, seed=3)
    median = seen.quantile(0.5)
    assert median is not None
    assert median <= most


@pytest.mark.simulation
def test_how_soon_slowness_is_seen() -> None:
    settings = JudgeSettings(latency_tolerance=1.0)
    seen = simulate(settings, Scenario(0.0, 0.0, slower=1.2), runs=20, seed=3)
    median = seen.quantile(0.5)
    assert median is not None
    assert WARM_UP_REQUESTS < median <= 2_000 + WARM_UP_REQUESTS


@pytest.mark.simulation
def test_what_is_not_there_is_not_seen() -> None:
    seen = simulate(ERRORS_ONLY, Scenario(0.01, 0.01, limit=20_000), runs=60, seed=3)
    assert len(seen.requests) <= 3  # alpha is 1 %, and three standard deviations
    assert seen.quantile(0.5) is None


def day(
    judge: Judge, draw: random.Random, *, worse: float = 1.0, tick_s: int = 10
) -> set[Finding]:
    """Let a judge see a day: quiet nights, and outages that both arms have alike."""
    said, outage_left = set(), 0
    for tick in range(86_400 // tick_s):
        busy = 1 + math.sin(2 * math.pi * tick * tick_s / 86_400)
        requests = (int(40 * busy), int(55 * busy))  # of unequal shares
        if outage_left == 0 and draw.random() < 0.002:
            outage_left = draw.randint(1, 60)
        rate = draw.uniform(0.2, 0.9) if outage_left else 0.005
        outage_left = max(0, outage_left - 1)
        ours = binomial(draw, requests[0], min(1.0, rate * worse))
        theirs = binomial(draw, requests[1], rate)
        judge.observe(ArmTick(requests[0], ours), ArmTick(requests[1], theirs))
        said.add(judge.finding)
    return said


@pytest.mark.simulation
def test_r13_a_day_with_bursts_and_two_equal_arms_aborts_nothing() -> None:
    draw = random.Random(13)
    days = [day(Judge(ERRORS_ONLY), draw) for _ in range(6)]
    assert sum(Finding.REGRESSION in said for said in days) == 0  # alpha is 1 %


@pytest.mark.simulation
def test_r13_a_day_with_bursts_does_not_hide_what_is_worse() -> None:
    said = day(Judge(ERRORS_ONLY), random.Random(13), worse=1.5)
    assert Finding.REGRESSION in said


def test_a_simulation_is_the_same_each_time() -> None:
    scenario = Scenario(0.01, 0.02)
    once = simulate(ERRORS_ONLY, scenario, runs=5, seed=1)
    assert once == simulate(ERRORS_ONLY, scenario, runs=5, seed=1)
    assert once != simulate(ERRORS_ONLY, scenario, runs=5, seed=2)


@pytest.mark.parametrize("rate", [0.0, 0.003, 0.5, 0.99, 1.0])
def test_binomial_draws(rate: float) -> None:
    draw, runs = random.Random(1), 4000
    drawn = [binomial(draw, 40, rate) for _ in range(runs)]
    mean = sum(drawn) / runs
    spread = (40 * rate * (1 - rate) / runs) ** 0.5
    assert abs(mean - 40 * rate) <= 4 * spread
    assert 0 <= min(drawn) <= max(drawn) <= 40
