"""All services as they are looked at: one listing of the store for all pages.

Where the store lets us, all that is below `canary/` is followed; where it does not, those
that are known here are read one by one. Whoever has 200 services and a rollout in each has a
store that changes all the time: so each look is followed by a rest that is `REST` times as
long, and what it costs is bounded whatever there is.
"""

from __future__ import annotations

import json
import time
from typing import Any

import trio

from canary_trio.console.live.collecting import Sources, StoreStanding
from canary_trio.console.views.listing import Rates, ServiceRows
from canary_trio.control.store_keys import ROOT, config_key, proxies_prefix
from kv_trio import Entry, KvError, StoreRefused

APART_S = 0.1
"""Between two looks at least, in seconds."""

REST = 30
"""So many times as long as a look took is rested after it."""

AGAIN_S = 5.0
"""Between two looks where services are read one by one, and after a failure, in seconds."""

RATES_S = 5.0
"""Between two looks at the numbers of those that are served here, in seconds."""


class ListCollector:
    """What is known of all services.

    Attributes:
        views: how often the list was made anew.
        ticks: 0; so that it is waited for as a `ServiceCollector` is.
    """

    ticks = 0

    def __init__(self, sources: Sources) -> None:
        self.views = 0
        self.store = StoreStanding(sources)
        self._sources = sources
        self._rows = ServiceRows()
        self._found: list[Entry] = []
        self._why = ""
        self._rates: Rates = {}
        self._at = 0.0
        self._news = trio.Event()
        self._shown: bytes = b""

    def __repr__(self) -> str:
        return f"<ListCollector views={self.views}>"

    async def wait_other(self, views: int, ticks: int) -> None:
        """Wait until the list is another than that."""
        while (views, ticks) == (self.views, self.ticks):
            await self._news.wait()

    def view(self) -> bytes:
        """Give all of it as JSON."""
        return self._shown

    async def run(self) -> None:
        """Follow all services until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_store)
            nursery.start_soon(self._follow_rates)

    async def _follow_store(self) -> None:
        store, contact = self._sources.store, self.store.contact
        while True:
            try:
                if store.read_only:
                    self._why = store.read_only
                    await self._read_known()
                else:
                    await store.list(ROOT)  # who may not is told
                    async with store.watch_prefix(ROOT, contact=contact) as listings:
                        async for listing in listings:
                            self._why = ""
                            began = time.perf_counter()
                            self._take(list(listing.entries))
                            took_s = time.perf_counter() - began
                            await trio.sleep(max(APART_S, REST * took_s))
            except StoreRefused as exc:
                self._why = str(exc)
                await self._read_known()
            except KvError as exc:
                contact.failed(exc)
                self.store.look()
                self._make()
            await trio.sleep(AGAIN_S)

    async def _read_known(self) -> None:
        """Read those services that are known here, one by one."""
        store, found = self._sources.store, []
        for name in self._names:
            try:
                entry = (await store.get(config_key(name))).entry
                found += [] if entry is None else [entry]
                if not store.read_only:
                    found += (await store.list(proxies_prefix(name))).entries
            except KvError as exc:
                self.store.contact.failed(exc)
            else:
                self.store.contact.heard()
        self._take(found)

    async def _follow_rates(self) -> None:
        while True:
            self._rates = await self._sources.near.last_minute()
            self.store.look()
            if self._at or self.store.lost:
                self._make()
            await trio.sleep(RATES_S)

    @property
    def _names(self) -> list[str]:
        near = self._sources.near
        return [name for name in dict.fromkeys((near.service, *near.services)) if name]

    def _take(self, found: list[Entry]) -> None:
        self._found, self._at = found, self._sources.clock()
        self._make()

    def _make(self) -> None:
        now = self._sources.clock()
        table: dict[str, Any] = {
            "services": self._rows.of(self._found, self._names, self._rates),
            "store": self.store.shown(),
            "whole": not self._why,
            "why": self._why,
            "at": round(self._at or now, 3),
            "now": round(now, 3),
        }
        text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
        self._shown = text.encode("utf-8", "replace")
        self.views += 1
        self._news.set()
        self._news = trio.Event()
