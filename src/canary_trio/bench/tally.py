"""What became of the requests of one arm, by the time at which they were due. Pure.

The rule that it obeys: a request belongs to the tick in which it was due, not to that in
which its response came. So a stall shows where it was, with all that should have been sent
meanwhile. A rate alone is of what came, while it was measured. Latencies are counted between the judge's bounds, 4 % apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.latency import BOUNDS_S, Latencies, add, interval_of

TICK_S = 0.1
"""How long the ticks are that the judge is told of, at first."""

MOST_TICKS = 300
"""How many he is told of at most; of a longer measurement neighbours are put together."""

_KEPT = 2 * MOST_TICKS

TIMEOUT = "timeout"
"""A request that took longer than it may."""

SERVER_ERROR = "5xx"
"""A response that says that the server failed."""

_INTERVALS = len(BOUNDS_S) + 1


class _Tick:
    """One tick; lists, since each request touches it."""

    __slots__ = ("errors", "latencies", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self.latencies = [0] * _INTERVALS

    def add(self, more: _Tick) -> None:
        """Take another one in."""
        self.requests += more.requests
        self.errors += more.errors
        both = zip(self.latencies, more.latencies, strict=True)
        self.latencies = [ours + theirs for ours, theirs in both]


class LoadTally:
    """Counts the requests of one arm, while they end.

    Attributes:
        begun: when the measurement begins; what was due before is the warm-up, and is
            left out.
        end: when it ends, at the latest; what was due before may still come.
        requests: how many have ended.
        tick_s: how long its ticks are; they double when there are too many.
    """

    __slots__ = (
        "_bytes",
        "_came",
        "_failures",
        "_last_s",
        "_slowest_s",
        "_statuses",
        "_ticks",
        "begun",
        "end",
        "requests",
        "tick_s",
    )

    def __init__(self, begun: float, end: float = math.inf) -> None:
        self.begun = begun
        self.end = end
        self.requests = self._came = 0
        self._last_s = 0.0
        self.tick_s = TICK_S
        self._ticks: list[_Tick] = []
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._bytes = 0
        self._slowest_s = 0.0

    def __repr__(self) -> str:
        return f"<LoadTally ticks={len(self._ticks)} failures={dict(self._failures)}>"

    def responded(self, due: float, took_s: float, status: int, size: int) -> None:
        """Count a response, of so many bytes."""
        came = due + took_s
        if self.begun <= came <= self.end:
            self._came += 1
            self._last_s = max(self._last_s, came - self.begun)
        tick = self._tick(due)
        if tick is None:
            return
        self.requests += 1
        tick.requests += 1
        tick.latencies[interval_of(took_s)] += 1
        self._statuses[status] += 1
        self._bytes += size
        self._slowest_s = max(self._slowest_s, took_s)
        if status >= 500:
            tick.errors += 1
            self._failures[SERVER_ERROR] += 1

    def failed(self, due: float, reason: str, waited_s: float | None = None) -> None:
        """Count a request without a response; one that was waited for in vain is slow.

        Args:
            due: when it was due.
            reason: in a word or two.
            waited_s: how long its user waited until it was given up; None where the
                server said at once that there is nothing.
        """
        tick = self._tick(due)
        if tick is None:
            return
        self.requests += 1
        tick.requests += 1
        tick.errors += 1
        self._failures[reason] += 1
        if waited_s is not None:
            tick.latencies[interval_of(waited_s)] += 1
            self._slowest_s = max(self._slowest_s, waited_s)

    def result(self) -> LoadResult:
        """Give what was counted, to be looked at."""
        return LoadResult(
            tuple(
                ArmTick(
                    tick.requests,
                    tick.errors,
                    latencies={
                        at: count for at, count in enumerate(tick.latencies) if count
                    },
                )
                for tick in self._ticks
            ),
            statuses=dict(sorted(self._statuses.items())),
            failures=dict(self._failures.most_common()),
            received=self._bytes,
            slowest_s=self._slowest_s,
            tick_s=self.tick_s,
            came=self._came,
            last_s=self._last_s,
        )

    def _tick(self, due: float) -> _Tick | None:
        since = due - self.begun
        if since < 0:
            return None
        at, ticks = int(since / self.tick_s), self._ticks
        if at >= len(ticks):
            while at >= _KEPT:
                self._double()
                at, ticks = int(since / self.tick_s), self._ticks
            ticks += [_Tick() for _ in range(at + 1 - len(ticks))]
        return ticks[at]

    def _double(self) -> None:
        """Put each two ticks together."""
        self.tick_s *= 2
        ticks, self._ticks = self._ticks, []
        for at in range(0, len(ticks), 2):
            for more in ticks[at + 1 : at + 2]:
                ticks[at].add(more)
            self._ticks.append(ticks[at])


@attrs.frozen
class LoadResult:
    """What became of the requests of one arm.

    Attributes:
        ticks: by the time at which they were due.
        statuses: how many responses had which.
        failures: requests that count as errors, by the reason; the most frequent first.
        received: bytes of responses.
        slowest_s: the longest that anybody waited, in seconds.
        tick_s: how long each tick is; twice `TICK_S`, or four times, and so on.
        came: responses that came while it was measured, whenever they were due.
        last_s: when the last of these came, since it began.
    """

    ticks: tuple[ArmTick, ...]
    statuses: Mapping[int, int] = attrs.field(factory=dict)
    failures: Mapping[str, int] = attrs.field(factory=dict)
    received: int = 0
    slowest_s: float = 0.0
    tick_s: float = TICK_S
    came: int = 0
    last_s: float = 0.0

    def rate(self, wall_s: float) -> float:
        """Give how many responses came in a second.

        Args:
            wall_s: how long requests were sent; the last response may come after that.
        """
        took_s = max(wall_s, self.last_s)
        return self.came / took_s if took_s else 0.0

    def ticks_of(self, tick_s: float) -> Sequence[ArmTick]:
        """Give its ticks as they would be if each had lasted so long, or longer."""
        step, ticks = max(1, round(tick_s / self.tick_s)), self.ticks
        return [together(ticks[at : at + step]) for at in range(0, len(ticks), step)]

    @property
    def requests(self) -> int:
        """How many ended."""
        return sum(tick.requests for tick in self.ticks)

    @property
    def errors(self) -> int:
        """How many of them failed."""
        return sum(tick.errors for tick in self.ticks)

    @property
    def latencies(self) -> Latencies:
        """Of all ticks."""
        return together(self.ticks).latencies


def together(ticks: Iterable[ArmTick]) -> ArmTick:
    """Make one tick of some."""
    latencies: dict[int, int] = {}
    requests = errors = 0
    for tick in ticks:
        requests += tick.requests
        errors += tick.errors
        add(latencies, tick.latencies)
    return ArmTick(requests, errors, latencies=latencies)


def side_by_side(
    one: Sequence[ArmTick], other: Sequence[ArmTick], most: int = MOST_TICKS
) -> list[tuple[ArmTick, ArmTick]]:
    """Give the ticks of two arms that were measured at once, in pairs, at most so many."""
    count = max(len(one), len(other))
    step = max(1, -(-count // most))
    return [
        (together(one[at : at + step]), together(other[at : at + step]))
        for at in range(0, count, step)
    ]
