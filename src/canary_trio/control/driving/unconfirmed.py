"""The duty to take back a change that nobody confirmed in time.

Each proxy follows what waits, and notes when it saw it come; so each of them knows when its
time is over, whoever drives then. One that finds it there, since it has only begun, goes by
the clock, within bounds (`PendingChange.due_in_s`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from canary_trio.control.changes.confirming import take_back
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.changes.waiting import pending_of
from canary_trio.control.driving.duty import Turn
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import pending_key
from kv_trio import Entry


class Unconfirmed:
    """What waits to be confirmed of one service, as one proxy sees it.

    Attributes:
        name: of the duty.
        change: what waits; None for nothing.
        due_at: when it is taken back, by the clock of the event loop.
    """

    name = "confirm"

    def __init__(
        self,
        service: str,
        on_change: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nothing that waits.

        Args:
            service: whose it is.
            on_change: called when something else waits, or nothing does.
            now: gives the time, in seconds since 1970.
        """
        self.change: PendingChange | None = None
        self.due_at = 0.0
        self._service = service
        self._key = pending_key(service)
        self._on_change = on_change
        self._now = now
        self._has_looked = self._came = False
        self._timed: tuple[int, int] | None = None  # what `due_at` was computed of
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Unconfirmed {self._service} {self.change}>"

    @property
    def is_due(self) -> bool:
        """Whether somebody must drive: as long as something waits."""
        return self.change is not None

    @property
    def knows_less(self) -> bool:
        """Whether others may know more: this proxy has not seen it come."""
        return self.change is not None and not self._came

    @property
    def shown(self) -> dict[str, Any] | None:
        """Give what waits as a value of JSON, as this proxy counts; None for nothing."""
        if self.change is None:
            return None
        left_s = round(max(0.0, self.due_at - trio.current_time()), 1)
        return self.change.shown(0) | {"left_s": left_s}

    def trial_of(self, proxy: str, revision: int) -> PendingChange | None:
        """Give what a proxy is to try while the document is at a revision; None for nothing."""
        change = self.change
        if change is None or not change.is_trial or not change.holds(revision):
            return None
        return change if change.share or proxy in change.proxies else None

    def begin(self) -> None:
        """Look at another store: what is found there first was not seen coming."""
        self._has_looked = False

    async def follow(
        self, client: KeyStore, then: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Follow what waits, until cancelled; do something after each change of it."""
        self.begin()
        async with client.watch(self._key) as states:
            async for snapshot in states:
                self.note(snapshot.entry)
                if then is not None:
                    await then()

    def note(self, entry: Entry | None) -> None:
        """Note what the store has."""
        came, self._has_looked = self._has_looked, True
        change = pending_of(entry)
        if change is not None and self._timed != (change.at, change.until):
            self._timed = change.at, change.until  # where it is carried over, they stay
            self._came = came
            due_in_s = change.due_in_s(round(self._now() * 1000), came=came)
            self.due_at = trio.current_time() + due_in_s
        self._use(change)

    def look(self) -> None:
        """Look at nothing: what waits is followed, not what is live."""

    async def run(self, turn: Turn) -> None:
        """Wait until its time is over, and take it back; return once nothing waits."""
        while (change := self.change) is not None:
            with trio.move_on_at(self.due_at):
                await self._news.wait()
                continue
            await take_back(turn.client, self._service, change)
            if self.change == change:
                self._use(None)

    def _use(self, change: PendingChange | None) -> None:
        if change != self.change:
            self.change = change
            self._news.set()
            self._news = trio.Event()
            self._on_change()
