"""What is to fail a build, read and judged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.bench.conditions import Condition, ConditionOutcome, read_condition


@pytest.mark.parametrize(
    ("text", "metric", "limit", "relative"),
    [
        ("p99>1.2x", "p99", 1.2, True),
        ("p50 > 20ms", "p50", 0.02, False),
        ("p99.9>1.5s", "p99.9", 1.5, False),
        ("errors>1%", "errors", 0.01, False),
        ("errors>0%", "errors", 0.0, False),
        (" errors>2x ", "errors", 2.0, True),
    ],
)
def test_a_condition_is_read(
    text: str, metric: str, limit: float, relative: bool
) -> None:
    assert read_condition(text) == Condition(text, metric, limit, relative)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99>",
        "p99<1.2x",
        "p99>1.2",
        "p0>1x",
        "p100>1x",
        "p99>1%",
        "errors>20ms",
        "errors>5",
        "latency>1x",
        "p99>1..2x",
        "p99>-1x",
        "p99>1h",
        "p99>1.2x or p50>2x",
        "P99>1.2x",
        "p99>nanx",
        "p99>1e3x",
        "p99>1.2.3ms",
    ],
)
def test_what_is_none_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"found .*expected"):
        read_condition(text)


@given(st.text(max_size=20))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        found = read_condition(text)
    except ValueError:
        return
    assert math.isfinite(found.limit)


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        ((1.21, 1.5), ConditionOutcome.HOLDS),
        ((1.2, 1.5), ConditionOutcome.HOLDS),
        ((1.1, 1.5), ConditionOutcome.UNDECIDED),
        ((0.0, math.inf), ConditionOutcome.UNDECIDED),
        ((0.9, 1.2), ConditionOutcome.DOES_NOT),
        ((0.9, 1.1), ConditionOutcome.DOES_NOT),
    ],
)
def test_it_holds_if_all_that_may_be_lies_beyond(
    bounds: tuple[float, float], outcome: ConditionOutcome
) -> None:
    assert read_condition("p99>1.2x").judge(bounds) is outcome
