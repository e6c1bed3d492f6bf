"""When something that lasts is told: a model beside it, and its bounds."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.net.process.notices import AT_ONCE, TELL_S, Notice, Trouble, by_logging

STEPS = st.lists(
    st.tuples(st.booleans(), st.floats(0, 40, allow_nan=False)), max_size=60
)


@given(STEPS)
def test_it_is_told_with_a_bound_and_ended_once(
    steps: list[tuple[bool, float]],
) -> None:
    trouble, now = Trouble(), 0.0
    told: list[float] = []
    begun = ended = 0
    is_wrong = was_told = False
    for wrong, pause_s in steps:
        now += pause_s
        if wrong:
            began = not is_wrong
            is_told = bool(trouble.happens(now))
            if is_told:
                begun += not was_told
                told.append(now)
            lately = [at for at in told if at > now - TELL_S]
            if began and len(lately) < AT_ONCE and not is_told:
                raise AssertionError("it began, and was told nobody")
            assert len(lately) <= AT_ONCE + 1
            is_wrong, was_told = True, was_told or is_told
        else:
            lasted_s = trouble.ends(now)
            assert (lasted_s is not None) == (is_wrong and was_told)
            ended += lasted_s is not None
            is_wrong = was_told = False
    assert ended in (begun, begun - 1)


def test_one_that_lasts_is_told_at_most_once_in_its_time() -> None:
    trouble = Trouble()
    told = [at / 10 for at in range(1000) if trouble.happens(at / 10)]
    assert told == [0.0, 30.0, 60.0, 90.0]


def test_how_often_it_happened_is_never_lost_while_it_lasts() -> None:
    trouble = Trouble()
    counts = [trouble.happens(float(at), times=3) for at in range(61)]
    assert sum(counts) + trouble.times == 61 * 3


def test_what_comes_and_goes_does_not_fill_a_log() -> None:
    trouble, lines = Trouble(), 0
    for at in range(3000):  # five minutes, ten times a second
        lines += bool(trouble.happens(at / 10))
        lines += trouble.ends(at / 10 + 0.05) is not None
    assert lines <= (300 / TELL_S + 1) * 2 * AT_ONCE


def test_a_notice_is_a_line_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    tell = by_logging(logging.getLogger("engine"))
    tell(Notice("limit", "files are short %s", logging.WARNING, {"left": 3}))
    (record,) = caplog.records
    assert record.getMessage() == "files are short %s"
    assert (record.kind, record.left) == ("limit", 3)  # type: ignore[attr-defined]
