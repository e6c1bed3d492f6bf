"""How the traffic of each arm is: its latency in all, and the last minute.

Counts by upper ends are given, and no quantiles: those of several proxies can be added, and
quantiles cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import trio

from canary_trio.admin.last_minute import EVERY_S, ArmTotals, Totals
from canary_trio.admin.merge_rules import ByName, MergeRule, Shape
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.telemetry.counters import BOUNDS_S

RULES: Mapping[str, Shape] = {
    "latency": ByName(MergeRule.ADDED),
    "minute": {
        "seconds": MergeRule.HIGHEST,
        "requests": MergeRule.ADDED,
        "errors": MergeRule.ADDED,
        "latency": ByName(MergeRule.ADDED),
    },
}
"""What several workers say of what `arm_traffic` gives of each arm."""

ENDS = (*(f"{round(bound * 1e6)}" for bound in BOUNDS_S), "inf")
"""The upper ends of latencies in microseconds, as names."""


def totals_of(view: ProxyView) -> Totals:
    """Give what the counters of a service's arms are at."""
    runtime = view.runtime
    live, took = runtime.live, runtime.observer.counters.arms
    found = {}
    for name, arm in {} if live is None else live.arms.items():
        latency = tuple(took[name].counts) if name in took else (0,) * len(ENDS)
        found[name] = ArmTotals(arm.state.requests, arm.state.errors, latency)
    return found


def arm_traffic(view: ProxyView) -> dict[str, dict[str, object]]:
    """Give what is shown of each arm's traffic."""
    totals = totals_of(view)
    seconds, rose = view.minute.rise(trio.current_time(), totals)
    return {
        name: {
            "latency": by_end(counts.latency),
            "minute": {
                "seconds": round(seconds, 1),
                "requests": rose[name].requests,
                "errors": rose[name].errors,
                "latency": by_end(rose[name].latency),
            },
        }
        for name, counts in totals.items()
    }


async def note_minutes(view: ProxyView) -> None:
    """Note what the counters are at, now and then, until cancelled."""
    while True:
        for one in view.all:
            one.minute.note(trio.current_time(), totals_of(one))
            await trio.lowlevel.checkpoint()
        await trio.sleep(EVERY_S)


def by_end(counts: Iterable[int]) -> dict[str, int]:
    """Give counts by their ends; those of nothing are left out.

    >>> by_end((0, 2) + (0,) * (len(ENDS) - 3) + (1,)) == {ENDS[1]: 2, "inf": 1}
    True
    """
    return {end: count for end, count in zip(ENDS, counts, strict=False) if count}
