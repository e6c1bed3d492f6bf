"""The budget of what asks for nothing: paid at once, given back to who asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from http_trio.http2.overhead import BURST, RATE, WASTED, Overhead

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("received"), st.integers(1, 65_536)),
        st.tuples(st.just("asked"), st.integers(1, 32_768)),
        st.tuples(st.just("brought"), st.integers(0, 16_384)),
        st.tuples(st.just("wasted"), st.just(0)),
    ),
    max_size=60,
)


def test_what_asks_for_nothing_is_spent_and_comes_back() -> None:
    budget = Overhead(now=0.0)
    budget.received(BURST + 1, now=0.0)
    assert budget.left < 0
    budget.received(1, now=1.0)
    assert budget.left == RATE - 2
    budget.received(1, now=1000.0)
    assert budget.left == BURST - 1


def test_a_body_costs_nothing() -> None:
    budget = Overhead(now=0.0)
    for _ in range(1000):
        budget.received(16_393, now=0.0)
        budget.brought(16_384)
    assert budget.left == BURST


def test_a_head_from_the_table_pays_for_no_flood() -> None:
    budget = Overhead(now=0.0)
    for _ in range(BURST // WASTED + 1):
        budget.received(40, now=0.0)
        budget.asked(32_000)
        budget.wasted()
    assert budget.left < 0


@given(STEPS)
def test_nobody_gets_back_more_than_was_paid(steps: list[tuple[str, int]]) -> None:
    budget = Overhead(now=0.0)
    for what, size in steps:
        if what == "received":
            budget.received(size, 0.0)
        elif what == "wasted":
            budget.wasted()
        else:
            getattr(budget, what)(size)
        assert budget.left <= BURST
