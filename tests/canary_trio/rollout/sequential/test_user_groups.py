"""Failures that hang together by user: exact where that can be counted out."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.evidence import GROUPS, GroupCounts
from canary_trio.rollout.sequential.user_groups import (
    BELIEFS,
    GroupTest,
    log_group_gain,
)
from canary_trio.rollout.simulation import binomial

SEEN = [
    pytest.param(None, id="nothing"),
    pytest.param(((40, 10, 10), (9, 0, 0)), id="one fails often"),
    pytest.param(((10, 20, 30), (1, 2, 3)), id="each has its share"),
    pytest.param(((0, 0, 50), (0, 0, 0)), id="nothing failed"),
]


def counts(requests: tuple[int, ...], failed: tuple[int, ...]) -> GroupCounts:
    """Give counts of a few groups; the others have no requests."""
    rest = (0,) * (GROUPS - len(requests))
    return GroupCounts(requests + rest, failed + rest)


def all_failed(sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size + 1) for size in sizes))


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (4, 4, 4), (1, 2, 9), (12, 0, 1), (6, 6, 0)]
)
def test_requests_that_fail_alike_gain_nothing(
    sizes: tuple[int, ...], seen: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> None:
    """The mean of a tick's factor, over all that can happen, for each number of failures."""
    before = None if seen is None else counts(*seen)
    for belief in BELIEFS:
        means = [0.0] * (sum(sizes) + 1)
        for failed in all_failed(sizes):
            ways = math.prod(map(math.comb, sizes, failed))
            share = ways / math.comb(sum(sizes), sum(failed))
            gain = log_group_gain(counts(sizes, failed), before, belief)
            means[sum(failed)] += share * math.exp(gain)
        assert max(means) <= 1 + 1e-9
        assert means[:2] == pytest.approx([1, 1])  # there drawn back or not is the same


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), min_size=4, max_size=4),
    st.sampled_from(BELIEFS),
)
def test_any_counts_give_a_number(
    now: list[tuple[int, int]], before: list[tuple[int, int]], belief: float
) -> None:
    told, seen = (
        counts(tuple(n + x for n, x in some), tuple(x for _, x in some))
        for some in (now, before)
    )
    gain = log_group_gain(told, seen, belief)
    assert math.isfinite(gain)
    if not any(told.failed):
        assert gain == pytest.approx(0)


def drawn(draw: random.Random, rates: list[float], asked: int = 6) -> GroupCounts:
    failed = tuple(binomial(draw, asked, rate) for rate in rates)
    return GroupCounts((asked,) * GROUPS, failed)


@pytest.mark.simulation
@pytest.mark.parametrize("rate", [0.005, 0.2])
def test_it_is_seldom_wrong_however_often_one_looks(rate: float) -> None:
    draw, wrong, alpha = random.Random(5), 0, 0.1
    for _ in range(60):
        test = GroupTest()
        for tick in range(30):
            outage = 3 if tick % 9 == 0 else 1  # the rate of all changes
            both = (min(1.0, rate * outage), rate / 2)
            test.observe([drawn(draw, [one] * GROUPS) for one in both])
            if test.log_e >= math.log(1 / alpha):
                wrong += 1
                break
    assert wrong <= 6 + 3 * 2.4  # alpha of 60, and three standard deviations


def test_two_groups_that_fail_often_are_seen_and_so_is_one_burst() -> None:
    draw, often = random.Random(5), GroupTest()
    rates = [0.0] * (GROUPS - 2) + [0.5, 0.3]
    for _ in range(4):
        often.observe([drawn(draw, rates), None])
    assert often.log_e > math.log(1000)
    burst = GroupTest()
    burst.observe([GroupCounts((6,) * GROUPS, (5,) + (0,) * (GROUPS - 1))])
    assert burst.log_e > math.log(1000)


def test_what_is_learnt_is_not_judged_and_goes_on_alike() -> None:
    draw = random.Random(7)
    rates = [0.2] * 3 + [0.01] * (GROUPS - 3)
    ticks = [[drawn(draw, rates), drawn(draw, rates)] for _ in range(12)]
    one, other = GroupTest(), GroupTest()
    for tick in ticks[:6]:
        one.observe(tick)
    other.restore(one.state())
    for at in range(6):
        other.learn(ticks[at])
    assert other.log_e == one.log_e
    for tick in ticks[6:]:
        one.observe(tick)
        other.observe(tick)
    assert other.log_e == one.log_e


@pytest.mark.parametrize("bad", [((1,) * GROUPS, (2,) * GROUPS), ((1,), (0,))])
def test_no_group_fails_more_often_than_it_asks(
    bad: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(ValueError, match=r"groups|failed"):
        GroupCounts(*bad)


def test_who_tells_less_than_before_tells_nothing() -> None:
    before = counts((5, 5), (2, 0))
    now = counts((9, 5), (3, 0))
    assert now.more_than(before) == counts((4, 0), (1, 0))
    assert now.more_than(None) == now
    assert counts((9, 5), (1, 0)).more_than(before) is None
    assert counts((4, 9), (2, 0)).more_than(before) is None
