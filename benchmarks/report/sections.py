"""What a report is made of: sections with rounds or curves, as values that JSON takes.

The rule: every figure keeps its rounds, so a median never stands without its spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

Rounds = Mapping[str, Sequence[float]]
"""By system, what each round gave."""

Curve = Sequence[tuple[float, float]]


@attrs.frozen
class Section:
    """One thing that was measured.

    Attributes:
        key: names its picture.
        title: of the page.
        words: what was done, and how to read it.
        columns: by what is measured, the rounds of each system; the first one is drawn.
        curves: by system, points.
        axes: what x and y are, of the curves.
        logs: which of x and y are logarithmic.
        samples: by system, single times in seconds, drawn as a histogram.
        computed: systems whose samples or curves were not measured.
    """

    key: str
    title: str
    words: str
    columns: Mapping[str, Rounds] = attrs.field(factory=dict)
    curves: Mapping[str, Curve] = attrs.field(factory=dict)
    axes: tuple[str, str] = ("", "")
    logs: tuple[bool, bool] = (False, False)
    samples: Rounds = attrs.field(factory=dict)
    computed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give it for programs."""
        return attrs.asdict(self)


def middle(rounds: Sequence[float]) -> float:
    """Give the median."""
    return statistics.median(rounds)


def quantile(values: Sequence[float], part: float) -> float:
    """Give a quantile of single values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def number(value: float) -> str:
    """Write a figure with three digits that matter."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(rounds: Sequence[float]) -> str:
    """Write the median, and the least and the most of the rounds."""
    if len(rounds) == 1:
        return number(rounds[0])
    return f"{number(middle(rounds))} ({number(min(rounds))} to {number(max(rounds))})"
