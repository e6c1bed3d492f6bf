"""Each fuzz target, shortly, so that a change that breaks one is seen at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_its_seeds_hold(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100)
@given(seed=st.integers(0, 1 << 32))
def test_what_is_near_its_seeds_holds(name: str, seed: int) -> None:
    TARGETS[name](mutated(SEEDS[name], seed))
