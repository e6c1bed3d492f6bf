"""Users who are timed: each once, wherever he comes, and of many each with the same chance."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.fleet.arm_tally import SLOTS, ArmTally, CountingRule
from canary_trio.rollout.fleet.published import ArmSums
from canary_trio.rollout.fleet.sums import NOTHING, NewCounts
from canary_trio.rollout.fleet.timed_users import (
    NUMBERS,
    TIMED,
    TOLD,
    TOLD_TICKS,
    FirstTimes,
    TimedUsers,
)
from canary_trio.rollout.latency import interval_of

BY_USER = CountingRule("w", ("canary", "stable"), by_user=True)


def users(*, window: str = "w") -> tuple[TimedUsers, bytearray]:
    slots = bytearray(SLOTS + 1)
    return TimedUsers(window, random.Random(1).random, slots), slots


def test_a_user_is_told_when_the_tick_has_ended_and_for_some_more() -> None:
    timed, slots = users()
    timed.offer(b"a", 0.02, 7)
    assert (timed.count, timed.newest) == (0, ())
    assert slots[7] == TIMED
    for _ in range(TOLD_TICKS):
        timed.end_tick()
        ((number, interval),) = timed.newest
        assert (timed.count, interval) == (1, interval_of(0.02))
        assert 0 <= number < NUMBERS
    timed.end_tick()
    assert (timed.count, timed.newest) == (1, ())


def test_who_has_no_slot_leaves_no_mark() -> None:
    timed, slots = users()
    for number in range(3 * TOLD):
        timed.offer(b"%d" % number, 0.02)
    assert not any(slots)


def test_a_user_has_one_number_at_all_proxies_and_another_in_another_step() -> None:
    found = []
    for window in ("w", "w", "another"):
        timed, _ = users(window=window)
        timed.offer(b"a", 0.02)
        timed.end_tick()
        found.append(timed.newest[0][0])
    assert found[0] == found[1] != found[2]


def test_of_many_each_has_the_same_chance_whenever_it_comes() -> None:
    """Thirds of a tick are told alike often, and who was not told may come again."""
    third, thirds = 4 * TOLD, Counter[int]()
    for seed in range(60):
        slots = bytearray(SLOTS + 1)
        timed = TimedUsers("w", random.Random(seed).random, slots)
        for number in range(3 * third):
            timed.offer(b"%d" % number, (1 + number // third) / 10, number)
        timed.end_tick()
        assert len(timed.newest) == sum(map(bool, slots)) == TOLD
        thirds.update(interval for _, interval in timed.newest)
    expected = 60 * TOLD / 3
    assert len(thirds) == 3
    assert all(abs(n - expected) < 5 * expected**0.5 for n in thirds.values())


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=8))
def test_each_is_new_once(looks: list[list[int]]) -> None:
    first, known = FirstTimes(), set[int]()
    for look in looks:
        found = first.new((number * 7919 % NUMBERS, number) for number in look)
        assert found == [n for n in dict.fromkeys(look) if n not in known]
        known.update(look)


def test_a_user_who_comes_to_every_proxy_counts_once() -> None:
    """Also where he was given his key at one of them; without a key each is somebody."""
    proxies = [ArmTally(BY_USER, str(number)) for number in range(3)]
    before: list[ArmSums] = [NOTHING] * 3
    new, failed, first = NewCounts(), set[bytes](), FirstTimes()
    for _ in range(4):
        for at, tally in enumerate(proxies):
            tally.answered(0.3, None, b"given")
            tally.answered(0.3, None, None)
            for user in range(20):
                tally.answered(0.02, b"%d" % user)
                tally.answered(5.0, b"given")
            tally.end_tick()
            now = tally.sums()
            new.add(now, before[at], failed, first)
            before[at] = now
    assert new.requests == 4 * 3 * 42
    assert sum(new.latencies.values()) == 20 + 1 + 12
    assert new.latencies == {interval_of(0.02): 20, interval_of(0.3): 13}


def test_a_tick_that_was_not_read_is_read_with_the_next() -> None:
    tally, first = ArmTally(BY_USER), FirstTimes()
    read, before = NewCounts(), NOTHING
    for tick in range(6):
        tally.answered(0.02, b"%d" % tick)
        tally.end_tick()
        if tick % TOLD_TICKS:
            now = tally.sums()
            read.add(now, before, set(), first)
            before = now
    assert read.latencies == {interval_of(0.02): 6}
