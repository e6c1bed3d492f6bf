"""The counts of one proxy: of requests, of users once, and that they only grow."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.fleet.arm_tally import (
    KNOWN,
    MOST_FAILED,
    SLOTS,
    TIMED_REQUESTS,
    ArmTally,
    Counting,
    CountingRule,
    GroupedTally,
)
from canary_trio.rollout.fleet.published import ProxyEvidence
from canary_trio.rollout.latency import interval_of

BY_REQUEST = CountingRule("w", ("canary", "stable"))
BY_USER = CountingRule("w", ("canary", "stable"), by_user=True)
GROUPED = attrs.evolve(BY_USER, errors_by_request=True)


def count(tally: ArmTally, seconds: float, user: bytes | None, *, failed: bool) -> None:
    if failed:
        tally.add(user, failed=True)
    else:
        tally.answered(seconds, user)


def test_requests_are_counted_one_by_one() -> None:
    tally = ArmTally(BY_REQUEST)
    for failed in (False, True, False, True):
        count(tally, 0.02, b"u", failed=failed)
    sums = tally.sums()
    assert (sums.requests, sums.errors, sums.users) == (4, 2, None)
    assert sums.latencies == {interval_of(0.02): 2}  # what failed took no time
    assert sums.latest == ()


def test_what_took_no_time_has_no_latency() -> None:
    tally = ArmTally(BY_REQUEST)
    tally.add(None, failed=False)
    assert tally.requests == 1
    assert tally.sums().latencies == {}


def test_a_user_fails_once() -> None:
    tally = ArmTally(BY_USER)
    for user, failed in ((b"a", True), (b"a", True), (b"b", False), (b"a", False)):
        count(tally, 0.02, user, failed=failed)
    sums = tally.sums()
    assert (sums.requests, sums.errors, sums.users) == (4, 1, 2)
    assert sums.failed == len(sums.latest) == 1


def test_a_user_is_timed_once_by_the_first_that_did_not_fail() -> None:
    tally = ArmTally(BY_USER)
    for seconds, failed in ((0.1, True), (0.2, False), (0.3, False), (0.4, True)):
        count(tally, seconds, b"a", failed=failed)
    slot = hash(b"a") % SLOTS
    assert tally.slots[slot] >= KNOWN
    tally.end_tick()
    sums = tally.sums()
    assert (sums.requests, sums.errors, sums.users, sums.timed) == (4, 1, 1, 1)
    assert [interval for _, interval in sums.newest] == [interval_of(0.2)]
    assert sums.latencies == {}


def test_of_very_many_requests_a_part_is_timed_all_through_a_tick() -> None:
    tally, ticks, most = ArmTally(BY_REQUEST), 40, 6 * TIMED_REQUESTS
    now = tally.sums()
    for tick in range(1 + ticks):  # the first one is timed whole: nobody knew
        before = now
        for number in range(most):
            tally.answered((1 + 3 * number // most) / 10)
        tally.end_tick()
        now = tally.sums()
        timed = sum(now.latencies.values()) - sum(before.latencies.values())
        assert now.requests - before.requests == most
        assert (timed == most) if not tick else (timed < 1.3 * TIMED_REQUESTS)
    expected = ticks * TIMED_REQUESTS / 3
    for third in (0.1, 0.2, 0.3):
        found = now.latencies[interval_of(third)] - most / 3
        assert abs(found - expected) < 5 * expected**0.5
    for _ in range(TIMED_REQUESTS):
        tally.answered(7.0)
    tally.end_tick()
    for _ in range(TIMED_REQUESTS):
        tally.answered(8.0)
    assert tally.sums().latencies[interval_of(8.0)] == TIMED_REQUESTS


def test_who_has_no_key_yet_is_somebody_each_time() -> None:
    tally = ArmTally(BY_USER)
    for failed in (True, True, False):
        count(tally, 0.02, None, failed=failed)
    sums = tally.sums()
    assert (sums.errors, sums.users, sums.failed, sums.latest) == (2, 3, 0, ())


def test_the_latest_who_failed_are_told_by_hashes() -> None:
    tally, other = ArmTally(BY_USER), ArmTally(BY_USER)
    for number in range(3 * MOST_FAILED):
        count(tally, 0.02, b"%d" % number, failed=True)
    count(other, 0.02, b"%d" % number, failed=True)
    sums = tally.sums()
    assert sums.failed > len(sums.latest) == MOST_FAILED
    assert sums.latest[-1:] == other.sums().latest  # alike at all proxies
    elsewhere = ArmTally(CountingRule("another", ("canary",), by_user=True))
    count(elsewhere, 0.02, b"%d" % number, failed=True)
    assert elsewhere.sums().latest != other.sums().latest


def test_errors_count_by_request_and_by_groups_of_users() -> None:
    tally = GroupedTally(GROUPED)
    for user, failed in ((b"a", True), (b"a", True), (b"b", False), (b"a", False)):
        count(tally, 0.02, user, failed=failed)
    for failed in (True, False):  # who has no key is in no group, and counts
        count(tally, 0.02, None, failed=failed)
    tally.take(0.02, None, b"new")  # nor is who is given one only now
    tally.end_tick()
    sums = tally.sums()
    assert (sums.requests, sums.errors, sums.users) == (6, 3, None)
    assert sums.latest == ()
    assert sums.timed == 3  # latency is of users: a, b and the new one
    assert sums.groups is not None
    assert sorted(sums.groups.requests)[-3:] == [0, 1, 3]
    assert sorted(sums.groups.failed)[-2:] == [0, 2]
    assert max(tally.slots) < KNOWN  # nobody is passed over


def test_a_user_is_in_the_same_group_at_each_proxy() -> None:
    tally = GroupedTally(GROUPED)
    tally.add(b"ann", failed=True)
    groups = tally.sums().groups
    assert groups is not None
    assert groups.requests.index(1) == 51  # of no hash that differs by process
    draw = random.Random(1)
    for _ in range(20_000):
        tally.add(draw.randbytes(12), failed=False)
        tally.add(b"user-%06d" % draw.randrange(10**6), failed=False)
    spread = tally.sums().groups
    assert spread is not None
    assert min(spread.requests) > 500  # of 625 that each has in the mean


@pytest.mark.parametrize("users", [100, SLOTS // 2, SLOTS])
def test_many_users_are_estimated(users: int) -> None:
    tally = ArmTally(BY_USER)
    draw = random.Random(1)
    for _ in range(users):
        count(tally, 0.02, draw.randbytes(12), failed=False)
    assert tally.sums().users == pytest.approx(users, rel=0.02)


@given(
    st.sampled_from([BY_REQUEST, BY_USER, GROUPED]),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 100))),
)
def test_counts_only_grow_and_can_be_told(
    rule: CountingRule, requests: list[tuple[int, bool, float]]
) -> None:
    counting = Counting(rule, "e")
    before = counting.evidence().arms["canary"]
    for user, failed, seconds in requests:
        key = b"%d" % user if user else None
        count(counting.tallies["canary"], seconds, key, failed=failed)
        told = counting.evidence()
        assert ProxyEvidence.load(told.dump()) == told
        now = told.arms["canary"]
        assert now.requests == before.requests + 1
        assert 0 <= now.errors - before.errors <= 1
        assert (now.users or 0) >= (before.users or 0)
        assert all(now.latencies[at] >= n for at, n in before.latencies.items())
        assert now.timed >= before.timed
        before = now
