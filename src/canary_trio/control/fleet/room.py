"""Whether an arm has room for more traffic, as one proxy sees it, and as a fleet does.

    no usable server · requests that wait for a place · few places left · slower than before

Each proxy has servers, places and a network of its own, so each tells what it sees, and an
arm is short of room where it is so for one of them: the users of that one would pay for it.
A proxy that is gone tells nothing any more.

That requests take longer than before is no verdict, since it may be the load that came: so
it slows a rollout, and does not hold it. The rule that it obeys: `usual` is the least that
was seen between two changes of the arm's share, and an arm that stays slower is waited for
`SLOW_S` and no longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import accumulate

import attrs

from canary_trio.config.model import STABLE
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.sums import FleetEvidence
from canary_trio.telemetry.counters import BOUNDS_S
from canary_trio.upstream.server import ServerState

CROWDED = 0.8
"""Of the places of an arm: where more are taken, it is short of room."""

LEAST = 50
"""Requests of an arm from which a median is taken."""

RECENT_S = 10.0
"""What is looked at of an arm's latency now, in seconds."""

SLOW_S = 60.0
"""How long an arm that takes longer than before is waited for, at one share."""

SLOWER = 2.0
"""Times as long as before, by the median: an arm whose requests take that is slow."""

_Counts = tuple[int, ...]


@attrs.define(eq=False)
class _Pace:
    """How long the requests of one arm take.

    Attributes:
        share: that the arm has.
        since: when it got that, and what was counted by then.
        usual: the least median of any share before; None while there is none.
        looks: when it was looked at lately, and what was counted by then.
    """

    share: int
    since: tuple[float, _Counts]
    usual: float | None = None
    looks: deque[tuple[float, _Counts]] = attrs.field(factory=deque)


class Room:
    """How much room the arms of a rollout have, as one proxy sees it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._paces: dict[str, _Pace] = {}

    def __repr__(self) -> str:
        return f"<Room {self._paces}>"

    def look(self, now: float) -> Mapping[str, str]:
        """Say which arms have no room for more, and why; asked again and again.

        Args:
            now: by the clock of the event loop.
        """
        live = self._runtime.live
        rollout = None if live is None else live.config.rollout
        if live is None or rollout is None or rollout.is_over:
            self._paces.clear()
            return {}
        found = {}
        for arm in (rollout.arm, STABLE):
            slow = self._slower(live, arm, now)
            if why := _short_of_places(live, arm) or slow:
                found[arm] = why
        return found

    def _slower(self, live: LiveConfig, arm: str, now: float) -> str:
        counters = self._runtime.observer.counters.of_arm(arm)
        counts, share = tuple(counters.counts), live.config.ratio.get(arm, 0)
        if arm == STABLE:
            share = -sum(live.config.ratio.values())
        pace = self._paces.get(arm)
        if pace is None:
            pace = self._paces[arm] = _Pace(share, (now, counts))
        if pace.share != share:
            before = median_of(pace.since[1], counts)
            if before is not None:
                pace.usual = before if pace.usual is None else min(pace.usual, before)
            pace.share, pace.since = share, (now, counts)
            pace.looks.clear()
        pace.looks.append((now, counts))
        while len(pace.looks) > 1 and pace.looks[1][0] <= now - RECENT_S:
            pace.looks.popleft()
        recent = median_of(pace.looks[0][1], counts)
        if recent is None or pace.usual is None or now - pace.since[0] >= SLOW_S:
            return ""
        if recent < SLOWER * pace.usual:
            return ""
        return f"{arm} takes at least {SLOWER:g} times as long as before"


def median_of(before: _Counts, now: _Counts) -> float | None:
    """Give a bound of the median of what was counted since, in seconds; None for too few.

    >>> median_of((0, 0, 0), (10, 50, 20)), median_of((0, 0, 0), (1, 1, 1))
    (0.00025, None)
    """
    new = [after - was for was, after in zip(before, now, strict=True)]
    total = sum(new)
    if total < LEAST:
        return None
    place = next(at for at, upto in enumerate(accumulate(new)) if 2 * upto >= total)
    return BOUNDS_S[min(place, len(BOUNDS_S) - 1)]


def short_in(fleet: FleetEvidence, arm: str) -> str:
    """Say why an arm has no room for more, as a fleet tells; empty if it has.

    Args:
        fleet: what its proxies tell.
        arm: that is to take more.
    """
    told = sorted(
        (name, one.short[arm]) for name, one in fleet.items() if arm in one.short
    )
    if not told:
        return ""
    name, why = told[0]
    others = f" and {len(told) - 1} more" if len(told) > 1 else ""
    return f"{why}, at {name}{others}"


def _short_of_places(live: LiveConfig, arm: str) -> str:
    """Say why an arm has no place for more, by how its servers are."""
    found = live.arms.get(arm)
    if found is None:
        return ""
    usable = [one for one in found.servers if one.up and not one.ejected_until]
    if not usable:
        return f"{arm} has no healthy server"
    if any(_waits(one) for one in usable):
        return f"requests wait for a place at {arm}"
    places = sum(one.limit for one in usable)
    if sum(one.in_flight for one in usable) > CROWDED * places:
        return f"{arm} has few places left"
    return ""


def _waits(server: ServerState) -> bool:
    return server.queue is not None and len(server.queue) > 0
