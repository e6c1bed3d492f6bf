"""When requests are due, and how two arms take turns. Pure.

The arms alternate by pairs, in an order that is drawn for each pair: what drifts, or comes
at regular times, meets both. A schedule knows nothing of responses: that is what keeps a
server which stalls from being asked less while it does (coordinated omission).
"""

from __future__ import annotations

import random
from collections.abc import Iterator


def due_times(
    rate: float, arms: int, begin: float, draw: random.Random
) -> Iterator[tuple[float, int]]:
    """Give when each request is due, and of which arm it is, for ever.

    Args:
        rate: requests a second, of each arm.
        arms: how many there are.
        begin: the time of the first.
        draw: decides who comes first in each round.

    >>> both = due_times(10, 2, 100.0, random.Random(1))
    >>> [(round(due, 2), arm) for due, arm in (next(both) for _ in range(4))]
    [(100.0, 1), (100.05, 0), (100.1, 0), (100.15, 1)]
    """
    order, gap = list(range(arms)), 1 / (rate * arms)
    number = 0
    while True:
        draw.shuffle(order)
        for arm in order:
            yield begin + number * gap, arm  # no sum: its roundings would add up
            number += 1
