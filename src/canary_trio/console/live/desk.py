"""What all pages of one console share, and how long it is kept.

A collector begins with the first who looks, and ends `LINGER_S` after the last has gone: a
page that asks again and again has the same one, and where nobody looks nothing runs.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import trio

from canary_trio.console.live.collecting import ServiceCollector, Sources
from canary_trio.console.live.collecting_all import ListCollector
from canary_trio.console.live.happenings import Happenings

_log = logging.getLogger(__name__)

LINGER_S = 10.0
"""How long what nobody looks at is kept going, in seconds."""

FIRST_S = 4.0
"""How long the first look may take until it is said that there is none, in seconds."""

COLLECTORS = 64
"""Services that are followed at once at most."""

AGAIN_S = 1.0
"""Before a collector that failed begins anew, in seconds."""


class TooManyLooks(Exception):
    """So many services are looked at already that no other one can be."""


class Collector(Protocol):
    """What is looked at.

    Attributes:
        views, ticks: how often the whole, and the numbers alone, were made anew.
    """

    views: int
    ticks: int

    async def wait_other(self, views: int, ticks: int) -> None:
        """Wait until one of them is another."""

    def view(self) -> bytes:
        """Give the whole as JSON."""

    async def run(self) -> None:
        """Follow it until cancelled."""


@attrs.define(eq=False)
class _Followed:
    """A collector that runs, or that nobody looks at any more."""

    collector: Collector
    lookers: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Desk:
    """The collectors of one console.

    Attributes:
        sources: whom they ask.
        happenings: the last events here.
    """

    def __init__(self, sources: Sources) -> None:
        self.happenings = Happenings()
        self.sources = attrs.evolve(sources, events=self.happenings.of)
        self._followed: dict[str, _Followed] = {}
        self._running = 0
        self._events = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Desk {sorted(self._followed)}>"

    @property
    def followed(self) -> list[str]:
        """The services that are followed now; empty for the list of all."""
        return sorted(self._followed)

    @asynccontextmanager
    async def open(
        self, beside: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Let pages look while the block runs, and something else run beside it."""
        async with self.sources.store, trio.open_nursery() as self._nursery:
            if beside is not None:
                self._nursery.start_soon(beside)
            yield
            self._nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def look(self, service: str) -> AsyncIterator[ServiceCollector]:
        """Give what is known of a service, and follow it while the block runs.

        Raises:
            TooManyLooks: it is one too many.
        """
        with self._looking(
            service, lambda: ServiceCollector(service, self.sources)
        ) as found:
            assert isinstance(found, ServiceCollector), "of a name"
            await self._wait_first(found)
            yield found

    @asynccontextmanager
    async def look_at_all(self) -> AsyncIterator[ListCollector]:
        """Give what is known of all services, and follow them while the block runs."""
        with self._looking("", lambda: ListCollector(self.sources)) as found:
            assert isinstance(found, ListCollector), "of no name"
            await self._wait_first(found)
            yield found

    async def _wait_first(self, found: Collector) -> None:
        with trio.move_on_after(FIRST_S):
            while not found.views:
                await found.wait_other(0, found.ticks)

    def _looking(self, name: str, make: Callable[[], Collector]) -> _Look:
        followed = self._followed.get(name)
        if followed is None or followed.scope.cancel_called:
            if len(self._followed) >= COLLECTORS:
                raise TooManyLooks(
                    f"{COLLECTORS} services are looked at here already, and no more may"
                )
            if self._nursery is None:
                raise TooManyLooks("the console is not ready yet")
            followed = self._followed[name] = _Followed(make())
            self._nursery.start_soon(self._run, name, followed)
        return _Look(followed)

    async def _run(self, name: str, followed: _Followed) -> None:
        """Run a collector, and with the first one the events."""
        assert self._nursery is not None, "it is open"
        if not self._running:
            self._events = trio.CancelScope()
            self._nursery.start_soon(self._follow_events, self._events)
        self._running += 1
        try:
            with followed.scope:
                await _keep(followed.collector.run)
        finally:
            self._running -= 1
            if not self._running:
                self._events.cancel()
            if self._followed.get(name) is followed:
                del self._followed[name]

    async def _follow_events(self, scope: trio.CancelScope) -> None:
        with scope:
            follow = self.sources.near.follow
            await _keep(partial(self.happenings.run, follow))


async def _keep(run: Callable[[], Awaitable[None]]) -> None:
    """Run something until cancelled; where it fails, that is told once, and it begins anew."""
    told = ""
    while True:
        try:
            await run()
        except Exception as exc:
            if repr(exc) != told:
                _log.exception("what the console follows failed; it begins anew")
            told = repr(exc)
        await trio.sleep(AGAIN_S)


class _Look:
    """Somebody who looks."""

    def __init__(self, followed: _Followed) -> None:
        self._followed = followed

    def __enter__(self) -> Collector:
        self._followed.lookers += 1
        self._followed.scope.deadline = float("inf")
        return self._followed.collector

    def __exit__(self, *_: object) -> None:
        self._followed.lookers -= 1
        if not self._followed.lookers:
            self._followed.scope.deadline = trio.current_time() + LINGER_S
