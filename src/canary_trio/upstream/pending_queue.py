"""Who waits for a place at a full server: first come, first served. Pure.

A server is given so many requests at a time (`limits.in_flight`). Beyond that, requests
wait in a `PendingQueue` of the server, which is told whenever one of its requests has ended.
A waiting request holds no task, and leaves from anywhere in the queue at once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol


class Waiter(Protocol):
    """A request that waits."""

    def admit(self) -> None:
        """Take the place that is free now; it is out of the queue already."""


class Place(Protocol):
    """The server that is waited for."""

    @property
    def full(self) -> bool:
        """Whether it has no place for another request."""


class PendingQueue:
    """The requests that wait for one server.

    A place that is given is taken before `freed` returns, so that nobody who came later
    gets in between.
    """

    __slots__ = ("_place", "_waiting")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<PendingQueue waiting={len(self)}>"

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiter: Waiter) -> None:
        """Add a waiter at the end."""
        self._waiting[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter; nothing happens if it does not wait."""
        self._waiting.pop(waiter, None)

    def freed(self) -> None:
        """Admit as many waiters as there are places for."""
        while self._waiting and not self._place.full:
            waiter, _ = self._waiting.popitem(last=False)
            waiter.admit()
