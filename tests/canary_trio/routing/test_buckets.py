"""Users by arithmetic: monotone, exact, and the same on every proxy."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.model import STABLE, WHOLE
from canary_trio.routing.buckets import BucketRanges, bucket, salt_of
from tests.canary_trio.routing.test_weighted_sequence import SEVERAL, SHARE, shares

ALL = range(WHOLE)


def layout(wanted: dict[str, int]) -> list[str]:
    ranges = BucketRanges.of(wanted)
    return [ranges.arm_of(place) for place in ALL]


def moved(before: list[str], after: list[str]) -> Counter[tuple[str, str]]:
    return Counter(
        (one, other) for one, other in zip(before, after, strict=True) if one != other
    )


@given(SEVERAL)
def test_the_buckets_of_an_arm_are_its_share(wanted: dict[str, int]) -> None:
    found = Counter(layout(wanted))

    assert {name: found[name] for name in wanted} == wanted


@given(shares("canary", "baseline"), SHARE, st.sampled_from(["canary", "baseline"]))
def test_with_two_arms_one_share_moves_only_its_own_excess(
    wanted: dict[str, int], share: int, arm: str
) -> None:
    other = next(name for name in wanted if name != arm)
    changed = {**wanted, arm: min(share, WHOLE - wanted[other])}
    step = changed[arm] - wanted[arm]

    moves = moved(layout(wanted), layout(changed))
    way = (STABLE, arm) if step > 0 else (arm, STABLE)
    assert moves == Counter({way: abs(step)} if step else {})


@given(SEVERAL, st.data())
def test_with_several_no_user_of_an_arm_leaves_it_when_it_grows(
    wanted: dict[str, int], data: st.DataObject
) -> None:
    names = list(wanted)
    place = data.draw(st.integers(0, len(names) - 1))
    arm = names[place]
    free = WHOLE - sum(wanted.values())
    more = data.draw(st.integers(0, free))
    grown = {**wanted, arm: wanted[arm] + more}

    before, after = layout(wanted), layout(grown)
    assert all(after[at] == arm for at in ALL if before[at] == arm)
    moves = moved(before, after)
    assert moves.total() <= more * (len(names) - place)
    untouched = names[:place]
    assert all(before[at] == after[at] for at in ALL if before[at] in untouched)


@given(st.lists(st.integers(0, 600), min_size=3, max_size=8), st.data())
def test_with_several_small_arms_one_share_moves_only_its_own_excess(
    given_shares: list[int], data: st.DataObject
) -> None:
    """As long as each has room behind its home; the homes of eight are 1/8 apart."""
    wanted = {f"arm{n}": share for n, share in enumerate(given_shares)}
    arm = data.draw(st.sampled_from(list(wanted)))
    changed = {**wanted, arm: data.draw(st.integers(0, 600))}
    step = changed[arm] - wanted[arm]

    moves = moved(layout(wanted), layout(changed))
    way = (STABLE, arm) if step > 0 else (arm, STABLE)
    assert moves == Counter({way: abs(step)} if step else {})


@given(SEVERAL)
def test_an_arm_that_is_added_moves_only_what_it_gets(wanted: dict[str, int]) -> None:
    more = {**wanted, "last": (WHOLE - sum(wanted.values())) // 2}

    moves = moved(layout(wanted), layout(more))
    assert moves == Counter({(STABLE, "last"): more["last"]} if more["last"] else {})


def test_no_layout_of_three_arms_keeps_all_others_in_place() -> None:
    """The counterexample of the module's words, by trying all layouts of two buckets.

    A layout gives buckets to arms for each table of shares. It would be perfect if a
    change of one share never touched the other arms but `stable`.
    """
    tables = [t for t in itertools.product(range(3), repeat=3) if sum(t) <= 2]
    layouts = {
        table: [
            cut
            for cut in itertools.product("sabc", repeat=2)
            if tuple(cut.count(name) for name in "abc") == table
        ]
        for table in tables
    }
    neighbours = [
        (one, other)
        for one, other in itertools.combinations(tables, 2)
        if sum(x != y for x, y in zip(one, other, strict=True)) == 1
    ]

    def perfect(chosen: dict[tuple[int, ...], tuple[str, ...]]) -> bool:
        for one, other in neighbours:
            step = abs(sum(one) - sum(other))
            changes = [x != y for x, y in zip(chosen[one], chosen[other], strict=True)]
            if sum(changes) != step:
                return False
        return True

    every = itertools.product(*(layouts[table] for table in tables))
    assert not any(perfect(dict(zip(tables, one, strict=True))) for one in every)


def test_several_proxies_agree_on_100_000_users_over_a_whole_rollout() -> None:
    """Each proxy computes alone; one of them was started in the middle."""
    users = [bucket(b"user-%d" % n, salt_of("web", 3)) for n in range(100_000)]
    last: list[str] | None = None
    for share in (0, 1, 100, 500, 1000, 2500, 5000, 10_000, 2000, 0):
        one = BucketRanges.of({"canary": share, "baseline": min(500, WHOLE - share)})
        other = BucketRanges.of({"baseline": min(500, WHOLE - share), "canary": share})
        arms = [one.arm_of(place) for place in users]
        assert arms == [other.arm_of(place) for place in users]
        expected = share / WHOLE
        spread = 4 * (expected * (1 - expected) / len(users)) ** 0.5
        assert abs(arms.count("canary") / len(users) - expected) <= spread
        if last is not None:
            was, now = last.count("canary"), arms.count("canary")
            moves = Counter(
                (a, b)
                for a, b in zip(last, arms, strict=True)
                if "canary" in (a, b) and a != b
            )
            kept = ("canary", STABLE) if now >= was else (STABLE, "canary")
            assert moves[kept] == 0
            assert moves.total() == abs(now - was)
        last = arms


def test_an_epoch_draws_all_users_anew() -> None:
    users = [b"user %d" % n for n in range(20_000)]
    first = [bucket(user, salt_of("web", 0)) < 1000 for user in users]
    second = [bucket(user, salt_of("web", 1)) < 1000 for user in users]

    assert 1800 < sum(first) < 2200
    assert 120 < sum(a and b for a, b in zip(first, second, strict=True)) < 290


@pytest.mark.parametrize("ratio", [{}, {"canary": WHOLE}, {"a": 1, "b": WHOLE - 1}])
def test_the_ends_belong_to_somebody(ratio: dict[str, int]) -> None:
    assert Counter(layout(ratio)).total() == WHOLE
