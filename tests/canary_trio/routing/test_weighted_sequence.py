"""The exact split: never more than one request off."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import load
from canary_trio.config.model import STABLE, WHOLE
from canary_trio.routing.weighted_sequence import WeightedSequence, random_arm

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


SEVERAL = st.integers(1, 8).flatmap(lambda n: shares(*(f"arm{i}" for i in range(n))))


@given(SEVERAL, st.integers(1, 300))
def test_no_arm_is_ever_more_than_one_request_off(
    wanted: dict[str, int], count: int
) -> None:
    check_exact(WeightedSequence(), wanted, [wanted] * count)


@given(SEVERAL, st.integers(1, 200), st.integers(1, 20))
def test_unrelated_changes_do_not_move_the_sequence(
    wanted: dict[str, int], count: int, every: int
) -> None:
    """An unrelated change gives the same shares in a new table."""
    tables = [dict(wanted) for _ in range(count // every + 1)]
    sequence, undisturbed = WeightedSequence(), WeightedSequence()
    asked = [tables[n // every] for n in range(count)]

    check_exact(sequence, wanted, asked)
    again = [undisturbed.next(wanted) for _ in range(count)]
    assert [sequence.next(wanted) for _ in range(50)] == [
        undisturbed.next(wanted) for _ in range(50)
    ]
    assert len(again) == count


def check_exact(
    sequence: WeightedSequence, wanted: dict[str, int], asked: list[dict[str, int]]
) -> None:
    whole = {**wanted, STABLE: WHOLE - sum(wanted.values())}
    got: Counter[str] = Counter()
    for n, given_shares in enumerate(asked, 1):
        got[sequence.next(given_shares)] += 1
        for arm, share in whole.items():
            assert abs(got[arm] - n * share / WHOLE) <= 1


@pytest.mark.parametrize(
    "ratio",
    [0.05, {"canary": 0.05, "baseline": 0.05}, {"a": 0.3331, "b": 0.3331, "c": 0.1}],
    ids=str,
)
def test_200_unrelated_changes_during_10_000_requests_leave_it_exact(
    ratio: Any,
) -> None:
    names = ratio if isinstance(ratio, dict) else ["canary"]
    servers = {"servers": ["http://a"]}
    document: dict[str, Any] = {"ratio": ratio, "arms": dict.fromkeys(names, servers)}
    document["arms"]["stable"] = servers
    sequence = WeightedSequence()
    got: Counter[str] = Counter()
    wanted: Mapping[str, int] = {}
    for change in range(200):
        document["update_rate"] = 1 + change
        wanted = load(json.dumps(document)).ratio
        got.update(sequence.next(wanted) for _ in range(50))

    for arm, share in wanted.items():
        assert abs(got[arm] - share) <= 1


@given(st.lists(st.tuples(SHARE, st.integers(0, 30)), max_size=30))
def test_changes_of_the_ratio_keep_the_sum_exact(parts: list[tuple[int, int]]) -> None:
    sequence = WeightedSequence()
    asked = got = 0.0
    for share, count in parts:
        for _ in range(count):
            got += sequence.next({"canary": share}) == "canary"
            asked += share / WHOLE
    assert abs(got - asked) <= 1


def test_what_an_arm_is_owed_is_kept_while_it_has_no_share() -> None:
    sequence = WeightedSequence()
    assert [sequence.next({"canary": 4000}) for _ in range(1)] == [STABLE]
    assert sequence.next({}) == STABLE

    assert sequence.next({"canary": 4000}) == "canary"


def test_arms_may_come_and_go_between_two_and_several() -> None:
    sequence = WeightedSequence()
    got: Counter[str] = Counter()
    for n in range(4000):
        asked = {"a": 2500} if n % 2 else {"a": 2500, "b": 1000, "c": 1000}
        got[sequence.next(asked)] += 1

    assert abs(got["a"] - 1000) <= 1
    assert abs(got["b"] - 200) <= 2
    assert abs(got["c"] - 200) <= 2


@given(SEVERAL, st.integers(0, 100))
def test_a_copy_goes_on_alone(wanted: dict[str, int], count: int) -> None:
    one = WeightedSequence()
    for _ in range(count):
        one.next(wanted)
    other = one.copy()
    ahead = [other.next(wanted) for _ in range(20)]

    assert [one.next(wanted) for _ in range(20)] == ahead


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
