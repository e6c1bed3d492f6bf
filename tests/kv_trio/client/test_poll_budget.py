"""The rate of a loop: few requests go at once, many in a row do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.client.poll_budget import (
    NEWS_PER_S,
    POLL_BURST,
    POLLS_PER_S,
    PollBudget,
)


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
    st.lists(st.tuples(st.floats(0, 0.5) | st.just(0.0), st.booleans()), max_size=60),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=60, max_size=60),
)
def test_no_window_has_more_than_a_burst_and_the_rate(
    work: list[tuple[float, bool]], draws: list[float]
) -> None:
    """A loop asks, waits, works, and asks again; what brought news costs less."""
    budget = PollBudget(draw=iter(draws).__next__)
    now = 0.0
    asked: list[tuple[float, float]] = []
    for seconds, is_news in work:
        now += budget.next_s(now)
        asked.append((now, POLLS_PER_S / NEWS_PER_S if is_news else 1.0))
        if is_news:
            budget.brought_news()
        now += seconds
    for first, (began, _) in enumerate(asked):
        spent = 0.0
        for at, cost in asked[first:]:
            assert spent + 1 <= POLL_BURST + POLLS_PER_S * (at - began) + 1e-6
            spent += cost


def test_news_at_once_for_ever_are_taken_at_their_rate() -> None:
    budget = PollBudget(draw=lambda: 0.0)
    now = 0.0
    for _ in range(4000):
        now += budget.next_s(now)
        budget.brought_news()
    saved_s = (POLL_BURST - 1) / POLLS_PER_S
    assert now == pytest.approx(4000 / NEWS_PER_S - saved_s, abs=0.01)
