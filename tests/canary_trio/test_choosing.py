"""Which server of an arm."""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.balance import least_requests, random_choice, round_robin


@attrs.define(eq=False)
class Fake:
    weight: int = 1
    in_flight: int = 0
    turn: int = 0


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_round_robin_keeps_the_weights_in_every_cycle(weights: list[int]) -> None:
    servers = [Fake(weight) for weight in weights]
    for _ in range(3):
        got = Counter(id(round_robin(servers)) for _ in range(sum(weights)))
        assert [got[id(server)] for server in servers] == weights


def test_round_robin_serves_nobody_in_bursts() -> None:
    servers = [Fake(5), Fake(1), Fake(1)]
    order = [servers.index(round_robin(servers)) for _ in range(7)]

    assert order == [0, 0, 1, 0, 2, 0, 0]


def test_of_two_the_less_busy_is_chosen() -> None:
    busy, idle = Fake(in_flight=5), Fake(in_flight=1)
    draws = iter([0.0, 0.9])

    assert least_requests([busy, idle], lambda: next(draws)) is idle
    assert random_choice([busy, idle], lambda: 0.1) is busy
    assert random_choice([Fake(weight=1), idle], lambda: 0.99) is idle
