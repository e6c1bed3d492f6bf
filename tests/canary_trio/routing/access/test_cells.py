"""What each client has left, held to a leaky bucket that is computed by itself."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.routing.access.cells import WAYS, Cells, size_of

SECRET = bytes(16)


def one_set() -> Cells:
    return Cells.private(SECRET, WAYS)


@attrs.define
class LeakyBucket:
    """The bucket of the textbook: it leaks with time, and a request must fit in."""

    size: int
    level: int = 0
    at: int = 0

    def let_pass(self, now: int, amount: int) -> int:
        """Take a request of this amount, and give 0; or give the time until it fits."""
        self.level = max(0, self.level - (now - self.at))
        self.at = now
        if self.level + amount > self.size:
            return self.level + amount - self.size
        self.level += amount
        return 0


@pytest.mark.parametrize(
    ("interval", "burst", "arrivals", "waits"),
    [
        pytest.param(10, 1, [0, 0, 9, 10, 20], [0, 10, 1, 0, 0], id="evenly"),
        pytest.param(10, 3, [0, 0, 0, 0, 10, 10], [0, 0, 0, 10, 0, 10], id="a burst"),
        pytest.param(10, 2, [0, 0, 100, 100, 100], [0, 0, 0, 0, 10], id="no more"),
        pytest.param(10, 2, [0, 0, 5, 5, 10], [0, 0, 5, 5, 0], id="refused is free"),
    ],
)
def test_it_lets_pass_what_the_rate_and_the_burst_allow(
    interval: int, burst: int, arrivals: list[int], waits: list[int]
) -> None:
    cells = one_set()
    tolerance = interval * (burst - 1)

    assert [cells.take(7, now + 1000, interval, tolerance) for now in arrivals] == waits


STEPS = st.lists(st.tuples(st.integers(0, WAYS - 1), st.integers(0, 50)), max_size=100)


@given(st.integers(1, 20), st.integers(1, 6), STEPS)
def test_each_client_has_a_leaky_bucket(
    interval: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    cells = one_set()
    buckets = {client: LeakyBucket(interval * burst) for client in range(WAYS)}
    now = 1000
    for client, pause in steps:
        now += pause
        expected = buckets[client].let_pass(now, interval)
        found = cells.take(client + 1, now, interval, interval * (burst - 1))
        assert found == expected
    assert cells.forgotten == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_what_is_given_back_was_never_taken(steps: list[tuple[bool, int]]) -> None:
    cells, bucket = one_set(), LeakyBucket(30)
    now = 1000
    for kept, pause in steps:
        now += pause
        level = max(0, bucket.level - (now - bucket.at))
        wait = bucket.let_pass(now, 10)
        assert cells.take(5, now, 10, 20) == wait
        if not wait and not kept:
            cells.give_back(5, 10)
            bucket.level = level
        assert cells.ahead(5, now) == bucket.level


def test_a_full_set_forgets_who_has_least_to_pay_for() -> None:
    cells = one_set()
    for client in range(1, WAYS + 1):
        for _ in range(client):
            cells.take(client, 1000, 10, 1000)
    assert cells.forgotten == 0

    cells.take(99, 1000, 10, 1000)

    assert cells.forgotten == 1
    assert cells.ahead(1, 1000) == 0
    assert [cells.ahead(client, 1000) for client in range(2, WAYS + 1)] == [
        10 * client for client in range(2, WAYS + 1)
    ]


def test_a_time_that_is_past_makes_room_and_is_no_loss() -> None:
    cells = one_set()
    for client in range(1, 4 * WAYS):
        cells.take(client, 1000 * client, 10, 0)

    assert cells.forgotten == 0


def test_a_rate_that_changed_holds_from_then_on() -> None:
    cells = one_set()
    for _ in range(10):
        cells.take(1, 1000, 10**9, 10**10)

    assert cells.take(1, 1001, 10, 20) == 10  # not ten seconds
    assert cells.take(1, 1011, 10, 20) == 0


def test_keys_are_of_one_limit_and_one_secret() -> None:
    cells = Cells.private(SECRET)
    owners = [b"web\na", b"web\nab", b"we\nba", b"shop\na"]
    values = [b"", b"b", b"ab", b"=ab"]
    keys = [cells.keys_of(owner)(value) for owner in owners for value in values]
    others = Cells.private(bytes([1]) * 16).keys_of(owners[0])(values[0])

    assert len(set(keys)) == len(keys)
    assert others != keys[0]


@pytest.mark.parametrize("cells", [1, WAYS, WAYS + 1, 1000, 65_536])
def test_memory_has_room_for_what_was_asked_for(cells: int) -> None:
    table = Cells.private(SECRET, cells)
    keys = [table.keys_of(b"a")(b"%d" % number) for number in range(100)]
    for key in keys:
        table.take(key, 1000, 10, 0)

    assert size_of(cells) >= 16 * cells
    assert repr(table).startswith("<Cells of ")
    assert table.forgotten <= max(0, 100 - cells)
