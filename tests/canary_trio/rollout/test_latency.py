"""Latencies as counts between bounds: each lies where the bounds say."""

from __future__ import annotations

import math
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.latency import BOUNDS_S, bound_of, interval_of


def test_a_bound_lies_in_its_own_interval() -> None:
    assert [interval_of(bound) for bound in BOUNDS_S] == list(range(len(BOUNDS_S)))
    assert interval_of(0.0) == 0
    assert bound_of(interval_of(1e6)) == math.inf


@given(st.floats(min_value=0, max_value=1e9))
def test_an_interval_is_that_which_the_bounds_say(seconds: float) -> None:
    nearest = min(BOUNDS_S, key=lambda bound: abs(bound - seconds))
    if abs(nearest - seconds) > 1e-9 * nearest:
        assert interval_of(seconds) == bisect_left(BOUNDS_S, seconds)
