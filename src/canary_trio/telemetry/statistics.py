"""Tests on counts: whether chance alone explains them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def chi_square_p(counts: Sequence[int], expected: Sequence[float]) -> float:
    """Give the p-value of Pearson's test that counts were drawn as expected.

    >>> round(chi_square_p([60, 40], [50, 50]), 4)
    0.0455
    """
    statistic = sum(
        (count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True)
    )
    return _chi_square_tail(statistic, len(counts) - 1)


def _chi_square_tail(statistic: float, freedom: int) -> float:
    """Give P(X > statistic): the finite sums of Abramowitz and Stegun 26.4.4, 26.4.5."""
    half = statistic / 2
    if freedom % 2:
        tail = math.erfc(math.sqrt(half))
        powers = [k + 0.5 for k in range(freedom // 2)]
    else:
        tail = 0.0
        powers = [float(k) for k in range(freedom // 2)]
    if half > 0:
        tail += sum(
            math.exp(power * math.log(half) - half - math.lgamma(power + 1))
            for power in powers
        )
    elif not freedom % 2:
        tail = 1.0
    return min(1.0, tail)
