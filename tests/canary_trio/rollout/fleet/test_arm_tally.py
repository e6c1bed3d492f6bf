"""The counts of one proxy: of requests, of users once, and that they only grow."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.fleet.arm_tally import (
    MOST_FAILED,
    SLOTS,
    ArmTally,
    Counting,
    CountingRule,
)
from canary_trio.rollout.fleet.published import ProxyEvidence
from canary_trio.rollout.latency import interval_of

BY_REQUEST = CountingRule("w", ("canary", "stable"))
BY_USER = CountingRule("w", ("canary", "stable"), by_user=True)


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


@pytest.mark.parametrize("users", [100, SLOTS // 2, SLOTS])
def test_many_users_are_estimated(users: int) -> None:
    tally = ArmTally(BY_USER)
    draw = random.Random(1)
    for _ in range(users):
        count(tally, 0.02, draw.randbytes(12), failed=False)
    assert tally.sums().users == pytest.approx(users, rel=0.02)


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 100))),
)
def test_counts_only_grow_and_can_be_told(
    by_user: bool, requests: list[tuple[int, bool, float]]
) -> None:
    counting = Counting(BY_USER if by_user else BY_REQUEST, "e")
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
        before = now
