"""How many repeats an arm gets: never beyond its share and its floor, always up to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.policies import Retries
from canary_trio.upstream.retry_budget import WINDOW_S, RetryBudget


class Traffic:
    """Requests and repeats over time, and what was granted."""

    def __init__(self, rule: Retries) -> None:
        self.rule = rule
        self.budget = RetryBudget()
        self.now = 1000.0
        self.requests: list[float] = []
        self.granted: list[float] = []
        self.refused: list[float] = []

    def request(self) -> None:
        self.requests.append(self.now)
        if self.now >= self.budget.next_at:
            self.budget.move_on(self.now, len(self.requests))

    def ask(self) -> bool:
        granted = self.budget.take(self.rule, self.now, len(self.requests))
        (self.granted if granted else self.refused).append(self.now)
        return granted


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [0.0, 0.0, 0.001, 0.1, 1.0, 4.0, 9.0, 25.0]
        ),  # seconds before it
        st.integers(1, 40),  # requests
        st.integers(0, 20),  # that ask to be repeated
    ),
    max_size=40,
)


@given(EVENTS, st.floats(0, 1), st.sampled_from([0.0, 0.5, 3.0]))
def test_repeats_stay_below_the_share_and_the_floor(
    events: list[tuple[float, int, int]], share: float, per_second: float
) -> None:
    traffic = Traffic(Retries(budget=share, per_second=per_second))
    for seconds, requests, asks in events:
        traffic.now += seconds
        for _ in range(requests):
            traffic.request()
        for _ in range(asks):
            traffic.ask()

    for until in traffic.granted:
        # The window that the budget looks at is at most two of these, and what was
        # granted in the latest of them is bounded by the requests of both.
        since = until - WINDOW_S
        granted = sum(since < at <= until for at in traffic.granted)
        requests = sum(
            until - 2 * WINDOW_S - 25 <= at <= until for at in traffic.requests
        )
        tokens = max(per_second, 1.0) * bool(per_second) + per_second * WINDOW_S
        assert granted <= share * requests + tokens + 1e-6


@given(EVENTS, st.integers(1, 5))
def test_the_floor_is_always_granted(
    events: list[tuple[float, int, int]], per_second: int
) -> None:
    """Who asks no more often than the floor allows is never refused."""
    traffic = Traffic(Retries(budget=0.0, per_second=per_second))
    for seconds, requests, _ in events:
        traffic.now += max(seconds, 1.0)
        for _ in range(requests):
            traffic.request()
        assert [traffic.ask() for _ in range(per_second)] == [True] * per_second


@given(st.integers(5, 200))
def test_the_share_is_granted_at_once(requests: int) -> None:
    traffic = Traffic(Retries(budget=0.2, per_second=0.0))
    traffic.request()
    for _ in range(requests):
        traffic.request()

    granted = sum(traffic.ask() for _ in range(requests))

    assert granted == int(0.2 * requests)
    assert traffic.budget.spent == granted
    assert traffic.budget.refused == requests - granted


def test_what_was_not_used_is_forgotten() -> None:
    traffic = Traffic(Retries(budget=0.5, per_second=0.0))
    for _ in range(1000):
        traffic.request()
    traffic.now += 3 * WINDOW_S
    for _ in range(11):
        traffic.request()

    assert sum(traffic.ask() for _ in range(100)) == 5


def test_without_a_budget_nothing_is_repeated() -> None:
    traffic = Traffic(Retries(budget=0.0, per_second=0.0))
    traffic.request()

    assert not traffic.ask()
