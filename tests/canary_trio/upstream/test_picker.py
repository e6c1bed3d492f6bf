"""Of the usable servers, the one that serves a request: by key, by policy, by load."""

from __future__ import annotations

import pytest

from canary_trio.config.model import Balance
from canary_trio.config.policies import ServerLimits
from canary_trio.upstream.picker import Picker, follow
from tests.canary_trio.support.arm_bench import KEYS, START, Bench


def test_sticky_users_wait_at_a_full_server() -> None:
    bench = Bench.of(2, sticky=True, limits=ServerLimits(in_flight=1))
    before = [bench.server_set.pick(key) for key in KEYS]
    bench.servers[0].began(START)

    assert [bench.server_set.pick(key) for key in KEYS] == before


def test_without_stickiness_a_key_is_for_the_hash_only() -> None:
    bench = Bench.of(3)
    assert len({bench.server_set.pick(b"ann") for _ in range(9)}) == 3
    bench.configure(balance=Balance.HASH)
    assert len({bench.server_set.pick(b"ann") for _ in range(9)}) == 1
    assert len({bench.server_set.pick(key) for key in KEYS}) == 3


def picker(count: int = 3) -> tuple[Bench, Picker]:
    bench = Bench.of(count)
    return bench, bench.server_set.choice


def test_a_single_server_is_chosen_whatever_the_key() -> None:
    bench, choice = picker(1)
    (only,) = bench.servers

    assert choice.pick(None) is choice.pick(b"ann") is only
    choice.go(only)
    assert choice.pick(None) is None
    choice.come(only)
    assert choice.pick(None) is only


def test_a_full_server_is_chosen_only_if_all_are() -> None:
    bench, choice = picker()
    first, second, third = bench.servers
    for server in (first, second):
        server.full = True
        choice.filled(server)
    assert {choice.pick(None) for _ in range(20)} == {third}

    third.full = True
    choice.filled(third)
    first.in_flight, second.in_flight, third.in_flight = 5, 3, 4
    assert not choice.open
    assert choice.pick(None) is second, "the least busy of the full ones"

    first.full = False
    choice.freed(first)
    assert choice.pick(None) is first


def test_a_server_that_is_not_usable_may_fill_and_free() -> None:
    bench, choice = picker()
    gone = bench.servers[0]
    choice.go(gone)
    gone.full = True
    choice.filled(gone)
    gone.full = False
    choice.freed(gone)

    assert gone not in choice.open
    assert {choice.pick(None) for _ in range(20)} == set(bench.servers[1:])


def test_another_try_goes_to_a_healthy_one_that_was_not_tried() -> None:
    bench, choice = picker()
    first, second, third = bench.servers
    second.up = False  # usable all the same, as in a panic

    assert choice.pick_other({first}) is third
    assert choice.pick_other({first, third}) is second
    assert choice.pick_other({first, second, third}) is None


def test_another_try_of_a_key_is_the_same_for_all_that_tried_the_same() -> None:
    bench = Bench.of(5)
    bench.configure(balance=Balance.HASH)
    choice = bench.server_set.choice
    for key in KEYS:
        first = choice.pick(key)
        assert first is not None
        others = {choice.pick_other((first,), key) for _ in range(5)}
        assert len(others) == 1
        assert first not in others


@pytest.mark.parametrize("balance", list(Balance))
def test_another_policy_holds_the_same_servers(balance: Balance) -> None:
    bench, choice = picker(4)
    bench.servers[1].full = True
    choice.filled(bench.servers[1])
    before = set(choice.open)

    choice.choose_by(balance)

    assert set(choice.open) == before
    assert choice.is_hashed == (balance is Balance.HASH)
    assert {choice.pick(b"%d" % n) for n in range(200)} == before


def test_a_layout_is_brought_to_hold_just_these_servers() -> None:
    bench, choice = picker(4)
    first, second, third, fourth = bench.servers
    layout = choice.lay_out([first, second, third])

    followed = follow(layout, [second, third, fourth])

    assert followed is layout
    assert set(layout) == {second, third, fourth}
    assert {layout.pick(b"%d" % n) for n in range(200)} == set(layout)
