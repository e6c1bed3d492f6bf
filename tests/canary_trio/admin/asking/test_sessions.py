"""Who fails too often has to wait; the others need not, and little is kept of them."""

from __future__ import annotations

from canary_trio.admin.asking.sessions import (
    ADDRESSES,
    FAILURES,
    FAILURES_S,
    Sessions,
)


def test_who_fails_too_often_waits_alone() -> None:
    now = 1000.0
    sessions = Sessions(lambda: now)
    for _ in range(FAILURES):
        assert not sessions.is_tired("10.0.0.1")
        sessions.failed("10.0.0.1")

    assert sessions.is_tired("10.0.0.1")
    assert not sessions.is_tired("10.0.0.2")
    now += FAILURES_S
    assert not sessions.is_tired("10.0.0.1")


def test_of_many_addresses_the_oldest_are_forgotten() -> None:
    sessions = Sessions(lambda: 0.0)
    for _ in range(FAILURES):
        sessions.failed("first")
        sessions.failed("second")
    for number in range(ADDRESSES - 2):
        sessions.failed(str(number))
    assert sessions.is_tired("first")

    sessions.failed("one more")

    assert not sessions.is_tired("first")
    assert sessions.is_tired("second")
