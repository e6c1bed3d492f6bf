"""The rate of a loop: few requests go at once, many in a row do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.client.poll_budget import POLL_BURST, POLLS_PER_S, PollBudget


@pytest.mark.parametrize(
    ("times", "pauses"),
    [
        ([0.0] * 5, [0.0] * 5),
        ([0.0] * 8, [0.0] * 5 + [0.1, 0.2, 0.3]),
        ([0.0] * 5 + [0.1, 0.2, 0.3], [0.0] * 8),
        ([0.0] * 5 + [0.05], [0.0] * 5 + [0.05]),
        ([0.0] * 5 + [9.0] * 6, [0.0] * 10 + [0.1]),
        ([5.0] * 5 + [1.0, 1.0], [0.0] * 5 + [0.1, 0.2]),
    ],
    ids=[
        "a burst goes at once",
        "then each waits for its turn",
        "ten a second go on for ever",
        "and what comes sooner waits for the rest",
        "a quiet time gives a burst again, and no more",
        "a clock that goes back gives nothing",
    ],
)
def test_what_waits_how_long(times: list[float], pauses: list[float]) -> None:
    budget = PollBudget(10.0, 5, draw=lambda: 0.0)
    assert [budget.next_s(now) for now in times] == pytest.approx(pauses)


def test_a_pause_is_up_to_half_longer() -> None:
    budget = PollBudget(10.0, 1, draw=lambda: 1.0)
    budget.next_s(0.0)
    assert budget.next_s(0.0) == pytest.approx(0.15)


@given(
    st.lists(st.floats(0, 0.5) | st.just(0.0), max_size=60),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=60, max_size=60),
)
def test_no_window_has_more_than_a_burst_and_the_rate(
    work_s: list[float], draws: list[float]
) -> None:
    """A loop asks, waits, works, and asks again."""
    budget = PollBudget(draw=iter(draws).__next__)
    now = 0.0
    asked: list[float] = []
    for seconds in work_s:
        now += budget.next_s(now)
        asked.append(now)
        now += seconds
    for first, began in enumerate(asked):
        for last in range(first, len(asked)):
            window_s = asked[last] - began
            assert last - first + 1 <= POLL_BURST + POLLS_PER_S * window_s + 1e-6
