"""What the last minute brought: differences of counters, of a bounded number of notes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.admin.last_minute import EVERY_S, NOTES, ArmTotals, LastMinute

RISES = st.lists(st.tuples(*[st.integers(0, 1000)] * 3), min_size=1, max_size=40)


@given(RISES)
def test_it_is_what_the_last_notes_brought(rises: list[tuple[int, int, int]]) -> None:
    minute, at = LastMinute(), ArmTotals(0, 0, (0, 0))
    for number, (quick, slow, errors) in enumerate(rises):
        minute.note(number * EVERY_S, {"a": at})
        latency = (at.latency[0] + quick, at.latency[1] + slow)
        at = ArmTotals(at.requests + quick + slow, at.errors + errors, latency)
    seconds, rose = minute.rise(len(rises) * EVERY_S, {"a": at})

    kept = rises[-NOTES:]
    assert seconds == len(kept) * EVERY_S <= 60
    quick, slow, errors = map(sum, zip(*kept, strict=True))
    assert rose["a"] == ArmTotals(quick + slow, errors, (quick, slow))


def test_an_arm_that_is_new_has_all_that_it_has() -> None:
    minute = LastMinute()
    minute.note(0, {})

    assert minute.rise(5, {"a": ArmTotals(3, 1, (3,))})[1] == {
        "a": ArmTotals(3, 1, (3,))
    }


def test_an_arm_that_began_anew_loses_nothing_and_gains_nothing() -> None:
    minute = LastMinute()
    minute.note(0, {"a": ArmTotals(9, 1, (9,))})

    assert minute.rise(5, {"a": ArmTotals(3, 0, (3,))})[1]["a"] == ArmTotals(3, 0, (3,))


def test_before_the_first_note_nothing_is_known() -> None:
    assert LastMinute().rise(5, {"a": ArmTotals(3, 0, (3,))}) == (
        0.0,
        {"a": ArmTotals()},
    )
