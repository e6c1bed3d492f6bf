"""Which arm, which server: the promises of the split, tested as properties."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio import session
from canary_trio.balance import least_requests, random_choice, round_robin
from canary_trio.cohort import Ranges, bucket, salt_of
from canary_trio.config import WHOLE
from canary_trio.document import load
from canary_trio.routing import Chance, Reason, Routes
from canary_trio.split import Sequence, random_arm

SHARE = st.integers(0, WHOLE)


def shares(*names: str) -> st.SearchStrategy[dict[str, int]]:
    """Shares of these arms, with something or nothing left for stable."""
    cuts = st.lists(SHARE, min_size=len(names), max_size=len(names)).map(sorted)
    return cuts.map(
        lambda edges: {
            name: high - low
            for name, (low, high) in zip(
                names, itertools.pairwise([0, *edges]), strict=True
            )
        }
    )


# === users ===


@given(SHARE, SHARE, st.binary(max_size=20))
def test_raising_moves_nobody_back_and_lowering_only_the_excess(
    one: int, other: int, key: bytes
) -> None:
    low, high = sorted((one, other))
    place = bucket(key, salt_of("web", 0))
    before, after = Ranges.of({"canary": low}), Ranges.of({"canary": high})

    if before.arm_of(place) == "canary":
        assert after.arm_of(place) == "canary"
    assert (before.arm_of(place) != after.arm_of(place)) == (low <= place < high)


@given(shares("canary", "baseline", "third"))
def test_the_ranges_are_the_shares(wanted: dict[str, int]) -> None:
    ranges = Ranges.of(wanted)
    found = Counter(ranges.arm_of(place) for place in range(WHOLE))

    assert {name: found[name] for name in wanted} == wanted


def test_the_share_among_users_is_the_ratio_and_an_epoch_draws_anew() -> None:
    users = [b"user %d" % n for n in range(20_000)]
    first = [bucket(user, salt_of("web", 0)) < 1000 for user in users]
    second = [bucket(user, salt_of("web", 1)) < 1000 for user in users]

    assert 1800 < sum(first) < 2200
    assert 120 < sum(a and b for a, b in zip(first, second, strict=True)) < 290


# === traffic without a key ===


@given(shares("canary"), st.integers(1, 300))
def test_two_arms_are_never_more_than_one_request_off(
    wanted: dict[str, int], count: int
) -> None:
    check_exact(wanted, count)


@given(shares("a", "b", "c"), st.integers(1, 200))
def test_many_arms_are_never_more_than_one_request_off(
    wanted: dict[str, int], count: int
) -> None:
    check_exact(wanted, count)


def check_exact(wanted: dict[str, int], count: int) -> None:
    sequence = Sequence()
    got: Counter[str] = Counter()
    for n in range(1, count + 1):
        got[sequence.next(wanted)] += 1
        for arm, share in wanted.items():
            assert abs(got[arm] - n * share / WHOLE) <= 1


@given(st.lists(st.tuples(SHARE, st.integers(0, 30)), max_size=30))
def test_changes_of_the_ratio_keep_the_sum_exact(parts: list[tuple[int, int]]) -> None:
    sequence = Sequence()
    asked = got = 0.0
    for share, count in parts:
        for _ in range(count):
            got += sequence.next({"canary": share}) == "canary"
            asked += share / WHOLE
    assert abs(got - asked) <= 1


@given(shares("a", "b"), st.floats(0, 1, exclude_max=True))
def test_chance_hits_the_arm_whose_range_it_is(
    wanted: dict[str, int], draw: float
) -> None:
    arm = random_arm(wanted, draw)

    at = draw * WHOLE
    low = 0
    for name, share in wanted.items():
        if arm == name:
            assert low - 1e-6 <= at < low + share + 1e-6
        low += share
    if arm == "stable":
        assert at >= low - 1e-6


# === the cookie ===

SECRET = b"s" * 32


def test_a_minted_cookie_is_known_again_and_only_here() -> None:
    value = session.mint(SECRET, 3, random.Random(1).randbytes)

    assert session.verify(SECRET, 3, value) is not None
    assert session.verify(SECRET, 4, value) is None
    assert session.verify(b"other", 3, value) is None
    for at in range(len(value)):
        forged = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        assert session.verify(SECRET, 3, forged) is None


@given(st.binary(max_size=60))
def test_garbage_is_no_cookie(value: bytes) -> None:
    assert session.verify(SECRET, 0, value) is None


@pytest.mark.parametrize(
    ("header", "value", "rest"),
    [
        (b"canary=x", b"x", b""),
        (b"a=1; canary=x; b=2", b"x", b"a=1; b=2"),
        (b"xcanary=y; canary=x", b"x", b"xcanary=y"),
        (b"canaryx=y;canary=x", b"x", b"canaryx=y"),
        (b'canary="x"', b"x", b""),
        (b"canary=x; canary=y", b"x", b""),
        (b"a=canary=z", None, b"a=canary=z"),
        (b"", None, b""),
        (b"a", None, b"a"),
    ],
)
def test_one_cookie_among_others(
    header: bytes, value: bytes | None, rest: bytes
) -> None:
    assert session.cookie_value(header, "canary") == value
    assert session.without_cookie(header, "canary") == rest


def test_a_cookie_is_safe_by_default() -> None:
    plain = session.set_cookie("canary", b"v", secure=False)

    assert plain == b"canary=v; HttpOnly; SameSite=Lax; Path=/"
    assert session.set_cookie("canary", b"v", secure=True) == plain + b"; Secure"


def test_a_user_keeps_the_arm_and_a_stranger_gets_a_key() -> None:
    config = load(
        '{"sticky_sessions": true, "ratio": 0.5, "arms": {"stable": {"servers":'
        ' ["http://a"]}, "canary": {"servers": ["http://b"]}}}'
    )
    routes = Routes(config, service="web", secret=SECRET)
    chance = Chance(random.random, random.Random(1).randbytes)
    first = routes.choose(None, Sequence(), chance, secure=False)
    assert first.reason is Reason.RATIO
    assert first.cookie is not None

    again = routes.choose(first.cookie.split(b";")[0], Sequence(), chance, secure=False)
    assert (again.arm, again.reason, again.cookie) == (first.arm, Reason.STICKY, None)


# === servers ===


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
