"""Passive checks: when a server is out, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.policies import Ejection
from canary_trio.upstream.outlier_detection import OutlierRecord

RULE = Ejection(failures=3, time=10.0, longest=25.0)


def test_only_failures_in_a_row_take_it_out() -> None:
    record = OutlierRecord()
    assert [record.failed(RULE) for _ in range(2)] == [False, False]
    record.succeeded()
    assert [record.failed(RULE) for _ in range(3)] == [False, False, True]


def test_each_time_is_longer_up_to_a_limit() -> None:
    record = OutlierRecord()
    now = 100.0
    lasted = []
    for _ in range(4):
        until = record.ejected(RULE, now)
        lasted.append(until - now)
        now = until
        record.came_back(now)

    assert lasted == [10, 20, 25, 25]


def test_time_in_service_forgives() -> None:
    record = OutlierRecord()
    for now in (100.0, 200.0):  # the times are 1 and, 9 periods later, 1 again
        assert record.ejected(RULE, now) == now + 10
        record.came_back(now + 10)
    assert record.ejected(RULE, 211.0) == 231


def test_after_it_came_back_one_failure_is_enough_until_a_success() -> None:
    record = OutlierRecord()
    record.ejected(RULE, 0.0)
    record.came_back(10.0)
    assert record.failed(RULE)
    record.ejected(RULE, 10.0)
    record.came_back(30.0)
    record.succeeded()
    assert not record.failed(RULE)


@given(st.lists(st.booleans(), max_size=50))
def test_zero_failures_is_never(outcomes: list[bool]) -> None:
    record = OutlierRecord()
    for ok in outcomes:
        if ok:
            record.succeeded()
        else:
            assert not record.failed(Ejection(failures=0))
