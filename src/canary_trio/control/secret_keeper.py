"""The fleet's secret as one proxy has it: agreed on, followed, and given back if lost.

The store has the word. What cannot be used there is refused and told, and the last good
secret goes on; what is gone there is written back, for every proxy has it, so that no user
moves. Only a proxy that finds none and has none makes one, and it waits for the others.
Where the source can keep none, the machine's proxies have one of their own.

One file, since what is agreed on, followed and given back is one state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import trio

from canary_trio.control.fleet_secret import BadSecret, FleetSecret
from canary_trio.control.sources.own_secret import own_secret
from canary_trio.control.sources.source import KeyStore, SourceCannot
from canary_trio.control.store_keys import proxies_prefix, secret_key
from canary_trio.errors import CanaryError, WrittenMeanwhile
from canary_trio.telemetry.events import EventKind, Events
from kv_trio import Backoff, Entry, KvError, Snapshot, StoreRefused

GIVEN_BACK_S = 3.0
"""How long a new proxy waits for the others to write back a secret that is lost."""

LOOK_S = 60.0
"""Seconds between two looks at the clock at most, since it may be set."""

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


class SecretKeeper:
    """The fleet's secret.

    Attributes:
        service: whose it is.
        key: where the store has it.
        secret: as the store had it last, and it was good; None before.
        on_change: called when other secrets sign or verify than before.
    """

    def __init__(
        self,
        service: str,
        on_change: Callable[[], None],
        now: Now = utc_now,
        own: Path | None = None,
        *,
        events: Events | None = None,
    ) -> None:
        """Begin without one.

        Args:
            service: whose it is.
            on_change: called when other secrets sign or verify than before.
            now: gives the time.
            own: the file of this machine's secret, where the source cannot keep one.
            events: where it is told what becomes of it.
        """
        self._events = events or Events()
        self.secret: FleetSecret | None = None
        self.on_change = on_change
        self.service = service
        self.key = secret_key(service)
        self._now = now
        self._own = own
        self._uses_own = False  # since the source has none and can keep none
        self._changed = trio.Event()
        self._told = ""  # what was wrong in the store when it was told last

    def __repr__(self) -> str:
        count = len(self.secret.secrets) if self.secret else 0
        return f"<SecretKeeper of {self.service} with {count} secrets>"

    @property
    def current(self) -> tuple[bytes, ...]:
        """The secrets that verify now; the first of them signs."""
        assert self.secret is not None, "agreed on, or remembered"
        return self.secret.at(self._now())

    async def agree(self, client: KeyStore) -> None:
        """Take the fleet's secret, or give it ours, or make one if there is none.

        Raises:
            KvError: the store cannot be asked, or holds none, and neither do we.
        """
        snapshot = await client.get(self.key)
        if _is_lost(snapshot.entry) and self.secret is None:
            snapshot = await self._wait_given_back(client, snapshot)
        if _is_lost(snapshot.entry):
            recalled = self.secret
            self.secret = recalled or FleetSecret.draw()
            try:
                await self._write(client, snapshot.entry)
            except SourceCannot as exc:
                self.secret = recalled
                own = recalled or await self._read_own()
                self.secret = own or FleetSecret.draw()
                self._tell_own(str(exc))
                return
            snapshot = await client.get(self.key)
        if snapshot.entry is None:
            raise StoreRefused(404, f"{self.key} is gone at once")
        self._take(snapshot.entry)
        if self.secret is None:
            raise StoreRefused(200, self._told)

    async def _wait_given_back(self, client: KeyStore, lost: Snapshot) -> Snapshot:
        try:
            fleet = await client.list(proxies_prefix(self.service))
        except SourceCannot:
            return lost  # where nobody reports, nobody gives it back
        with trio.move_on_after(GIVEN_BACK_S if fleet.entries else 0):
            async with client.watch(self.key) as states:
                async for snapshot in states:
                    if not _is_lost(snapshot.entry):
                        return snapshot
                    lost = snapshot
        return lost

    async def follow(self, client: KeyStore) -> None:
        """Follow the store's secret, until cancelled; give it back if it is lost."""
        async with client.watch(self.key) as states:
            while True:
                await self.take(client, (await anext(states)).entry)

    async def take(self, client: KeyStore, entry: Entry | None) -> None:
        """Take the store's secret; give it back if it is lost."""
        if _is_lost(entry):
            await self._give_back(client, entry)
        elif entry is not None:
            self._take(entry)

    @property
    def changes(self) -> bool:
        """Whether time alone will change what signs or verifies."""
        return (
            self.secret is not None and self.secret.next_change(self._now()) is not None
        )

    async def keep_time(self) -> None:
        """Tell when the time has come for another secret, until cancelled."""
        used: tuple[bytes, ...] = ()
        while True:
            self._changed = trio.Event()
            sleep_s = float("inf")
            if self.secret is not None:
                now = self._now()
                if used != (used := self.secret.at(now)):
                    self.on_change()
                change = self.secret.next_change(now)
                if change is not None:
                    sleep_s = min(LOOK_S, (change - now).total_seconds())
            with trio.move_on_after(sleep_s):
                await self._changed.wait()

    def use(self, secret: FleetSecret) -> None:
        """Sign and verify by a secret that the store has."""
        self._told, self._uses_own = "", False
        if secret != self.secret:
            if self.secret is not None:
                self._tell(
                    *(
                        EventKind.CHANGE,
                        "the fleet's secret is another now",
                        logging.INFO,
                    )
                )
            self.secret = secret
            self._changed.set()
            self.on_change()

    def recall(self, secret: FleetSecret) -> None:
        """Take up what was remembered, as long as the store has not said anything."""
        if self.secret is None:
            self.secret = secret
            self._changed.set()

    # === private ===

    def _take(self, entry: Entry) -> None:
        """Take what the store has if it is good; tell once what is wrong with it."""
        try:
            secret = FleetSecret.load(entry.value)
        except BadSecret as exc:
            told = f"{self.key} holds no secret: {exc}"
            if told != self._told:
                goes_on = "; the last good one goes on" if self.secret else ""
                self._tell(EventKind.REFUSAL, told + goes_on, logging.ERROR)
            self._told = told
            return
        self.use(secret)

    async def _give_back(self, client: KeyStore, entry: Entry | None) -> None:
        if self.secret is None or self._uses_own:
            return
        backoff, told = Backoff(), False
        while True:
            try:
                await self._write(client, entry)
            except SourceCannot as exc:
                self._tell_own(str(exc))
                return
            except StoreRefused as exc:
                told_why = f"{self.key} was lost, and cannot be written back: {exc}"
                self._tell(EventKind.STORE, told_why, logging.WARNING)
                told = True
            except KvError:
                await backoff.pause()
                continue
            if not told:
                told_why = f"{self.key} was lost; the fleet's secret was written back"
                self._tell(EventKind.STORE, told_why, logging.WARNING)
            return  # if another proxy was first, its write is the next state

    async def _read_own(self) -> FleetSecret | None:
        """Give this machine's secret; None where nothing is kept on disk."""
        if self._own is None:
            return None
        try:
            return await trio.to_thread.run_sync(own_secret, self._own)
        except (OSError, BadSecret) as exc:
            raise StoreRefused(200, f"no secret to sign with: {exc}") from exc

    def _tell(self, kind: EventKind, words: str, level: int) -> None:
        self._events.tell(kind, words, level=level, service=self.service, key=self.key)

    def _tell_own(self, reason: str) -> None:
        """Tell once that the secret is not the fleet's."""
        if not self._uses_own:
            told = f"cookies are signed by this machine's own secret: {reason}"
            self._tell(EventKind.CHANGE, told, logging.INFO)
        self._uses_own = True

    async def _write(self, client: KeyStore, over: Entry | None) -> None:
        assert self.secret is not None, "there is one to write"
        cas = 0 if over is None else over.modify_index
        await client.put(self.key, self.secret.dump(), cas=cas)


async def rotate_secret(
    client: KeyStore, service: str, rotate: Callable[[FleetSecret], FleetSecret]
) -> FleetSecret:
    """Write what becomes of a service's secret, over the one that it was made of.

    Raises:
        BadSecret: there is none that can be used.
        WrittenMeanwhile: another writer was first; nothing is written.
        KvError: the store cannot be read or written.
    """
    entry = (await client.get(secret_key(service))).entry
    if entry is None or _is_lost(entry):
        raise CanaryError(f"{service} has no secret yet; its first proxy makes one")
    try:
        secret = rotate(FleetSecret.load(entry.value))
    except BadSecret as exc:
        raise BadSecret(f"{secret_key(service)}: {exc}") from exc
    written = await client.put(
        secret_key(service), secret.dump(), cas=entry.modify_index
    )
    if not written.done:
        raise WrittenMeanwhile(service, written.index)
    return secret


def _is_lost(entry: Entry | None) -> bool:
    """Tell whether nothing stands in the store that anybody could have meant."""
    return entry is None or not entry.value.strip()
