"""When requests are due: at the rate, in turns, whatever becomes of them."""

from __future__ import annotations

import random
from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.bench.schedule import due_times


@given(
    rate=st.floats(0.1, 1e5),
    arms=st.integers(1, 2),
    begin=st.floats(0, 1e6),
    seed=st.integers(0, 99),
)
def test_each_round_asks_each_arm_once_and_the_pace_is_even(
    rate: float, arms: int, begin: float, seed: int
) -> None:
    found = list(islice(due_times(rate, arms, begin, random.Random(seed)), 40 * arms))

    rounds = [found[at : at + arms] for at in range(0, len(found), arms)]
    assert all(sorted(arm for _, arm in one) == list(range(arms)) for one in rounds)
    last_due, _ = found[-1]
    wanted = begin + (len(found) - 1) / (rate * arms)
    assert abs(last_due - wanted) <= 1e-9 * max(wanted, 1)
    assert all(one[0] <= other[0] for one, other in pairwise(found))


def test_who_comes_first_is_drawn() -> None:
    found = islice(due_times(1, 2, 0, random.Random(1)), 0, 200, 2)

    assert 30 < sum(arm for _, arm in found) < 70
