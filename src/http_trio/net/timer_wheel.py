"""Deadlines for many waiters that mostly do not reach them: a timing wheel, pure.

A parked exchange is answered long before its time more often than not, so adding
and removing must be cheap and leave nothing behind. Waiters whose time falls into
the same tick share a set; a heap holds each tick once. (Varghese and Lauck,
"Hashed and hierarchical timing wheels", 1987; the heap stands for their hierarchy.)

The rule that it obeys: a waiter is due never before its time, and at most one tick
after it.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

TICK_S = 0.01

T = TypeVar("T")


class TimerWheel(Generic[T]):
    """A set of waiters, each with a time.

    >>> deadlines = TimerWheel()
    >>> tick = deadlines.add("a", at=5.0)
    >>> deadlines.due(4.9), deadlines.due(5.1), deadlines.due(9.0)
    ([], ['a'], [])
    """

    def __init__(self) -> None:
        self._slots: dict[int, set[T]] = {}
        self._ticks: list[int] = []

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values())

    def add(self, waiter: T, at: float) -> int:
        """Add a waiter; give the tick, which `discard` wants."""
        tick = math.ceil(at / TICK_S)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = set()
            heapq.heappush(self._ticks, tick)
        slot.add(waiter)
        return tick

    def discard(self, waiter: T, tick: int) -> None:
        """Take a waiter out; nothing happens if it is not there."""
        slot = self._slots.get(tick)
        if slot is not None:
            slot.discard(waiter)

    def due(self, now: float) -> list[T]:
        """Take out and give those whose time has come."""
        found: list[T] = []
        while self._ticks and self._ticks[0] * TICK_S <= now:
            found += self._slots.pop(heapq.heappop(self._ticks))
        return found

    def next_at(self) -> float:
        """Give the earliest time at which a waiter may be due; inf if there is none."""
        while self._ticks and not self._slots[self._ticks[0]]:
            del self._slots[heapq.heappop(self._ticks)]
        return self._ticks[0] * TICK_S if self._ticks else math.inf
