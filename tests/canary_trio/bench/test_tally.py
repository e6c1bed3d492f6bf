"""What becomes of requests, by when they were due; and that a stall cannot hide."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.bench.comparison import value_of
from canary_trio.bench.schedule import due_times
from canary_trio.bench.tally import (
    MOST_TICKS,
    TIMEOUT,
    LoadTally,
    side_by_side,
    together,
)
from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.latency import interval_of


def test_what_was_due_in_the_warm_up_is_left_out() -> None:
    tally = LoadTally(100.0)
    tally.responded(99.99, 5.0, 500, 10)
    tally.failed(99.0, TIMEOUT, 10.0)

    assert tally.result().requests == 0
    assert tally.result().slowest_s == 0


def test_responses_and_failures_are_counted_apart() -> None:
    tally = LoadTally(0.0)
    tally.responded(0.01, 0.020, 200, 10)
    tally.responded(0.15, 0.040, 503, 20)
    tally.failed(0.16, "refused")
    tally.failed(0.17, TIMEOUT, 10.0)

    found = tally.result()

    assert [(tick.requests, tick.errors) for tick in found.ticks] == [(1, 0), (3, 3)]
    assert found.statuses == {200: 1, 503: 1}
    assert found.failures == {"5xx": 1, "refused": 1, TIMEOUT: 1}
    assert found.received == 30
    assert found.slowest_s == 10.0
    slow = {interval_of(0.02): 1, interval_of(0.04): 1, interval_of(10.0): 1}
    assert dict(found.latencies) == slow  # who is refused at once waited for nothing


RATES = {
    "those that came": ([(0.0, 0.1), (0.5, 0.1), (1.5, 0.1)], 2.0, 1.5),
    "what was due before it began too": ([(-0.5, 1.0), (1.0, 0.5)], 2.0, 1.0),
    "what came before it began not": ([(-0.5, 0.2), (1.0, 0.5)], 2.0, 0.5),
    "what came behind its end not": ([(1.0, 0.5), (1.0, 9.0)], 2.0, 0.5),
    "until the last that was asked for came": ([(0.0, 0.1), (0.1, 1.9)], 0.2, 1.0),
    "nothing": ([], 2.0, 0.0),
    "nothing in no time": ([], 0.0, 0.0),
}


@pytest.mark.parametrize(("came", "wall_s", "rate"), RATES.values(), ids=RATES)
def test_a_rate_is_of_responses_that_came_meanwhile(
    came: list[tuple[float, float]], wall_s: float, rate: float
) -> None:
    tally = LoadTally(0.0, 2.0)
    for due, took_s in came:
        tally.responded(due, took_s, 200, 1)
    for due in (0.0, 0.5, 1.0):
        tally.failed(due, TIMEOUT, 0.5)
        tally.failed(due, "refused")

    assert tally.result().rate(wall_s) == pytest.approx(rate)


ticks = st.builds(
    lambda requests, slow: ArmTick(requests + slow, 0, latencies={slow: requests}),
    st.integers(0, 50),
    st.integers(0, 300),
)


@given(st.lists(ticks, max_size=40), st.lists(ticks, max_size=40), st.integers(1, 9))
def test_ticks_side_by_side_lose_nothing(
    one: list[ArmTick], other: list[ArmTick], most: int
) -> None:
    pairs = side_by_side(one, other, most)

    assert len(pairs) <= most
    for at, ticks_of in enumerate((one, other)):
        assert together(pair[at] for pair in pairs) == together(ticks_of)


@settings(max_examples=30)
@given(
    st.lists(st.floats(0, 5000), min_size=1, max_size=60),
    st.lists(st.floats(0, 5000), max_size=60),
)
def test_a_long_measurement_has_longer_ticks_which_lose_nothing(
    dues: list[float], others: list[float]
) -> None:
    one, other = LoadTally(0.0), LoadTally(0.0)
    for tally, times in ((one, dues), (other, others)):
        for due in times:
            tally.responded(due, 0.02, 503 if due > 2500 else 200, 1)
    found, beside = one.result(), other.result()

    assert found.requests == len(dues)
    assert found.errors == sum(due > 2500 for due in dues)
    assert len(found.ticks) <= 2 * MOST_TICKS
    longer = max(found.tick_s, beside.tick_s)
    for result in (found, beside):
        assert together(result.ticks_of(longer)) == together(result.ticks)
    assert side_by_side(found.ticks_of(longer), beside.ticks_of(longer))


def served_by_one(dues: Iterable[float], stall: tuple[float, float]) -> LoadTally:
    """Let a server that takes 1 ms for each, one after another, stall once."""
    tally, free = LoadTally(0.0), 0.0
    for due in dues:
        begins = max(due, free)
        if stall[0] <= begins < stall[1]:
            begins = stall[1]
        free = begins + 0.001
        tally.responded(due, free - due, 200, 1)
    return tally


def test_a_stall_of_a_second_is_in_the_tail_of_the_open_loop() -> None:
    times = due_times(100, 1, 0.0, random.Random(1))
    dues = [due for due, _ in takewhile(lambda one: one[0] < 10, times)]

    found = served_by_one(dues, stall=(5.0, 6.0)).result()

    assert found.requests == 1000
    p50, p95, p99 = (value_of(found, part) for part in (0.5, 0.95, 0.99))
    assert p50 is not None
    assert p95 is not None
    assert p99 is not None
    assert p50 < 0.002
    assert p95 > 0.4  # a tenth came in that second, and waited half of it in the mean
    assert p99 > 0.8
    assert found.slowest_s > 0.99


def test_who_waits_for_responses_would_not_have_seen_it() -> None:
    """The same server, asked by the closed loop that the open one is in place of."""
    tally, now = LoadTally(0.0), 0.0
    while now < 10:
        done = (6.0 if 5.0 <= now < 6.0 else now) + 0.001
        tally.responded(now, done - now, 200, 1)
        now = done

    p99 = value_of(tally.result(), 0.99)

    assert p99 is not None
    assert p99 < 0.002
