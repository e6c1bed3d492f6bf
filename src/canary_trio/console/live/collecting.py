"""One service as it is looked at: followed in the store, and asked of its proxies.

All pages that show a service share one collector, and there is none while nobody looks. What
the store says is taken at once, and shown `APART_S` apart at the most often; proxies are asked
once a second, or less often where there are many (`ASKS_PER_S`). Nothing that is known is
thrown away because it cannot be asked again: it is shown on, with the time that it is of, and
the reason why there is nothing newer. One file, since store and proxies make one state.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import trio

from canary_trio.admin.asking.client import (
    AdminCredentials,
    AdminUnreachable,
    read_status,
)
from canary_trio.admin.asking.overview import ADMIN_S
from canary_trio.console.live.near import Near
from canary_trio.console.views.numbers import Heard
from canary_trio.console.views.service import (
    Document,
    StoredService,
    fleet_in,
    traffic,
    view,
)
from canary_trio.control.changes.documents import read_history
from canary_trio.control.fleet.report import Report
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.store_keys import (
    config_key,
    driver_state_key,
    proxies_prefix,
    service_prefix,
)
from kv_trio import Contact, Entry, KvError

_log = logging.getLogger(__name__)

TICK_S = 1.0
"""Between two looks at the numbers, in seconds."""

APART_S = 0.05
"""Between two views that changes of the store make, at least."""

ASKS_PER_S = 10
"""Other proxies that are asked in a second: of more each is asked less often."""

LOST_S = 2.0
"""How long the store may fail until it is said."""

Table = dict[str, Any]


@attrs.frozen
class Sources:
    """Whom a console asks.

    Attributes:
        store: with the documents.
        near: who is at hand.
        credentials: what other admin listeners are shown.
        events: gives the last ones of a service, the newest first.
        clock: gives seconds since 1970.
    """

    store: DocumentSource
    near: Near
    credentials: AdminCredentials
    events: Callable[[str], Sequence[Table]] = lambda _: ()
    clock: Callable[[], float] = time.time


class StoreStanding:
    """How a console stands with the store, by the contact of its watch.

    Attributes:
        contact: of the watch.
        lost: why the store says nothing newer; empty if it does.
    """

    def __init__(self, sources: Sources) -> None:
        self.contact = Contact()
        self.lost = ""
        self._sources = sources
        self._since = sources.clock()
        self._failing: float | None = None

    def __repr__(self) -> str:
        return f"<StoreStanding {self.lost or 'ok'}>"

    def look(self) -> bool:
        """Look at it; tell whether it is otherwise than before."""
        now = self._sources.clock()
        if not self.contact.error:
            self._failing = None
        elif self._failing is None:
            self._failing = now
        is_lost = self._failing is not None and (
            now - self._failing >= LOST_S or self.contact.last_s is None
        )
        lost = self.contact.error if is_lost else ""
        if bool(lost) != bool(self.lost):
            self._since = now if self._failing is None else self._failing
        changed, self.lost = lost != self.lost, lost
        return changed

    def shown(self) -> Table:
        """Give it as JSON has it."""
        heard, now = self.contact.last_s, self._sources.clock()
        if heard is not None:
            heard = round(now - (trio.current_time() - heard), 3)
        return {
            "url": self._sources.store.url,
            "ok": not self.lost and heard is not None,
            "since": round(self._since, 3),
            "error": self.lost,
            "heard": heard,
        }


class ServiceCollector:
    """What is known of one service.

    Attributes:
        service: or gateway.
        stored: what the store has.
        store: how it stands.
        heard: what its proxies said.
        views, ticks: how often the view, and the numbers alone, were made anew.
        is_known: whether the store has said what it has.
    """

    def __init__(self, service: str, sources: Sources) -> None:
        self.service = service
        self.stored = StoredService(service)
        self.store = StoreStanding(sources)
        self.heard = Heard(own=sources.near.address)
        self.views = self.ticks = 0
        self.is_known = False
        self._sources = sources
        self._news = trio.Event()
        self._is_due = trio.Event()
        self._marks: object = None
        self._reports: dict[tuple[str, int], Report | None] = {}
        self._own: list[Report] = []
        self._asked: dict[str, float] = {}
        self._made: tuple[StoredService, Table] = self.stored, {}
        self._view: bytes | None = None
        self._traffic: bytes | None = None

    def __repr__(self) -> str:
        return f"<ServiceCollector {self.service} views={self.views}>"

    # === who looks ===

    async def wait_other(self, views: int, ticks: int) -> None:
        """Wait until the view or the numbers are others than those."""
        while (views, ticks) == (self.views, self.ticks):
            await self._news.wait()

    @property
    def is_absent(self) -> bool:
        """Whether the store has nothing of it, and nobody here serves it."""
        return self.is_known and not self.stored.entries and not self.heard.statuses

    def view(self) -> bytes:
        """Give all of it as JSON."""
        if self._view is None:
            sources = self._sources
            self._view = _json(
                view(
                    *self._made,
                    self.store.shown(),
                    sources.events(self.service),
                    read_only=sources.store.read_only,
                    now=sources.clock(),
                )
            )
        return self._view

    def traffic(self) -> bytes:
        """Give the numbers alone as JSON."""
        if self._traffic is None:
            self._traffic = _json(self._made[1])
        return self._traffic

    # === what it does ===

    async def run(self) -> None:
        """Follow the service until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_store)
            nursery.start_soon(self._show_changes)
            nursery.start_soon(self._follow_proxies)

    async def _follow_store(self) -> None:
        store, contact = self._sources.store, self.store.contact
        if store.read_only:
            key = config_key(self.service)
            async with store.watch(key, wait_s=5.0, contact=contact) as states:
                async for state in states:
                    await self._take([] if state.entry is None else [state.entry])
            return
        prefix = service_prefix(self.service)
        async with store.watch_prefix(prefix, contact=contact) as listings:
            async for listing in listings:
                await self._take(listing.entries)

    async def _take(self, found: Iterable[Entry]) -> None:
        """Take what the store has; who made the document is asked once it is shown."""
        entries = {entry.key.decode("utf-8", "replace"): entry for entry in found}
        document = entries.get(config_key(self.service))
        before = self.stored.document
        is_other = before.revision != (document.modify_index if document else 0)
        if is_other or (document and before.text != document.value):
            before = Document.read(self.service, document)
        self.stored = StoredService(
            self.service,
            entries,
            before,
            fleet_in(entries, self.service, self._own, self._reports),
            None if is_other else self.stored.change,
            self._sources.clock(),
        )
        self.is_known = True
        marks = [
            (key, entry.modify_index)
            for key, entry in entries.items()
            if not is_noisy(key, self.service)
        ]
        if marks != self._marks:
            self._marks = marks
            self._is_due.set()
        if is_other and document is not None and not self._sources.store.read_only:
            await self._ask_who()

    async def _ask_who(self) -> None:
        try:
            history = await read_history(self._sources.store, self.service)
        except KvError as exc:
            _log.info("who made revisions of %s is not known: %s", self.service, exc)
            return
        change = history.find(self.stored.document.revision)
        self.stored = attrs.evolve(self.stored, change=change)
        self._is_due.set()

    async def _show_changes(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due = trio.Event()
            if self.is_known or self.store.lost:
                self._make(is_view=True)
            await trio.sleep(APART_S)

    async def _follow_proxies(self) -> None:
        due = trio.current_time()
        async with trio.open_nursery() as nursery:
            while True:
                await self._ask_near()
                self._ask_others(nursery)
                if self.store.look():
                    self._is_due.set()
                self._make(is_view=False)
                due = max(due + TICK_S, trio.current_time())
                await trio.sleep_until(due)

    async def _ask_near(self) -> None:
        near = self._sources.near
        said = await near.status(self.service)
        address = near.address or near.service
        if said is not None:
            self.heard.hear(address, said, self._sources.clock())
        if self._sources.store.read_only:
            self._own = [] if said is None else list(_reports_of(said, near.address))
            fleet = attrs.evolve(self.stored.fleet, reports=tuple(self._own))
            if fleet != self.stored.fleet:
                self.stored = attrs.evolve(self.stored, fleet=fleet)
                self._is_due.set()

    def _ask_others(self, nursery: trio.Nursery) -> None:
        """Begin to ask those whose turn it is; who is still being asked is not asked again."""
        near, now = self._sources.near, trio.current_time()
        addresses = [report.admin or report.id for report in self.stored.fleet.reports]
        self.heard.forget([*addresses, near.address or near.service])
        others = {
            report.admin: None
            for report in self.stored.fleet.reports
            if report.admin and report.admin != near.address
        }
        for report in self.stored.fleet.reports:
            if not report.admin:
                why = "it has no admin listener (--no-admin)"
                self.heard.hear(report.id, why, now)
        every_s = max(TICK_S, len(others) / ASKS_PER_S)
        self._asked = {one: at for one, at in self._asked.items() if one in others}
        room = ASKS_PER_S
        for address in sorted(others, key=lambda one: self._asked.get(one, 0.0)):
            last = self._asked.get(address)
            if room and (last is None or now - last >= every_s * 0.9):
                room -= 1
                self._asked[address] = float("inf")
                nursery.start_soon(self._ask, address)

    async def _ask(self, address: str) -> None:
        began, sources = trio.current_time(), self._sources
        said: Table | str = f"no response within {ADMIN_S:g} s"
        with trio.move_on_after(ADMIN_S):
            try:
                said = await read_status(
                    address, sources.credentials, service=self.service
                )
            except AdminUnreachable as exc:
                said = str(exc)
        if address in self._asked:
            self._asked[address] = began
            self.heard.hear(address, said, sources.clock())

    def _make(self, *, is_view: bool) -> None:
        now = self._sources.clock()
        counted = traffic(self.stored, self.heard, self.store.lost, now)
        self._made = self.stored, counted
        self._view = self._traffic = None
        if is_view:
            self.views += 1
        else:
            self.ticks += 1
        self._news.set()
        self._news = trio.Event()


def is_noisy(key: str, service: str) -> bool:
    """Tell whether what changes often is there: it is shown with the next numbers.

    >>> is_noisy("canary/web/proxies/a/trial", "web"), is_noisy("canary/web/proxies/trial", "web")
    (True, False)
    """
    proxies = proxies_prefix(service)
    beside_report = key.startswith(proxies) and "/" in key[len(proxies) :]
    return beside_report or key == driver_state_key(service)


def _json(table: Table) -> bytes:
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _reports_of(said: Table, admin: str) -> Iterable[Report]:
    """Give what proxies here would report, where the store keeps no reports."""
    rows = [row["status"] for row in said.get("workers", ()) if row["status"]]
    for one in rows or [said]:
        yield Report(
            id=str(one["id"]),
            running=int(one["running"]),
            attempted=int(one["attempted"]),
            admin=admin,
        )
