"""The fit of a sweep's cost: the exponent is the power that the cost was made of."""

from __future__ import annotations

import math

import pytest
from benchmarks.scaling import Fit
from hypothesis import given
from hypothesis import strategies as st

SIZES = (1.0, 10.0, 100.0, 1000.0)


@given(st.floats(-2, 2), st.floats(1e-3, 1e3))
def test_a_power_is_found_without_an_error(power: float, factor: float) -> None:
    fit = Fit.of([(size, factor * size**power) for size in SIZES])

    assert fit.exponent == pytest.approx(power, abs=1e-9)
    assert fit.last == pytest.approx(power, abs=1e-9)
    assert fit.error == pytest.approx(0, abs=1e-6)


def test_a_part_that_does_not_grow_hides_the_rest_while_sizes_are_small() -> None:
    fit = Fit.of([(size, 100 + size) for size in SIZES])

    assert 0.2 < fit.exponent < 0.5, "the line is between the two"
    assert fit.last == pytest.approx(math.log10(1100 / 200)), "the last step is steep"
    assert fit.error > 0.1, "and the spread says that it is no line"


def test_nothing_has_no_logarithm_and_is_left_out() -> None:
    assert Fit.of([(0, 5), (1, 2), (10, 20), (100, 200)]).exponent == pytest.approx(1)


def test_two_points_fix_a_line_so_nothing_is_known_of_its_error() -> None:
    assert Fit.of([(1, 1), (10, 100)]).error == math.inf


def test_one_point_is_no_line() -> None:
    with pytest.raises(ValueError, match="found 1 points, expected two at least"):
        Fit.of([(0, 1), (10, 10)])
