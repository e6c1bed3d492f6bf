"""What only counts show, looked at from time to time and told: see `Events`.

Requests add to counters and tell nothing. The rule that it obeys: whatever would be told
at a request is found here instead, by what has been added since the last look. What begins
at many services at once is a crowd.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.counters import Counters
from canary_trio.telemetry.events import EventKind, Events
from canary_trio.telemetry.split_check import SplitCheck

LOOK_S = 1.0
"""Between two looks, in seconds."""

LOOKS = 10
"""Every so manieth look is at the splits too, whose test takes longer."""

CALM_S = 30.0
"""After so long without a refused request, a limit is told to refuse none any more."""


class Lookout:
    """Looks at the counters of all services of a process."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._refused: dict[tuple[str, str], int] = {}
        self._refused_at: dict[tuple[str, str], float] = {}
        self._mismatched: set[str] = set()
        self._dropped = 0

    def __repr__(self) -> str:
        return (
            f"<Lookout limits={len(self._refused_at)} splits={len(self._mismatched)}>"
        )

    def look_at_limits(self, service: str, counters: Counters, now: float) -> None:
        """Tell which limits of the rate of requests begin or cease to refuse."""
        for name, counts in counters.limits.items():
            key = service, name
            before, self._refused[key] = self._refused.get(key, 0), counts.refused
            if counts.refused > before:
                if key not in self._refused_at:
                    self._tell("refusing", service, name)
                self._refused_at[key] = now
            elif now - self._refused_at.get(key, math.inf) >= CALM_S:
                del self._refused_at[key]
                self._tell("calm", service, name)

    def look_at_split(self, service: str, split: SplitCheck) -> None:
        """Tell where the split begins, or ceases, to be another one than was asked for."""
        is_wrong = split.is_mismatch()
        if is_wrong == (service in self._mismatched):
            return
        (self._mismatched.add if is_wrong else self._mismatched.discard)(service)
        self._tell("mismatched" if is_wrong else "as asked", service)

    def look_at_log(self, log: AccessLog) -> None:
        """Tell that lines of the access log are lost, and that they are no more."""
        lost, self._dropped = log.dropped - self._dropped, log.dropped
        if lost:
            why = log.trouble or "they come faster than they are taken"
            self._events.tell_trouble(
                *("access_log", EventKind.LOG),
                f"lines of the access log are dropped: {why}",
                level=logging.ERROR,
                times=lost,
                why=why,
                dropped=log.dropped,
            )
        elif not log.trouble:
            told = "lines of the access log are written again"
            self._events.tell_over(
                *("access_log", EventKind.LOG, told), dropped=log.dropped
            )

    def forget_others(self, services: Callable[[str], bool]) -> None:
        """Forget the services that are no more."""
        for key in [key for key in self._refused if not services(key[0])]:
            self._refused.pop(key)
            self._refused_at.pop(key, None)
        self._mismatched = {name for name in self._mismatched if services(name)}

    def _tell(self, what: str, service: str, limit: str = "") -> None:
        kind, level, one, many = _WORDS[what]
        self._events.tell_one_of(
            *(what, kind, one.format(limit=limit)),
            name=f"{service} {limit}".strip(),
            sum_up=lambda count, names: f"{count} {many}: {names}",
            level=level,
            service=service,
            limit=limit or None,
        )


_WORDS = {
    "refusing": (
        *(EventKind.LIMIT, logging.WARNING),
        "the limit {limit} begins to refuse requests",
        "limits begin to refuse requests",
    ),
    "calm": (
        *(EventKind.LIMIT, logging.INFO),
        "the limit {limit} refuses requests no more",
        "limits refuse requests no more",
    ),
    "mismatched": (
        *(EventKind.SPLIT, logging.WARNING),
        "the split is not the one that was asked for (p below 0.001)",
        "splits are not those that were asked for",
    ),
    "as asked": (
        *(EventKind.SPLIT, logging.INFO),
        "the split is the one that was asked for again",
        "splits are those that were asked for again",
    ),
}
"""How the beginning and the end of each is told: of one, and of how many."""
