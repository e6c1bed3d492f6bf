"""What follows from a measurement: the verdict, conditions, and whether to believe it."""

from __future__ import annotations

import pytest

from canary_trio.bench.conditions import ConditionOutcome
from canary_trio.bench.plan import GeneratorCost
from canary_trio.bench.tally import LoadResult
from canary_trio.rollout.latency import interval_of
from tests.canary_trio.support.measured import comparison, result

PLAIN = result(3000, seed=1)
ALIKE = result(3000, seed=2)
SLOWER = result(3000, slower=2.0, seed=3)
FAILING = result(3000, errors=300, seed=4)
FEW = result(20, seed=5)
NONE = LoadResult(())


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        pytest.param(PLAIN, ALIKE, "no difference is seen", id="alike"),
        pytest.param(PLAIN, SLOWER, "B is worse (p50", id="slower"),
        pytest.param(SLOWER, PLAIN, "B is better (p50", id="faster"),
        pytest.param(PLAIN, FAILING, "B is worse (errors)", id="failing"),
        pytest.param(FAILING, SLOWER, "B is worse (p50, ", id="slower, and fails less"),
        pytest.param(FEW, FEW, "fewer than 1,000", id="few"),
        pytest.param(NONE, NONE, "fewer than 1,000", id="none"),
    ],
)
def test_the_verdict_is_in_words(one: LoadResult, other: LoadResult, says: str) -> None:
    assert says in comparison(one, other).verdict


def test_both_ways_are_told() -> None:
    verdict = comparison(FAILING, SLOWER).verdict

    assert "worse (p50" in verdict
    assert "better (errors)" in verdict


def test_one_url_has_no_verdict() -> None:
    found = comparison(PLAIN)

    assert found.verdict == ""
    assert all(metric.ratio is None for metric in found.metrics)


@pytest.mark.parametrize(
    ("one", "other", "condition", "outcome"),
    [
        pytest.param(PLAIN, SLOWER, "p50>1.2x", ConditionOutcome.HOLDS, id="slower"),
        pytest.param(
            PLAIN, SLOWER, "p50>3x", ConditionOutcome.DOES_NOT, id="not so much"
        ),
        pytest.param(
            PLAIN, SLOWER, "p99>2x", ConditionOutcome.UNDECIDED, id="about so much"
        ),
        pytest.param(PLAIN, ALIKE, "p50>1.5x", ConditionOutcome.DOES_NOT, id="alike"),
        pytest.param(PLAIN, FAILING, "errors>1%", ConditionOutcome.HOLDS, id="errors"),
        pytest.param(
            PLAIN, FAILING, "errors>2x", ConditionOutcome.HOLDS, id="where A has none"
        ),
        pytest.param(
            PLAIN, ALIKE, "errors>1.5x", ConditionOutcome.DOES_NOT, id="none in both"
        ),
        pytest.param(
            FEW, FEW, "errors>1%", ConditionOutcome.UNDECIDED, id="none of few"
        ),
        pytest.param(FEW, FEW, "p99>1.2x", ConditionOutcome.UNDECIDED, id="few"),
        pytest.param(
            NONE, NONE, "p50>1ms", ConditionOutcome.UNDECIDED, id="no response"
        ),
        pytest.param(PLAIN, SLOWER, "p50>30ms", ConditionOutcome.HOLDS, id="B's time"),
        pytest.param(
            SLOWER, PLAIN, "p50>30ms", ConditionOutcome.DOES_NOT, id="not A's time"
        ),
    ],
)
def test_a_condition_is_about_b(
    one: LoadResult, other: LoadResult, condition: str, outcome: ConditionOutcome
) -> None:
    found = comparison(one, other, conditions=(condition,))

    assert [decided.outcome for decided in found.decided] == [outcome]
    assert found.holds is (outcome is ConditionOutcome.HOLDS)
    assert found.undecided is (outcome is ConditionOutcome.UNDECIDED)


def test_a_quantile_that_a_condition_names_is_shown() -> None:
    found = comparison(PLAIN, ALIKE, conditions=("p97.5>2x",))

    names = [metric.name for metric in found.metrics]
    assert names == ["errors", "p50", "p90", "p97.5", "p99"]


def test_a_difference_of_errors_is_in_points_of_both() -> None:
    errors = comparison(PLAIN, FAILING).metrics[0]

    assert errors.difference is not None
    low, high = errors.difference
    assert 0.07 < low < 0.1 < high < 0.13


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        pytest.param(GeneratorCost(9.5, 10.0), "95% of a core", id="no CPU is left"),
        pytest.param(
            GeneratorCost(1.0, 10.0, {interval_of(0.015): 10}),
            "later than due",
            id="late by most of the median",
        ),
        pytest.param(GeneratorCost(1.0, 10.0, {interval_of(0.0002): 10}), "", id="ok"),
        pytest.param(GeneratorCost(0.0, 0.0), "", id="nothing"),
    ],
)
def test_a_generator_that_is_the_limit_says_so(cost: GeneratorCost, says: str) -> None:
    limited = comparison(PLAIN, ALIKE, cost=cost).limited

    assert says in limited
    assert bool(says) is bool(limited)
