"""The plan of a seed: always the same, and each step before one comes again."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.verify.plan import STEPS, WITH_GIVEN, plan
from canary_trio.verify.steps.catalog import DOES

SEEDS = st.integers(0, 10**6)
NAMES = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, unique=True)


@given(SEEDS, NAMES)
def test_the_same_seed_is_the_same_plan(seed: int, names: list[str]) -> None:
    one, other = plan(seed, names), plan(seed, names[::-1])

    for first, second in islice(zip(one, other, strict=True), 30):
        assert first == second
        assert first.chance().random() == second.chance().random()


@given(SEEDS, NAMES)
def test_each_step_is_there_before_one_comes_again(seed, names) -> None:
    steps = list(islice(plan(seed, names), 3 * len(names)))

    for at in range(0, len(steps), len(names)):
        turn = steps[at : at + len(names)]
        assert {one.name for one in turn} == set(names)
    assert [one.number for one in steps] == list(range(1, len(steps) + 1))


def test_seeds_differ() -> None:
    plans = {
        tuple(one.name for one in islice(plan(seed, sorted(STEPS)), 8))
        for seed in range(20)
    }

    assert len(plans) > 15


def test_each_step_is_done_by_something() -> None:
    assert DOES.keys() == STEPS.keys()
    assert set(WITH_GIVEN) <= STEPS.keys()
