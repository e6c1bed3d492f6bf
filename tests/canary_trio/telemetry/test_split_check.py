"""Which splits are mismatches, and which say nothing yet."""

from __future__ import annotations

import random

import pytest

from canary_trio.telemetry.split_check import SplitCheck


def test_an_exact_split_is_no_mismatch() -> None:
    split = SplitCheck({"stable": 9000, "canary": 1000}, {"stable": 900, "canary": 100})

    assert split.p_value() == pytest.approx(1)
    assert split.observed("canary") == 0.1
    assert not split.is_mismatch()


def test_a_split_by_chance_is_no_mismatch_and_another_ratio_is() -> None:
    draw = random.Random(1)
    split = SplitCheck({"stable": 9000, "canary": 1000}, {"stable": 0, "canary": 0})
    for _ in range(20_000):
        split.counts["canary" if draw.random() < 0.1 else "stable"] += 1
    assert not split.is_mismatch()

    for _ in range(20_000):
        split.counts["canary" if draw.random() < 0.12 else "stable"] += 1
    assert split.is_mismatch()


def test_an_arm_without_a_share_that_got_requests_is_a_mismatch() -> None:
    split = SplitCheck({"stable": 10_000}, {"stable": 50, "canary": 1})

    assert split.p_value() == 0
    assert split.is_mismatch()


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ({"stable": 10_000}, {"stable": 50}),
        ({"stable": 9000, "canary": 1000}, {}),
        ({"stable": 9000, "canary": 1000}, {"stable": 40}),
    ],
    ids=["one arm", "nothing yet", "too few to say"],
)
def test_what_says_nothing_has_no_p_value(
    shares: dict[str, int], counts: dict[str, int]
) -> None:
    assert SplitCheck(shares, counts).p_value() is None
