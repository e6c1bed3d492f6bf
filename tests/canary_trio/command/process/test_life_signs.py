"""How long a worker may be silent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.command.process.life_signs import HUNG_S, START_S, LifeSigns

TIMES = st.floats(0, 1e6)


def test_one_that_starts_has_longer() -> None:
    signs = LifeSigns()
    signs.begin(100.0)
    assert not signs.is_overdue(100.0 + START_S)
    assert signs.is_overdue(100.1 + START_S)
    signs.heard(101.0)
    assert not signs.is_overdue(101.0 + HUNG_S)
    assert signs.is_overdue(101.1 + HUNG_S)
    signs.end()
    assert not signs.is_overdue(1e9)


@given(TIMES, TIMES)
def test_where_no_silence_is_too_long_none_is_killed(at: float, later: float) -> None:
    signs = LifeSigns(0.0)
    assert not signs.is_overdue(at)
    signs.begin(at)
    signs.heard(at)
    assert not signs.is_overdue(at + later)


@given(TIMES, st.floats(0.5, 1e4), st.floats(0, 0.9), st.floats(0, 1e5))
def test_a_time_in_which_nobody_could_hear_does_not_count(
    at: float, hung_s: float, share: float, missed_s: float
) -> None:
    signs = LifeSigns(hung_s)
    signs.heard(at)
    now = at + share * hung_s + missed_s
    signs.pardon(missed_s)
    assert not signs.is_overdue(now)
    assert signs.is_overdue(at + hung_s + missed_s + 1.0)
