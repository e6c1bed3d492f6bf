"""Latencies as counts between fixed bounds: they add up over proxies. Pure.

300 bounds in steps of 4 %, 0.1 ms to 12.4 s: fine enough to see that an arm is 1.2 times
slower, which the bounds of metrics (`telemetry/counters`) are not. A quantile is only ever
given as a bound, so that "slower than it" is counted exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from math import ceil, log

BOUNDS_S = tuple(0.0001 * 1.04**step for step in range(300))
"""Upper ends of the intervals, in seconds; beyond the last is one more."""

_LEAST_S, _BEYOND = BOUNDS_S[0], len(BOUNDS_S)
_FIRST, _SCALE = log(0.0001), 1 / log(1.04)
_ROUNDING = 1e-9  # so that a bound lies in its own interval

Latencies = Mapping[int, int]
"""How many requests, or users, took what: by the number of the interval."""


def interval_of(seconds: float) -> int:
    """Give the number of the interval that a latency lies in, 0 to 300.

    >>> interval_of(0.0001), interval_of(0.02), interval_of(60)
    (0, 136, 300)
    """
    if seconds <= _LEAST_S:
        return 0
    # Computed, not looked for: nine bounds here and there in memory cost more than that.
    number = ceil((log(seconds) - _FIRST) * _SCALE - _ROUNDING)
    return number if number < _BEYOND else _BEYOND  # noqa: FURB136  # min is a call


def bound_of(number: int) -> float:
    """Give the upper end of an interval, in seconds; infinity for the last."""
    return BOUNDS_S[number] if number < len(BOUNDS_S) else math.inf


def quantile(latencies: Latencies, part: float) -> int:
    """Give the interval that the quantile lies in: `part` of all are not beyond it.

    Args:
        latencies: at least one.
        part: above 0, at most 1.
    """
    needed = part * sum(latencies.values())
    so_far = 0
    for number in sorted(latencies):
        so_far += latencies[number]
        if so_far >= needed:
            break
    return number


def slower_than(latencies: Latencies, number: int) -> int:
    """Give how many lie beyond an interval."""
    return sum(count for at, count in latencies.items() if at > number)


def add(total: dict[int, int], more: Latencies) -> None:
    """Add counts to others."""
    for number, count in more.items():
        total[number] = total.get(number, 0) + count
