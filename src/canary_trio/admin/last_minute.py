"""What was counted within the last minute: differences of counters, looked at now and then. Pure.

A request adds to its counters, and nothing here. Every `EVERY_S` somebody notes what they
are at; what the last minute brought is what they are at now, less the oldest note. So it is
worth between 55 and 60 seconds, and a proxy that is younger says how long it has looked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs

EVERY_S = 5.0
"""Seconds between two notes."""

NOTES = 12
"""Notes that are kept: a minute of them."""


@attrs.frozen
class ArmTotals:
    """What the counters of an arm are at, or by how much they rose.

    Attributes:
        requests: that belong to the arm.
        errors: that it failed.
        latency: requests that it served, by the upper ends of their time.
    """

    requests: int = 0
    errors: int = 0
    latency: tuple[int, ...] = ()

    def since(self, before: ArmTotals | None) -> ArmTotals:
        """Give by how much they rose; those of an arm that began anew, as they are.

        >>> ArmTotals(7, 2, (4, 3)).since(ArmTotals(5, 2, (4, 1)))
        ArmTotals(requests=2, errors=0, latency=(0, 2))
        """
        if before is None:
            return self
        old = before.latency or (0,) * len(self.latency)
        latency = tuple(now - then for now, then in zip(self.latency, old, strict=True))
        rose = ArmTotals(
            self.requests - before.requests, self.errors - before.errors, latency
        )
        return self if min(rose.requests, rose.errors, *latency, 0) < 0 else rose


Totals = Mapping[str, ArmTotals]
"""The counts of each arm, by its name."""


class LastMinute:
    """The notes of one service."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, Totals]] = deque(maxlen=NOTES)

    def __repr__(self) -> str:
        return f"<LastMinute notes={len(self._notes)}>"

    def note(self, now: float, totals: Totals) -> None:
        """Note what the counters are at."""
        self._notes.append((now, totals))

    def rise(self, now: float, totals: Totals) -> tuple[float, Totals]:
        """Give how many seconds were looked at, and what they brought."""
        if not self._notes:
            return 0.0, dict.fromkeys(totals, ArmTotals())
        began, before = self._notes[0]
        rose = {name: is_.since(before.get(name)) for name, is_ in totals.items()}
        return now - began, rose
