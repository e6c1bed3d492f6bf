from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.telemetry.split_check import Split, chi_square_p


@pytest.mark.parametrize(
    ("statistic", "freedom", "p"),
    # The usual table of critical values (NIST/SEMATECH e-Handbook, 1.3.6.7.4).
    [
        *((3.841, 1, 0.05), (10.828, 1, 0.001), (5.991, 2, 0.05), (13.816, 2, 0.001)),
        *((7.815, 3, 0.05), (16.266, 3, 0.001), (9.488, 4, 0.05), (22.458, 6, 0.001)),
        *((14.067, 7, 0.05), (0.0, 1, 1.0), (0.0, 2, 1.0), (0.0, 5, 1.0)),
    ],
)
def test_the_tail_is_that_of_the_table(
    statistic: float, freedom: int, p: float
) -> None:
    mean = 1e6
    counts = [round(mean + (statistic * mean) ** 0.5)] + [int(mean)] * freedom

    assert chi_square_p(counts, [mean] * (freedom + 1)) == pytest.approx(p, rel=0.01)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=30), st.data())
def test_a_p_value_is_a_probability(counts: list[int], data: st.DataObject) -> None:
    size = len(counts)
    means = st.lists(st.floats(1, 1e9), min_size=size, max_size=size)

    assert 0 <= chi_square_p(counts, data.draw(means)) <= 1


def test_an_exact_split_is_no_mismatch() -> None:
    split = Split({"stable": 9000, "canary": 1000}, {"stable": 900, "canary": 100})

    assert split.p_value() == pytest.approx(1)
    assert split.observed("canary") == 0.1
    assert not split.is_mismatch()


def test_a_split_by_chance_is_no_mismatch_and_another_ratio_is() -> None:
    draw = random.Random(1)
    split = Split({"stable": 9000, "canary": 1000}, {"stable": 0, "canary": 0})
    for _ in range(20_000):
        split.counts["canary" if draw.random() < 0.1 else "stable"] += 1
    assert not split.is_mismatch()

    for _ in range(20_000):
        split.counts["canary" if draw.random() < 0.12 else "stable"] += 1
    assert split.is_mismatch()


def test_an_arm_without_a_share_that_got_requests_is_a_mismatch() -> None:
    split = Split({"stable": 10_000}, {"stable": 50, "canary": 1})

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
    assert Split(shares, counts).p_value() is None
