"""The timer wheel beside a plain dictionary of times."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from http_trio.net.timer_wheel import TICK_S, TimerWheel

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 20), st.floats(0, 5)),
        st.tuples(st.just("discard"), st.integers(0, 20), st.just(0.0)),
        st.tuples(st.just("due"), st.just(0), st.floats(0, 1)),
    )
)


@given(STEPS)
def test_it_behaves_like_a_plain_dictionary_of_times(
    steps: list[tuple[str, int, float]],
) -> None:
    deadlines: TimerWheel[int] = TimerWheel()
    model: dict[int, float] = {}
    ticks: dict[int, int] = {}
    now = 0.0
    for verb, waiter, number in steps:
        if verb == "add" and waiter not in model:
            model[waiter] = now + number
            ticks[waiter] = deadlines.add(waiter, now + number)
        elif verb == "discard" and waiter in model:
            del model[waiter]
            deadlines.discard(waiter, ticks.pop(waiter))
        elif verb == "due":
            now += number
            found = deadlines.due(now)
            assert len(found) == len(set(found))
            for one in found:
                assert model.pop(one) <= now + 1e-9, "due before its time"
            assert all(at > now - TICK_S - 1e-9 for at in model.values()), "overdue"
        assert len(deadlines) == len(model)
        if model:
            assert abs(deadlines.next_at() - min(model.values())) <= TICK_S + 1e-9


def test_nothing_is_left_behind_by_what_was_discarded() -> None:
    deadlines: TimerWheel[int] = TimerWheel()
    for waiter in range(1000):
        deadlines.discard(waiter, deadlines.add(waiter, 100.0 + waiter))

    assert deadlines.next_at() == math.inf
    assert not deadlines._ticks
    assert not deadlines._slots
