"""Failures that are those of a few users: which unit bears them, and which does not."""

from __future__ import annotations

import pytest

from canary_trio.rollout.user_simulation import Crowd, Unit, false_alarms

CROWD = Crowd(ticks=200)


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


def test_a_simulation_of_users_is_the_same_each_time() -> None:
    crowd = Crowd(ticks=20)
    once = false_alarms(Unit.REQUESTS_OF_USERS, crowd, runs=5, seed=1)
    assert once == false_alarms(Unit.REQUESTS_OF_USERS, crowd, runs=5, seed=1)
