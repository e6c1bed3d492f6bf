"""What is to fail: `p99>1.2x`, `p50>20ms`, `errors>1%`. Pure.

A condition holds only if all of its interval lies beyond the limit, and does not only if all of it
lies within; else nothing is known of it. So chance alone fails nobody's build, and what is not
known is never called good.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import attrs

from canary_health.durations import read_duration
from canary_trio.bench.intervals import Bounds

ERRORS = "errors"

_FORM = re.compile(
    r"(?P<metric>errors|p(?P<part>\d{1,2}(?:\.\d{1,3})?))\s*>\s*"
    r"(?:(?P<times>\d+(?:\.\d+)?)x|(?P<percent>\d+(?:\.\d+)?)%|(?P<time>[\d.]+(?:ms|s)))"
)

EXPECTED = "such as p99>1.2x, p50>20ms, errors>1.5x or errors>1%"


class ConditionOutcome(enum.Enum):
    """What is known of a condition."""

    HOLDS = "holds"
    """It fails."""

    DOES_NOT = "does not hold"
    UNDECIDED = "cannot be told yet"


@attrs.frozen
class Condition:
    """One condition.

    Attributes:
        text: as it was written.
        metric: `errors`, or a quantile such as `p99`.
        limit: times what A has, if `relative`; else a share of errors, or seconds.
        relative: whether it compares B with A.
    """

    text: str
    metric: str
    limit: float
    relative: bool

    @property
    def part(self) -> float | None:
        """Which quantile it is about; None for errors."""
        return None if self.metric == ERRORS else float(self.metric[1:]) / 100

    def judge(self, bounds: Bounds) -> ConditionOutcome:
        """Say what is known, by the bounds of what it is about."""
        low, high = bounds
        if low >= self.limit:  # what is no more than `low` is refuted
            return ConditionOutcome.HOLDS
        return (
            ConditionOutcome.DOES_NOT
            if high <= self.limit
            else ConditionOutcome.UNDECIDED
        )


def read_condition(text: str) -> Condition:
    """Read a condition.

    >>> read_condition("p99>1.2x").limit, read_condition("errors > 1%").limit
    (1.2, 0.01)

    Raises:
        ValueError: it is none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"found {text!r}, expected a condition {EXPECTED}")
    said: Mapping[str, str | None] = match.groupdict()
    metric, times, percent = said["metric"] or "", said["times"], said["percent"]
    is_errors = metric == ERRORS
    if said["part"] is not None and not float(said["part"]):
        raise ValueError(f"found {text!r}: p0 is no quantile; expected one {EXPECTED}")
    if times is not None:
        return Condition(text, metric, float(times), relative=True)
    if is_errors and percent is not None:
        return Condition(text, metric, float(percent) / 100, relative=False)
    if is_errors or percent is not None:
        raise ValueError(
            f"found {text!r}: errors are a share, and latencies are times;"
            f" expected a condition {EXPECTED}"
        )
    return Condition(text, metric, read_duration(said["time"] or ""), relative=False)
