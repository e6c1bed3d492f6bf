"""A p-value is that of the tables, and always a probability."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.telemetry.statistics import chi_square_p


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
