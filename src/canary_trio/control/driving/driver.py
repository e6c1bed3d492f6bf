"""Who drives a service: the proxy that holds its lock, and only while there is a duty.

    a duty is due --> contend for the lock --> run the duties --> none is due: let go of it

The rule that it obeys: the lock gives liveness, never safety. Whatever a duty writes is
compare-and-set, so a driver that was deposed and does not know it yet does no harm. The
lock is held by the session of the proxy's report, without a lock-delay, and free at once
when its holder drains. A session whose holder died lasts up to twice its time to live, which is
longer than anybody wants to wait: so who drives shows it every `SHOWN_S`, and from one that
has shown nothing for `SILENT_S` another one takes the lock, half of that later at most. Each
measures it by a clock of its own, from what it has seen change, whatever others' clocks say. Who waits for the
lock is woken by the store. What goes wrong with the store is
told and tried again, and never reaches the requests. One file, since the lock and what is
done while we have it hang on each other.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import trio

from canary_trio.control.driving.duty import Duty, KeptState, Turn
from canary_trio.control.sources.source import KeyStore, SourceCannot
from canary_trio.control.store_keys import driver_key, driver_state_key
from kv_trio import Backoff, Entry, KvError, TxnOperation

_log = logging.getLogger(__name__)

SHOWN_S = 2.0
"""How often a driver shows in the store that it drives, if its duties keep nothing."""

SILENT_S = 8.0
"""How long a driver may show nothing before another one takes the lock from it."""

DEFER_S = 1.0
"""How long a proxy leaves the lock, while it is free, to those that may know more."""

RELEASE_S = 1.0
"""How long the store has to take the lock back; else it ends with the session."""

Keep = Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Keeps a task going, as `TaskKeeper.run`."""


@attrs.frozen
class Driving:
    """Who drives a service, as one proxy knows it.

    Attributes:
        by: the proxy that drives; empty for none.
        here: whether it is this one.
        duties: that are due, as this proxy sees it.
        none_since_s: seconds for which nobody drives, as far as this proxy has seen it;
            None where somebody does, or nobody needs to.
    """

    by: str
    here: bool
    duties: tuple[str, ...]
    none_since_s: float | None


class Driver:
    """What one proxy does to drive one service."""

    def __init__(
        self,
        service: str,
        proxy_id: str,
        duties: Sequence[Duty],
        *,
        session: Callable[[], str],
        keep: Keep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin without the lock.

        Args:
            service: that is driven.
            proxy_id: this proxy's name in the fleet.
            duties: that may be due.
            session: gives the session of the proxy's report; empty if there is none.
            keep: keeps a task going whatever happens to it.
            now: the time, in seconds since 1970.
        """
        self.retired = False
        self._service = service
        self._id = proxy_id
        self._key = driver_key(service)
        self.duties = tuple(duties)
        self._session = session
        self._keep = keep
        self._now = now
        self._by = ""
        self._session_here = ""  # that holds the lock for us
        self._has_tried = False  # whether it may hold it
        self._free_since: float | None = None
        self._contending: tuple[str, trio.CancelScope] | None = None
        self._held: Entry | None = None  # the lock, where another one holds it
        self._news = trio.Event()
        self._told = ""

    def __repr__(self) -> str:
        return f"<Driver {self._service} {self.shown}>"

    @property
    def is_due(self) -> bool:
        """Whether somebody must drive, and this proxy may."""
        return not self.retired and any(duty.is_due for duty in self.duties)

    @property
    def shown(self) -> Driving:
        """Say who drives."""
        due = tuple(duty.name for duty in self.duties if duty.is_due)
        since_s = None
        if due and not self._by and self._free_since is not None:
            since_s = trio.current_time() - self._free_since
        return Driving(self._by, bool(self._session_here), due, since_s)

    def look(self) -> None:
        """Look again: a duty is due or is not any more, or the session is another one."""
        for duty in self.duties:
            duty.look()
        self._news.set()
        self._news = trio.Event()
        if self._contending is not None:
            session, scope = self._contending
            if not self.is_due or session != self._session():
                scope.cancel()

    def retire(self) -> None:
        """Let another proxy drive, at once and for good: this one is about to end."""
        self.retired = True
        self.look()

    async def run(self, client: KeyStore) -> None:
        """Drive whenever there is a duty and the lock is to be had; return once retired."""
        backoff = Backoff()
        while not self.retired:
            session = self._session()
            if not session or not self.is_due:
                self._forget()
                await self._news.wait()
                continue
            try:
                with trio.CancelScope() as scope:
                    self._contending = session, scope
                    await self._contend(client, session, backoff)
            except SourceCannot as exc:
                _log.info("nobody drives %s from here: %s", self._service, exc)
                return
            except KvError as exc:
                self._tell(
                    f"the lock of {self._service}'s driver is not to be had: {exc}"
                )
                await backoff.pause()
            finally:
                self._contending = None

    # === the lock ===

    async def _contend(self, client: KeyStore, session: str, backoff: Backoff) -> None:
        """Take the lock whenever it is free, and drive while we have it."""
        driving: trio.CancelScope | None = None
        failed: KvError | None = None
        try:
            async with client.watch(self._key) as states:  # noqa: SIM117  # one end each
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._look_after, client, session)
                    while True:
                        entry = (await anext(states)).entry
                        self._note(entry, session)
                        if driving is not None and not self._session_here:
                            driving.cancel()
                            driving = None
                        if self._session_here and driving is None:
                            backoff.reset()
                            driving = trio.CancelScope()
                            nursery.start_soon(self._drive, client, session, driving)
                        if entry is None or entry.session is None:
                            await self._acquire(client, session, backoff)
        except* KvError as group:
            failed = _first(group)
        finally:
            if self._has_tried:
                with trio.move_on_after(RELEASE_S, shield=True):
                    await self._release(client, session)
        if failed is not None:
            raise failed

    async def _acquire(self, client: KeyStore, session: str, backoff: Backoff) -> None:
        """Try to get the lock; the watch tells who has got it."""
        if any(duty.is_due and duty.knows_less for duty in self.duties):
            await trio.sleep(DEFER_S)
        while not await self._take(client, session):
            entry = (await client.get(self._key)).entry
            if entry is not None and entry.session is not None:
                return
            await backoff.pause()  # an older session's lock-delay, or a race

    async def _take(self, client: KeyStore, session: str) -> bool:
        """Ask for the lock once; give whether we have it, which the watch tells too."""
        self._has_tried = True
        value = json.dumps({"by": self._id, "at": self._now_ms()}).encode()
        return (await client.put(self._key, value, acquire=session)).done

    async def _look_after(self, client: KeyStore, session: str) -> None:
        """Take the lock from who has shown nothing for long; whoever is first gets it.

        What is shown is read now and then: each proxy would be woken by each of it else. And
        a lock that another one took before us, and lost before the watch had seen that, is
        as free to the watch as it was: that is no news, so it is asked for again.
        """
        shown: tuple[object, ...] = ()
        since = trio.current_time()
        while True:
            await trio.sleep(SILENT_S / 2)
            held, now = self._held, trio.current_time()
            if held is None:
                shown = ()
                if self._has_tried and not self._session_here:
                    await self._take(client, session)
                continue
            entry = (await client.get(driver_state_key(self._service))).entry
            found = held.session, None if entry is None else entry.modify_index
            if found != shown:
                shown, since = found, now
            elif now - since >= SILENT_S and self._held is held:
                _log.warning("%s: %s drives no more, it seems", self._service, self._by)
                lock = TxnOperation("delete-cas", self._key, index=held.modify_index)
                await client.transact([lock])

    async def _release(self, client: KeyStore, session: str) -> None:
        self._session_here = self._by = ""
        self._has_tried = False
        held = TxnOperation("check-session", self._key, session=session)
        try:
            await client.transact([held, TxnOperation("delete", self._key)])
        except KvError as exc:
            _log.info("the lock of %s's driver ends by itself: %s", self._service, exc)

    def _note(self, entry: Entry | None, session: str) -> None:
        """Note who has the lock."""
        before = self._by
        holder = None if entry is None else entry.session
        self._by = "" if entry is None or holder is None else _holder(entry.value)
        self._session_here = session if holder == session else ""
        self._held = entry if holder not in (None, session) else None
        if holder is not None:
            self._free_since = None
        elif self._free_since is None:
            self._free_since = trio.current_time()
        if self._by and self._by != before:
            _log.info("%s is driven by %s", self._service, self._by)

    def _forget(self) -> None:
        """Know nothing of the lock: nobody needs it."""
        self._by, self._free_since = "", None

    # === the duties ===

    async def _drive(
        self, client: KeyStore, session: str, scope: trio.CancelScope
    ) -> None:
        with scope:
            await self._keep("driver", partial(self._do_all, client, session))

    async def _do_all(self, client: KeyStore, session: str) -> None:
        turn = Turn(client, self._service, self._id, session)
        await self._again(partial(self._take_over, turn))
        async with trio.open_nursery() as nursery:
            for duty in self.duties:
                nursery.start_soon(self._do, duty, turn)
            nursery.start_soon(self._show, turn)

    async def _take_over(self, turn: Turn) -> None:
        entry = (await turn.client.get(driver_state_key(self._service))).entry
        turn.kept = KeptState.load(None if entry is None else entry.value)
        await turn.show(self._now_ms())

    async def _do(self, duty: Duty, turn: Turn) -> None:
        """Do a duty whenever it is due."""
        backoff = Backoff()
        while True:
            if not duty.is_due:
                await self._news.wait()
                backoff.reset()
                continue
            await self._again(partial(duty.run, turn))
            self.look()
            if duty.is_due:
                await backoff.pause()

    async def _show(self, turn: Turn) -> None:
        """Show now and then that this proxy drives."""
        while True:
            shown = turn.kept
            await trio.sleep(SHOWN_S)
            if turn.kept is shown:
                await self._again(partial(turn.show, self._now_ms()))

    async def _again(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do something with the store until that goes well."""
        backoff = Backoff()
        while True:
            try:
                await step()
            except KvError as exc:
                self._tell(f"the driver of {self._service} goes on: {exc}")
                await backoff.pause()
            else:
                self._told = ""
                return

    def _tell(self, words: str) -> None:
        if words != self._told:
            self._told = words
            _log.warning("%s", words)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


async def wait_driven(client: KeyStore, service: str) -> None:
    """Wait until a proxy drives a service; there may never be one.

    Raises:
        KvError: the store cannot be watched at all.
    """
    async with client.watch(driver_key(service)) as states:
        while True:
            entry = (await anext(states)).entry
            if entry is not None and entry.session is not None:
                return


def _holder(value: bytes) -> str:
    """Give the proxy that a lock's value names."""
    try:
        return str(json.loads(value)["by"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "?"


def _first(group: BaseExceptionGroup[KvError]) -> KvError:
    """Give one of the errors of a group."""
    exc = group.exceptions[0]
    return _first(exc) if isinstance(exc, BaseExceptionGroup) else exc
