"""How long it took from a write until requests were routed by it, as a histogram. Pure.

Of each change and each proxy: from the moment that the store had acknowledged it to the moment
that the first request was sent which was routed by it, or by a later one. The true moment
lies one probe before, or less. What was live before the writer heard of it took no time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from canary_trio.verify.observation import DoneTo, Record

FIRST_MS = 0.5
"""The end of the first bar; each further one ends at twice as much."""

BARS = 18
"""The last one ends at 65 s, and has what took longer, too."""

WIDTH = 40
"""Characters of the longest bar."""


@attrs.frozen
class Span:
    """How long one change took on one proxy, in seconds.

    Attributes:
        revision: of the change.
        proxy: where.
        step: during which it was written.
        from_begin: since the write was begun.
        from_acknowledged: since the store had said that it is written.
        outage: whether the store was away meanwhile, so that nobody could hear of it.
    """

    revision: int
    proxy: str
    step: str
    from_begin: float
    from_acknowledged: float
    outage: bool = False


def spans(record: Record) -> list[Span]:
    """Give how long each change took on each proxy that was seen to route by it."""
    written = {one.revision: one for one in record.written}
    return [
        Span(
            seen.revision,
            seen.proxy,
            record.step_at(change.begun),
            max(0.0, seen.at - change.begun),
            max(0.0, seen.at - change.acknowledged),
            any(
                one.fault is DoneTo.STORE_AWAY
                and change.begun <= one.over
                and one.begun <= seen.at
                for one in record.incidents
            ),
        )
        for seen in record.seen
        if (change := written.get(seen.revision)) is not None
    ]


@attrs.frozen
class Quantiles:
    """Of times, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    worst: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Quantiles | None:
        """Give them by the nearest rank; None of nothing.

        >>> Quantiles.of([0.001, 0.002, 0.003])
        Quantiles(count=3, p50=2.0, p90=3.0, p99=3.0, worst=3.0)
        """
        if not seconds:
            return None
        found = sorted(seconds)

        def at(share: float) -> float:
            return round(found[math.ceil(share * len(found)) - 1] * 1e3, 3)

        return Quantiles(len(found), at(0.5), at(0.9), at(0.99), at(1))


def bars(seconds: Sequence[float]) -> list[tuple[float, int]]:
    """Give (end in ms, how many) of each bar, up to the last that has some.

    >>> bars([0.0004, 0.0005, 0.003])
    [(0.5, 2), (1.0, 0), (2.0, 0), (4.0, 1)]
    """
    counts = [0] * BARS
    for one in seconds:
        steps = math.ceil(math.log2(max(one * 1e3, FIRST_MS) / FIRST_MS) - 1e-9)
        counts[min(steps, BARS - 1)] += 1
    used = max((place for place, count in enumerate(counts) if count), default=-1)
    return [(FIRST_MS * 2**place, counts[place]) for place in range(used + 1)]


def drawn(seconds: Sequence[float]) -> Iterator[str]:
    """Draw the histogram, a line for each bar."""
    found = bars(seconds)
    most = max((count for _, count in found), default=0)
    for end, count in found:
        bar = "█" * math.ceil(WIDTH * count / most) if count else ""
        yield f"  <= {end:>8g} ms {count:>6}  {bar}".rstrip()
