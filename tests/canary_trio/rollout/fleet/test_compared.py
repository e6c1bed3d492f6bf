"""Comparisons as a sign test: what speaks for whom, how it is told, how often it is wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.fleet.arm_tally import Counting, CountingRule
from canary_trio.rollout.fleet.compared import (
    MOST_PLACE,
    MOST_PLACES,
    OTHER_PLACES,
    TOLD_PLACES,
    ComparedTally,
    Comparison,
    Dropped,
    Learnt,
    Ranked,
    added,
    compare,
)
from canary_trio.rollout.fleet.judge_state import JudgedArms, JudgeState, advance
from canary_trio.rollout.fleet.published import MOST_BYTES, ProxyEvidence
from canary_trio.rollout.judge import JudgeSettings
from canary_trio.rollout.verdict import Finding

ARMS = JudgedArms("canary", "stable")
SETTINGS = JudgeSettings(comparisons=500)
RULE = CountingRule("v1 1 0", ARMS.names, compares=True)
SAME = Ranked()


def ranked(*places: str) -> Ranked:
    return Ranked(frozenset(places), (0, 0, len(places)))


_RANKED = st.builds(
    lambda status, places: Ranked(
        frozenset(places) | ({"status"} if status else set()), (status, 0, len(places))
    ),
    st.integers(0, 1),
    st.sets(st.sampled_from("abc")),
)
_OPPOSITE = {
    Comparison.WORSE: Comparison.BETTER,
    Comparison.BETTER: Comparison.WORSE,
    Comparison.SAME: Comparison.SAME,
    Comparison.RESTLESS: Comparison.RESTLESS,
}


@given(_RANKED, _RANKED)
def test_whoever_is_called_the_new_one_is_judged_alike(a: Ranked, b: Ranked) -> None:
    """The whole proof hangs on this: with two of one version, each is worse as often."""
    assert compare(a, b) is _OPPOSITE[compare(b, a)]


def test_a_difference_of_status_outweighs_any_body() -> None:
    status = Ranked(frozenset({"status"}), (1, 0, 0))
    assert compare(status, ranked(*"abcdef")) is Comparison.WORSE


def test_what_differs_is_noted_where_the_old_version_does_not() -> None:
    tally = ComparedTally()
    assert tally.add(ranked("body.time", "body.sum"), ranked("body.time")) == [
        "body.sum"
    ]
    assert tally.add(ranked("body.sum"), SAME) == []
    assert tally.add(SAME, ranked("body.sum")) == []
    assert (tally.made, tally.worse, tally.better) == (3, 2, 1)
    assert (tally.differing, tally.restless) == (2, 2)
    assert dict(tally.places) == {"body.sum": 2}


def test_places_are_bounded_whatever_the_answers_hold() -> None:
    counting = Counting(RULE, "e")
    tally = counting.compared
    assert tally is not None
    for n in range(1000):
        tally.add(ranked(f"body.{n:04}" + "\u00e9" * 1000), SAME)
        tally.drop(Dropped.RATE)
    assert len(tally.places) == MOST_PLACES + 1
    assert tally.places[OTHER_PLACES] == 1000 - MOST_PLACES
    assert max(map(len, tally.places)) == MOST_PLACE
    written = counting.evidence().dump()
    assert len(written) < MOST_BYTES
    read = ProxyEvidence.load(written)
    assert read == counting.evidence()
    assert read is not None
    assert read.learnt is not None
    assert len(read.learnt.places) == TOLD_PLACES
    assert read.learnt.dropped == 1000


@pytest.mark.parametrize(
    "learnt",
    [
        b"1",
        b'{"made": -1, "differing": 0, "restless": 0, "dropped": 0, "places": []}',
        b'{"made": 1, "differing": 0, "restless": 0, "dropped": 0, "places": [1]}',
        b'{"made": 1, "differing": 0, "restless": 0, "dropped": 0}',
        b'{"made": true, "differing": 0, "restless": 0, "dropped": 0, "places": []}',
    ],
)
def test_what_no_proxy_writes_is_nothing(learnt: bytes) -> None:
    text = b'{"window": "a", "epoch": "b", "arms": {}, "learnt": %b}' % learnt
    assert ProxyEvidence.load(text) is None


def test_what_a_fleet_has_learnt_adds_up() -> None:
    one = Learnt(10, 4, 1, 2, (("a", 3), ("b", 1)))
    other = Learnt(5, 1, 0, 0, (("b", 5),))
    assert added([one, other]) == Learnt(15, 5, 1, 2, (("b", 6), ("a", 3)))
    assert added([]) is None


def run(p_new: float, p_again: float, count: int, seed: int) -> list[Finding]:
    """Compare; answers of the new version, and of the old one again, are odd so often."""
    draw = random.Random(seed)
    counting = Counting(RULE, "e")
    tally = counting.compared
    assert tally is not None
    state = JudgeState(SETTINGS, ARMS)
    found = []
    for _ in range(count // 10):
        for _ in range(10):
            new, again = draw.random() < p_new, draw.random() < p_again
            tally.add(
                ranked("body.a") if new else SAME, ranked("body.b") if again else SAME
            )
        state, verdict = advance(
            state, {"p": counting.evidence()}, RULE.window, compares=True
        )
        found.append(verdict.finding)
    return found


def test_a_version_that_answers_otherwise_is_found_at_once() -> None:
    found = run(1.0, 0.0, 60, 1)
    assert Finding.REGRESSION in found[:3]


@pytest.mark.simulation
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5, 1.0])
def test_restless_answers_alone_are_no_regression(noise: float) -> None:
    alarms = [Finding.REGRESSION in run(noise, noise, 1000, seed) for seed in range(40)]
    assert sum(alarms) <= 2  # of 40, at 1 %
    assert run(noise, noise, 490, 7)[-1] is Finding.NOT_ENOUGH_DATA


@pytest.mark.simulation
def test_a_difference_is_found_in_restless_answers_too() -> None:
    seen = [Finding.REGRESSION in run(0.4, 0.2, 1000, seed) for seed in range(10)]
    assert all(seen)


def test_another_driver_goes_on_with_what_was_compared() -> None:
    counting = Counting(RULE, "e")
    tally = counting.compared
    assert tally is not None
    for _ in range(4):
        tally.add(ranked("body"), SAME)
    state = JudgeState(SETTINGS, ARMS)
    state, before = advance(
        state, {"p": counting.evidence()}, RULE.window, compares=True
    )
    again = JudgeState.load(state.dump(), SETTINGS, ARMS)
    again, after = advance(
        again, {"p": counting.evidence()}, RULE.window, compares=True
    )
    assert after.e_value == pytest.approx(before.e_value)
    assert after.requests == before.requests == (4, 4)
    assert [metric.name for metric in after.metrics][-1] == "answers"


def test_the_next_step_counts_requests_and_keeps_the_evidence() -> None:
    counting = Counting(RULE, "e")
    tally = counting.compared
    assert tally is not None
    for _ in range(4):
        tally.add(ranked("body"), SAME)
    state = JudgeState(SETTINGS, ARMS)
    state, first = advance(
        state, {"p": counting.evidence()}, RULE.window, compares=True
    )
    users = Counting(CountingRule("v1 1 1", ARMS.names), "f")
    for arm in ARMS.names:
        users.tallies[arm].answered(0.01)
    state, then = advance(state, {"p": users.evidence()}, "v1 1 1")
    assert then.requests == (1, 1)
    assert then.metrics[-1].e_value == pytest.approx(first.metrics[-1].e_value)
