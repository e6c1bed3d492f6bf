"""Bounds that hold whenever one looks: against what is known, and by simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.bench.intervals import (
    QuantileRatio,
    error_ratio_interval,
    quantile_interval,
    share_interval,
)
from canary_trio.rollout.evidence import ArmCounts, ArmTick
from canary_trio.rollout.latency import bound_of, interval_of, quantile
from canary_trio.rollout.simulation import binomial

MEDIAN_S, SPREAD = 0.02, 0.8


def drawn(draw: random.Random, requests: int, times: float = 1.0) -> ArmTick:
    latencies: dict[int, int] = {}
    for _ in range(requests):
        at = interval_of(MEDIAN_S * times * math.exp(draw.gauss(0, SPREAD)))
        latencies[at] = latencies.get(at, 0) + 1
    return ArmTick(requests, 0, latencies=latencies)


# === one share ===


@pytest.mark.parametrize(
    ("events", "units"), [(0, 1000), (1000, 1000), (100, 1000), (1, 50), (7, 9)]
)
def test_a_share_is_bounded_where_betting_against_it_pays(
    events: int, units: int
) -> None:
    """The mixture is the bet of Krichevsky and Trofimov, which is told event by event."""
    low, high = share_interval(ArmCounts(units, events), 0.01)

    def won(share: float) -> float:
        log = sum(math.log((seen + 0.5) / (seen + 1)) for seen in range(events))
        for seen in range(units - events):
            log += math.log((seen + 0.5) / (events + seen + 1))
        log -= events * math.log(share) + (units - events) * math.log1p(-share)
        return math.exp(log)

    ends = [end for end in (low, high) if 0 < end < 1]
    assert len(ends) == (1 if events in (0, units) else 2)
    assert [won(end) for end in ends] == pytest.approx([100.0] * len(ends))


def test_of_nothing_nothing_is_known() -> None:
    assert share_interval(ArmCounts(0, 0), 0.01) == (0.0, 1.0)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(1e-6, 0.5))
def test_a_share_lies_within_its_bounds_and_less_alpha_widens_them(
    events: int, fine: int, alpha: float
) -> None:
    counts = ArmCounts(events + fine, events)
    low, high = share_interval(counts, alpha)
    wider_low, wider_high = share_interval(counts, alpha / 10)

    found = events / counts.at_risk if counts.at_risk else 0.5
    assert 0 <= wider_low <= low <= found <= high <= wider_high <= 1


@pytest.mark.simulation
def test_a_share_is_within_its_bounds_at_all_times_together() -> None:
    draw, missed = random.Random(11), 0
    for _ in range(100):
        events, is_missed = 0, False
        for tick in range(1, 21):
            events += binomial(draw, 100, 0.03)
            low, high = share_interval(ArmCounts(100 * tick, events), 0.1)
            is_missed |= not low <= 0.03 <= high
        missed += is_missed

    assert missed <= 10 + 3 * math.sqrt(100 * 0.1 * 0.9)


# === one quantile ===


@pytest.mark.simulation
@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_a_quantile_is_within_its_bounds_at_all_times_together(part: float) -> None:
    draw, missed = random.Random(12), 0
    normal = {0.5: 0.0, 0.9: 1.2815515655, 0.99: 2.3263478740}[part]
    true_s = MEDIAN_S * math.exp(SPREAD * normal)
    for _ in range(40):
        seen: dict[int, int] = {}
        is_missed = False
        for _ in range(10):
            for at, count in drawn(draw, 100).latencies.items():
                seen[at] = seen.get(at, 0) + count
            low, high = quantile_interval(seen, part, 0.1)
            is_missed |= not low <= true_s <= high
        missed += is_missed

    assert missed <= 4 + 3 * math.sqrt(40 * 0.1 * 0.9)


@given(
    st.dictionaries(st.integers(0, 300), st.integers(1, 200), min_size=1),
    st.floats(0.01, 0.99),
)
def test_a_quantile_lies_within_its_bounds(
    latencies: dict[int, int], part: float
) -> None:
    low, high = quantile_interval(latencies, part, 0.01)

    assert low <= bound_of(quantile(latencies, part)) <= high


# === B to A ===


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("part", "true", "drifts"),
    [
        pytest.param(0.5, 1.0, False, id="alike"),
        pytest.param(0.5, 1.2, True, id="median, slower, and the machine drifts"),
        pytest.param(0.9, 0.8, True, id="p90, faster, and the machine drifts"),
        pytest.param(0.97, 1.5, True, id="tail, slower, and the machine drifts"),
    ],
)
def test_a_ratio_is_within_its_bounds_at_all_times_together(
    part: float, true: float, drifts: bool
) -> None:
    draw, missed, runs = random.Random(13), 0, 40
    for _ in range(runs):
        test, is_missed = QuantileRatio(part), False
        for _ in range(10):
            now = draw.uniform(0.5, 2) if drifts else 1.0
            test.observe(drawn(draw, 100, now), drawn(draw, 100, now * true))
            low, high = test.interval(0.1)
            is_missed |= not low <= true <= high
        missed += is_missed

    assert missed <= runs * 0.1 + 3 * math.sqrt(runs * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("part", "true", "low", "high"),
    [
        pytest.param(0.5, 1.5, 1.3, 1.75, id="median"),
        pytest.param(0.9, 1.5, 1.3, 1.75, id="p90"),
        pytest.param(0.9, 0.5, 0.42, 0.6, id="half as slow"),
    ],
)
def test_bounds_are_near_once_there_is_much(
    part: float, true: float, low: float, high: float
) -> None:
    draw, test = random.Random(14), QuantileRatio(part)
    for _ in range(20):
        test.observe(drawn(draw, 500), drawn(draw, 500, true))

    found = test.interval(0.01)

    assert low < found[0] <= true <= found[1] < high


def test_before_there_is_anything_nothing_is_known() -> None:
    test = QuantileRatio(0.99)
    test.observe(ArmTick(0, 0), ArmTick(5, 0, latencies={7: 5}))

    assert test.interval(0.01) == (0.0, math.inf)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 300), st.integers(1, 99), max_size=4),
            st.dictionaries(st.integers(0, 300), st.integers(1, 99), max_size=4),
        ),
        max_size=6,
    ),
    st.sampled_from([0.5, 0.9]),
)
def test_what_one_side_refutes_the_other_does_not(
    pairs: list[tuple[dict[int, int], dict[int, int]]], part: float
) -> None:
    test = QuantileRatio(part)
    for one, other in pairs:
        test.observe(
            ArmTick(sum(one.values()), 0, latencies=one),
            ArmTick(sum(other.values()), 0, latencies=other),
        )
    wide, narrow = test.interval(1e-6), test.interval(0.01)

    assert wide[0] <= narrow[0]
    assert narrow[1] <= wide[1]


def test_a_ratio_of_errors_is_the_judges_own() -> None:
    pairs = [(ArmTick(1000, 10), ArmTick(1000, 40))] * 5

    low, high = error_ratio_interval(pairs, 0.01)

    assert 2 < low < 4 < high < 8
