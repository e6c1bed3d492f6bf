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


def make_picker(count: int = 3) -> tuple[Bench, Picker]:
    bench = Bench.of(count)
    return bench, bench.server_set.picker


def test_a_single_server_is_chosen_whatever_the_key() -> None:
    bench, picker = make_picker(1)
    (only,) = bench.servers

    assert picker.pick(None) is picker.pick(b"ann") is only
    picker.remove(only)
    assert picker.pick(None) is None
    picker.add(only)
    assert picker.pick(None) is only


def test_a_full_server_is_chosen_only_if_all_are() -> None:
    bench, picker = make_picker()
    first, second, third = bench.servers
    for server in (first, second):
        server.full = True
        picker.filled(server)
    assert {picker.pick(None) for _ in range(20)} == {third}

    third.full = True
    picker.filled(third)
    first.in_flight, second.in_flight, third.in_flight = 5, 3, 4
    assert not picker.open
    assert picker.pick(None) is second, "the least busy of the full ones"

    first.full = False
    picker.freed(first)
    assert picker.pick(None) is first


def test_a_server_that_is_not_usable_may_fill_and_free() -> None:
    bench, picker = make_picker()
    gone = bench.servers[0]
    picker.remove(gone)
    gone.full = True
    picker.filled(gone)
    gone.full = False
    picker.freed(gone)

    assert gone not in picker.open
    assert {picker.pick(None) for _ in range(20)} == set(bench.servers[1:])


def test_another_try_goes_to_a_healthy_one_that_was_not_tried() -> None:
    bench, picker = make_picker()
    first, second, third = bench.servers
    second.up = False  # usable all the same, as in a panic

    assert picker.pick_other({first}) is third
    assert picker.pick_other({first, third}) is second
    assert picker.pick_other({first, second, third}) is None


def test_another_try_of_a_key_is_the_same_for_all_that_tried_the_same() -> None:
    bench = Bench.of(5)
    bench.configure(balance=Balance.HASH)
    picker = bench.server_set.picker
    for key in KEYS:
        first = picker.pick(key)
        assert first is not None
        others = {picker.pick_other((first,), key) for _ in range(5)}
        assert len(others) == 1
        assert first not in others


@pytest.mark.parametrize("balance", list(Balance))
def test_another_policy_holds_the_same_servers(balance: Balance) -> None:
    bench, picker = make_picker(4)
    bench.servers[1].full = True
    picker.filled(bench.servers[1])
    before = set(picker.open)

    picker.choose_by(balance)

    assert set(picker.open) == before
    assert picker.is_hashed == (balance is Balance.HASH)
    assert {picker.pick(b"%d" % n) for n in range(200)} == before


def test_a_layout_is_brought_to_hold_just_these_servers() -> None:
    bench, picker = make_picker(4)
    first, second, third, fourth = bench.servers
    layout = picker.lay_out([first, second, third])

    followed = follow(layout, [second, third, fourth])

    assert followed is layout
    assert set(layout) == {second, third, fourth}
    assert {layout.pick(b"%d" % n) for n in range(200)} == set(layout)
