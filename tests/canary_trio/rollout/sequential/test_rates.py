"""The sequential tests: exact where that can be counted out, simulated where not."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.evidence import ArmCounts
from canary_trio.rollout.sequential.rates import (
    CEILING_PARTS,
    ERROR_RATIOS,
    FIRST_START,
    LOWER_RATIOS,
    STEP_STARTS,
    TICK_STARTS,
    CeilingTest,
    RatioTest,
    RegressionTest,
    log_mean,
    log_share_gain,
    log_sum,
)
from canary_trio.rollout.simulation import binomial


def chance(trials: int, events: int, rate: float) -> float:
    return math.comb(trials, events) * rate**events * (1 - rate) ** (trials - events)


def mean_gain(
    sizes: tuple[int, int], rates: tuple[float, float], ratio: float, null: float
) -> float:
    """The mean of one tick's factor, over all that can happen."""
    return math.fsum(
        chance(sizes[0], ours, rates[0])
        * chance(sizes[1], theirs, rates[1])
        * math.exp(
            log_share_gain(
                ArmCounts(sizes[0], ours), ArmCounts(sizes[1], theirs), ratio, null
            )
        )
        for ours in range(sizes[0] + 1)
        for theirs in range(sizes[1] + 1)
    )


@pytest.mark.parametrize("null", [0.5, 1.0, 1.1, 2.0])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 12), (12, 1), (5, 7), (12, 12)])
def test_a_tick_without_a_regression_gains_nothing(
    sizes: tuple[int, int], null: float
) -> None:
    for rate, part in itertools.product((0.001, 0.1, 0.3, 0.5), (0.0, 0.5, 1.0)):
        canary = min(1.0, rate * null * part)
        for ratio in (*ERROR_RATIOS, 1.1):
            mean = mean_gain(sizes, (canary, rate), ratio * null, null)
            assert mean <= 1 + 1e-12


@pytest.mark.parametrize("sizes", [(1, 12), (12, 1), (5, 7), (12, 12)])
def test_a_tick_above_a_bound_gains_nothing(sizes: tuple[int, int]) -> None:
    for rate, more in itertools.product((0.001, 0.1, 0.3), (1.0, 1.5)):
        for part in LOWER_RATIOS:
            mean = mean_gain(sizes, (rate * 1.25 * more, rate), part * 1.25, 1.25)
            assert mean <= 1 + 1e-12


def test_events_drawn_from_a_fixed_number_gain_nothing() -> None:
    for ours, theirs, ratio in itertools.product(
        range(1, 9), range(1, 9), ERROR_RATIOS
    ):
        for events in range(ours + theirs + 1):
            ways = math.comb(ours + theirs, events)
            mean = math.fsum(
                math.comb(ours, at) * math.comb(theirs, events - at) / ways
                * math.exp(
                    log_share_gain(
                        ArmCounts(ours, at), ArmCounts(theirs, events - at), ratio, 1.0
                    )
                )
                for at in range(max(0, events - theirs), min(ours, events) + 1)
            )  # fmt: skip
            assert mean <= 1 + 1e-12


def test_the_weights_of_all_beginnings_sum_to_one() -> None:
    test = RegressionTest(1.0, ERROR_RATIOS)
    for tick in range(1, 2001):
        test.observe(ArmCounts(0, 0), ArmCounts(0, 0), begins_step=not tick % 100)
        assert test.log_e == pytest.approx(0, abs=1e-9)
    unspent = test.state()[2]
    assert FIRST_START + STEP_STARTS + TICK_STARTS == 1
    assert 0 < unspent < 0.05


def test_an_arm_without_requests_tells_nothing() -> None:
    test = RegressionTest(1.0, ERROR_RATIOS)
    for _ in range(100):
        test.observe(ArmCounts(50, 50), ArmCounts(0, 0))
    assert test.log_e == pytest.approx(0, abs=1e-9)


counts = st.integers(0, 500).flatmap(
    lambda at_risk: st.builds(ArmCounts, st.just(at_risk), st.integers(0, at_risk))
)


@given(st.lists(st.tuples(counts, counts, st.booleans()), max_size=20))
def test_what_is_kept_is_all_that_is_needed(
    ticks: list[tuple[ArmCounts, ArmCounts, bool]],
) -> None:
    one, other = RegressionTest(1.0, ERROR_RATIOS), RegressionTest(1.0, ERROR_RATIOS)
    for canary, baseline, begins in ticks:
        one.observe(canary, baseline, begins_step=begins)
        moved = RegressionTest(1.0, ERROR_RATIOS)
        moved.restore(other.state())
        other = moved
        other.observe(canary, baseline, begins_step=begins)
    assert other.log_e == one.log_e
    assert not math.isnan(one.log_e)


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="3 numbers, not 10"):
        RegressionTest(1.0, ERROR_RATIOS).restore([1.0, 2.0, 3.0])


def test_more_events_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match="4 events among 3 units"):
        ArmCounts(3, 4)


@pytest.mark.simulation
def test_alarms_without_a_regression_are_as_rare_as_promised() -> None:
    draw, alarms, needed = random.Random(5), 0, math.log(1 / 0.05)
    runs = 200
    for _ in range(runs):
        test = RegressionTest(1.0, ERROR_RATIOS)
        for tick in range(300):
            rate = 0.001 + 0.018 * (tick / 300)  # it drifts, and so does the share
            ours = 50 + tick % 100
            test.observe(
                ArmCounts(ours, binomial(draw, ours, rate)),
                ArmCounts(200 - ours, binomial(draw, 200 - ours, rate)),
                begins_step=tick % 75 == 0,
            )
            if test.log_e >= needed:
                alarms += 1
                break
    spread = math.sqrt(0.05 * 0.95 / runs)
    assert 0 < alarms / runs <= 0.05 + 3 * spread


@pytest.mark.simulation
@pytest.mark.parametrize("true", [0.5, 1.0, 1.5, 3.0])
def test_an_interval_holds_the_true_ratio(true: float) -> None:
    draw, missed, runs = random.Random(7), 0, 60
    low, high = 0.0, math.inf
    for _ in range(runs):
        test = RatioTest(())
        for _ in range(60):
            test.observe(
                ArmCounts(100, binomial(draw, 100, 0.05 * true)),
                ArmCounts(300, binomial(draw, 300, 0.05)),
            )
            low, high = test.interval(0.05)
            if not low <= true <= high:
                missed += 1
                break
    assert missed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert high / low < 3


def test_without_an_event_nothing_is_known_of_the_ratio() -> None:
    test = RatioTest((2.0,))
    test.observe(ArmCounts(1000, 0), ArmCounts(1000, 0))
    assert test.interval(0.05) == (0.0, math.inf)
    assert test.not_worse_than(0.05) is None


def test_equal_arms_are_shown_to_be_no_worse_than_twice() -> None:
    draw, needed = random.Random(11), []
    for _ in range(40):
        test = RatioTest((2.0, 3.0))
        for tick in itertools.count(1):
            test.observe(
                ArmCounts(100, binomial(draw, 100, 0.01)),
                ArmCounts(100, binomial(draw, 100, 0.01)),
            )
            if test.not_worse_than(0.05) == 2.0:
                needed.append(100 * tick)
                break
    assert 1_000 <= sorted(needed)[20] <= 4_000


@pytest.mark.simulation
def test_an_arm_at_the_bound_is_hardly_ever_shown_to_be_below() -> None:
    draw, wrong, runs = random.Random(13), 0, 80
    for _ in range(runs):
        test = RatioTest((2.0,))
        for _ in range(100):
            test.observe(
                ArmCounts(100, binomial(draw, 100, 0.02)),
                ArmCounts(100, binomial(draw, 100, 0.01)),
            )
            if test.not_worse_than(0.05):
                wrong += 1
                break
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_quiet_arm_is_below_a_ceiling_after_enough_units() -> None:
    needed = math.log(1 / 0.05)
    units = math.ceil((needed + math.log(len(CEILING_PARTS))) / 0.001)
    test = CeilingTest(0.001)
    test.observe(ArmCounts(2_990, 0))
    assert test.log_e < needed
    test.observe(ArmCounts(units - 2_990, 0))
    assert test.log_e >= needed


def test_one_event_is_not_held_against_an_arm_for_ever() -> None:
    test = CeilingTest(0.01)
    test.observe(ArmCounts(10, 1))
    assert test.log_e < 0
    test.observe(ArmCounts(5_000, 5))
    assert test.log_e > math.log(20)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_sums_of_logarithms(logs: list[float]) -> None:
    total = math.fsum(math.exp(one) for one in logs)
    assert log_sum(logs) == pytest.approx(math.log(total), abs=1e-9)
    assert log_mean(logs) == pytest.approx(math.log(total / len(logs)), abs=1e-9)
    assert log_sum((-math.inf, -math.inf)) == -math.inf


# === published results ===
#
# savvi 0.3 (github.com/assuncaolfi/savvi) has worked examples of Lindon and Malek 2022,
# with data drawn by numpy.random.seed(1): a mixture of such likelihood ratios, with a
# Dirichlet prior of concentration 100 about what is expected. Here the mixture is a sum
# over a grid of `log_share_gain`; with three kinds it is the product of one kind against
# the others and of these two.


class Mixture:
    """A mixture over shares of one arm's events, by Beta(k share, k (1 - share))."""

    def __init__(self, share: float, k: float, points: int = 1000) -> None:
        a, b, size = k * share, k * (1 - share), 10**9
        whole = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        ours = round(share * size)
        sizes = ours, size - ours
        self.logs, self.gains = [], []
        for point in range(points):
            true = (point + 0.5) / points
            log = (a - 1) * math.log(true) + (b - 1) * math.log1p(-true) - whole
            ratio = true / (1 - true) * (1 - share) / share
            self.logs.append(log - math.log(points))
            self.gains.append(
                [
                    log_share_gain(
                        ArmCounts(sizes[0], event),
                        ArmCounts(sizes[1], 1 - event),
                        ratio,
                        1.0,
                    )
                    for event in (0, 1)
                ]
            )

    def see(self, event: bool) -> None:
        pairs = zip(self.logs, self.gains, strict=True)
        self.logs = [log + gains[event] for log, gains in pairs]

    @property
    def log_e(self) -> float:
        return log_sum(self.logs)


def as_numpy(seed: int) -> random.Random:
    """Numbers as numpy's legacy generator gives them: the same twister, seeded as it does."""
    state = [seed]
    for at in range(1, 624):
        before = state[-1] ^ (state[-1] >> 30)
        state.append((1812433253 * before + at) & 0xFFFFFFFF)
    draw = random.Random()
    draw.setstate((3, (*state, 624), None))
    return draw


def one_of(draw: random.Random, parts: list[float]) -> int:
    """One draw of several kinds, as `numpy.random.multinomial(1, parts)` makes it."""
    left = 1.0
    for at, part in enumerate(parts[:-1]):
        share, drawn = part / left, draw.random()
        if drawn > 1 - share if share <= 0.5 else drawn <= share:
            return at
        left -= part
    return len(parts) - 1


def test_a_published_result_of_three_kinds() -> None:
    draw = as_numpy(1)
    first, second = Mixture(0.1, 100), Mixture(0.4 / 0.9, 90)
    n, p_value = 0, 1.0
    while p_value > 0.05:
        n += 1
        kind = one_of(draw, [0.1, 0.3, 0.6])
        first.see(kind == 0)
        if kind:
            second.see(kind == 1)
        p_value = math.exp(-first.log_e - second.log_e)
    assert n == 402
    assert p_value == pytest.approx(0.04845591105969517, rel=1e-5)


def test_a_published_result_of_a_canary() -> None:
    draw, mixture = as_numpy(1), Mixture(0.8, 100)
    rates = [0.8 * math.exp(1.5), 0.2 * math.exp(2)]
    n, p_value = 0, 1.0
    while p_value > 0.05:
        n += 1
        mixture.see(one_of(draw, [rate / sum(rates) for rate in rates]) == 0)
        p_value = math.exp(-mixture.log_e)
    assert n == 210
    assert p_value == pytest.approx(0.045579631759249686, rel=1e-6)
