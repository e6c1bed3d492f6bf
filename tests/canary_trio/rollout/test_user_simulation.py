"""Failures and slowness of a few users: which unit bears them, and which does not."""

from __future__ import annotations

import pytest

from canary_trio.rollout.user_simulation import (
    Crowd,
    Unit,
    false_alarms,
    users_until_alarm,
)

CROWD = Crowd(ticks=200)
SLOW = Crowd(users=500, ticks=60, failing=0.05, slow=1.0)


@pytest.mark.simulation
@pytest.mark.parametrize("unit", [Unit.USERS, Unit.REQUESTS])
def test_what_proxies_count_raises_no_alarm(unit: Unit) -> None:
    found = false_alarms(unit, CROWD, runs=20, seed=1)
    assert found.regressions == 0  # of 20, at an alpha of 1 %


@pytest.mark.simulation
def test_requests_of_users_who_keep_their_arm_would_raise_them() -> None:
    found = false_alarms(Unit.REQUESTS_OF_USERS, CROWD, runs=20, seed=1)
    assert found.regressions >= 3
    assert found.unsound <= found.regressions


def test_slow_users_raise_no_alarm_as_proxies_count() -> None:
    found = false_alarms(Unit.USERS, SLOW, runs=24, seed=1)
    assert found.regressions == 0  # of 24, at an alpha of 1 %


def test_their_requests_counted_would_raise_them() -> None:
    found = false_alarms(Unit.REQUESTS_OF_USERS, SLOW, runs=24, seed=1)
    assert found.regressions >= 5


def test_how_many_users_it_takes_to_see_that_all_are_slower() -> None:
    crowd = Crowd(users=30_000, failing=0, slow=0)
    _, users = users_until_alarm(crowd, 1.2, runs=8, seed=1)
    median, most = users.quantile(0.5), users.quantile(0.9)
    assert median is not None
    assert most is not None
    assert median <= 2_500
    assert most <= 4_000


def test_a_simulation_of_users_is_the_same_each_time() -> None:
    crowd = Crowd(ticks=10, steps=2)
    once = false_alarms(Unit.REQUESTS_OF_USERS, crowd, runs=5, seed=1)
    assert once == false_alarms(Unit.REQUESTS_OF_USERS, crowd, runs=5, seed=1)
