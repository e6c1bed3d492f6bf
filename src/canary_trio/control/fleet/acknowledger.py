"""What runs here, told to the fleet: an acknowledgement in the store.

It is a key of our own, held by a session: it says what requests are routed by from that
moment on, and it goes away with us. Whoever waits for a change waits for these keys; so
what runs is told at once, and a key is never missing while its proxy lives.

The key of a proxy that lives is never taken from it, see `own_name`. One file, since a
session, its key and who else has it are one state.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable

import trio

from canary_trio.control.fleet.last_seen import OwnNote
from canary_trio.control.fleet.own_name import NameFile
from canary_trio.control.fleet.report import Report
from canary_trio.control.fleet.report_pace import ReportPace
from canary_trio.control.sources.source import DocumentSource, KeyStore, SourceCannot
from canary_trio.control.store_keys import proxies_prefix
from canary_trio.errors import CannotServe, NameTaken, WrongServer
from canary_trio.telemetry.events import EventKind, Events
from kv_trio import Backoff, Contact, Entry, KvError, StoreRefused, TxnOperation

_log = logging.getLogger(__name__)

SESSION_TTL_S = 10.0
"""The time to live of a proxy's session: the least that stores grant.

They end a session within twice its time to live; for so long after its last sign of life
a proxy counts as live.
"""

RENEW_S = SESSION_TTL_S / 3
"""Between two renewals of the session, at each of which it is looked whether the report is
there still; so long a store may be another one before a proxy notices, where no connection
broke."""

OUTLIVED_S = 2 * SESSION_TTL_S + 5.0
"""After so long a session that still lives is renewed by somebody."""

WRONG_S = 1.0
"""How long a server of another kind is asked again, before a proxy that runs nothing ends.

What is remembered runs by then; who serves by it goes on.
"""

ASK_S = 30.0
"""How often a proxy that may have our name is asked whether it lives."""

START_S = 60.0
"""How long a proxy is so new that it ends itself where another one has its name."""

IsAlive = Callable[[str], Awaitable[bool]]
"""Asks an admin listener whether it is one of a proxy of our name that is not we."""


async def nobody_is(address: str, **_: str) -> bool:
    """Take it that nobody is there."""
    del address
    await trio.lowlevel.checkpoint()
    return False


class Acknowledger:
    """Tells one store after another what a proxy runs."""

    def __init__(
        self,
        service: str,
        proxy_id: str,
        report: Callable[[], Report],
        *,
        name: NameFile | None = None,
        is_alive: IsAlive = nobody_is,
        on_told: Callable[[], None] = lambda: None,
        events: Events | None = None,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin without a session, and with nothing written.

        Args:
            service: whose proxy it is.
            proxy_id: its name in the fleet.
            report: gives what is told.
            name: the file that shows which session was ours before.
            is_alive: asks whether another proxy of this name is alive.
            on_told: called when a report was written.
            events: where it is told what goes wrong.
            on_doubt: called where the store has our session, or our report, no more: it
                may be another one, or an older state of it.
        """
        self.refused = trio.Event()
        """Set where this proxy is to end: another one has its name, or the store is none."""
        self._service = service
        self._id = proxy_id
        self._key = proxies_prefix(service) + proxy_id
        self._report = report
        self._note = OwnNote(service, proxy_id)
        self._name = name
        self._is_alive = is_alive
        self._reason: CannotServe | None = None
        self._on_told = on_told
        self._events = events or Events()
        self._doubts: list[Callable[[], None]] = [on_doubt]
        self._own = {name.session} - {""} if name is not None else set()
        self._other = ""  # the session of another proxy that has our key
        self._other_since = self._asked_at = -math.inf
        self._new_until = trio.current_time() + START_S
        self._session = ""
        self._news = trio.Event()
        self._pace = ReportPace()

    def __repr__(self) -> str:
        return f"<Acknowledger {self._service} {self._id} session={self._session!r}>"

    @property
    def session(self) -> str:
        """That holds what is reported; empty if there is none."""
        return self._session

    def tell(self) -> None:
        """Write the report to the store soon, if it has changed."""
        self._pace.changes += 1
        self._news.set()

    async def run(self, client: KeyStore) -> None:
        """Tell a store what runs, at once; keep the session; begin anew if it ends."""
        acknowledged: Report | None = None
        renew_at = 0.0
        backoff = Backoff()
        self._session = ""
        await self._wait_for_name()
        while True:
            try:
                now = trio.current_time()
                if not self._session:
                    await self._begin_session(client)
                    acknowledged, renew_at = None, now + RENEW_S
                    self._note.begin()
                elif now >= renew_at:  # however often there is news
                    acknowledged = await self._renew(client, acknowledged)
                    if not self._session:
                        continue
                    renew_at = now + RENEW_S
                report = self._report()
                if report != acknowledged:
                    await self._pace.wait()
                    report = self._report()
                    if not await self._acknowledge(client, report):
                        await backoff.pause()
                        continue
                    self._new_until = -math.inf
                    acknowledged = report
                    self._tell_told()
                backoff.reset()
                await self._note.keep(client, report)
                await self._wait_for_news(renew_at - trio.current_time())
            except SourceCannot as exc:
                _log.info("what runs here is not reported: %s", exc)
                return
            except KvError as exc:
                if isinstance(exc, StoreRefused):  # such as: the session has ended
                    self._tell_refusal(exc)
                    self._session = ""
                await backoff.pause()

    def _tell_told(self) -> None:
        """Take that a report was written."""
        told = "this proxy is reported to the fleet again"
        for trouble in ("report", "held", "taken"):
            self._events.tell_over(
                *(trouble, EventKind.STORE, told), service=self._service
            )
        self._on_told()

    def _tell_refusal(self, refusal: StoreRefused) -> None:
        """Tell that the store refuses the report, and for the lack of which right."""
        self._events.tell_trouble(
            *("report", EventKind.STORE, f"not acknowledged: {refusal}"),
            service=self._service,
            status=refusal.status,
            key=refusal.key or self._key,
            right=refusal.right or None,
        )

    async def prepare(
        self,
        client: DocumentSource,
        contact: Contact,
        *steps: Callable[[KeyStore], Awaitable[None]],
    ) -> None:
        """Do what comes before a document is read, and see that the name is ours.

        It is tried until it is done, or for ever where the name is another one's, or the
        server is none while nothing runs: who serves ends us then.

        Args:
            client: of the store.
            contact: with it; told what goes wrong.
            steps: what is written or read first.
        """
        self._doubts[1:] = [client.doubt]
        backoff, ends_at = Backoff(), trio.current_time() + WRONG_S
        while True:
            try:
                await client.check_server(self._key)
                for step in steps:
                    await step(client)
                await self.check_name(client)
                if self.refused.is_set():
                    await trio.sleep_forever()
            except (KvError, WrongServer) as exc:
                contact.failed(exc)
                if isinstance(exc, WrongServer) and trio.current_time() >= ends_at:
                    await self._end_if_idle(exc)
                await backoff.pause()
            else:
                return

    async def _end_if_idle(self, reason: CannotServe) -> None:
        """End this proxy, unless it serves what it remembered, or had before."""
        if not self._report().running:
            self._reason = reason
            self.refused.set()
            await trio.sleep_forever()

    def check_refused(self) -> None:
        """Raise CannotServe if this proxy ends since it is refused."""
        if self._reason is not None:
            raise self._reason

    async def check_name(self, client: KeyStore) -> None:
        """Look whether another proxy that lives has our name, before anything is served.

        Raises:
            KvError: the store cannot be read.
        """
        if self._name is not None and not self._name.is_ours:
            return  # it is known who has it
        entry = (await client.get(self._key)).entry
        if entry is not None and entry.session and entry.session not in self._own:
            await self._meet(entry)

    async def say_goodbye(self, client: KeyStore) -> None:
        """End the session, which takes the key along; a store that is gone does so."""
        session, self._session = self._session, ""
        if not session or (self._name is not None and self._name.has_successor()):
            return  # who takes our key over, and then ends our session
        try:
            await client.destroy_session(session)
            await self._note.take_back(client)
        except KvError as exc:
            _log.info("could not say goodbye; the session ends by itself: %s", exc)

    # === private ===

    async def _wait_for_name(self) -> None:
        """Wait until the name is ours; a proxy that does not get it ends."""
        name = self._name
        if name is None or name.is_ours or name.is_given_up:
            return
        if not await name.wait():
            self._reason = name.taken()
            self.refused.set()
            await trio.sleep_forever()
        self._own.add(name.session)

    async def _check_given_up(self) -> None:
        """Report nothing any more, if a successor has ended our session."""
        if self._name is not None and self._name.is_given_up:
            await trio.sleep_forever()

    async def _renew(self, client: KeyStore, report: Report | None) -> Report | None:
        """Keep the session, if it lives; give the report, if the store has it still."""
        if not await client.renew_session(self._session):
            self._session = ""
            await self._check_given_up()
        elif report is None or await self._is_told(client, report):
            return report
        for doubt in self._doubts:
            doubt()
        return None

    async def _is_told(self, client: KeyStore, report: Report) -> bool:
        """Look whether the store has our report still, as it was written."""
        entry = (await client.get(self._key)).entry
        if entry is not None and entry.session == self._session:
            return entry.value == report.dump()
        return False

    async def _begin_session(self, client: KeyStore) -> None:
        name = f"canary {self._service} {self._id}"
        self._session = await client.create_session(name, SESSION_TTL_S, deletes=True)
        self._own.add(self._session)
        if self._name is not None:
            await trio.to_thread.run_sync(self._name.remember, self._session)

    async def _acknowledge(self, client: KeyStore, report: Report) -> bool:
        """Write a report; False if it is to be tried again.

        If a session of ours holds our key, such as one of a former life, the key changes
        hands in one transaction and that session ends. Ended first, it would take the key
        along, and the fleet would miss a proxy that lags.
        """
        key, mine, text = self._key, self._session, report.dump()
        if (await client.put(key, text, acquire=mine)).done:
            return True
        entry = (await client.get(key)).entry
        if entry is None or entry.session is None:
            return False
        if entry.session not in self._own:
            await self._meet(entry)
            return False
        _log.info("%s is held by an older session of ours; it ends now", key)
        unlock = TxnOperation("unlock", key, text, session=entry.session)
        lock = TxnOperation("lock", key, text, session=mine)
        taken = await client.transact([unlock, lock])
        if taken.done:
            await client.destroy_session(entry.session)
            self._own = {mine}
        return taken.done

    async def _meet(self, entry: Entry) -> None:
        """Find out about another proxy that has our key; it is not taken from it."""
        await self._check_given_up()
        now = trio.current_time()
        if entry.session != self._other:
            self._other, self._other_since = entry.session or "", now
            self._asked_at = -math.inf
        elif now - self._other_since < OUTLIVED_S and now - self._asked_at < ASK_S:
            return
        theirs = Report.load(entry.value)
        admin = "" if theirs is None else theirs.admin
        lives = now - self._other_since >= OUTLIVED_S
        if lives or (admin and await self._is_alive(admin)):
            self._refuse(admin)
            return
        self._asked_at = now
        self._events.tell_trouble(
            *("held", EventKind.STORE),
            f"{self._key} is held by the session of a proxy that does not respond at"
            f" {admin or 'its admin listener'}; if it has ended, its session does too within"
            f" {OUTLIVED_S:g} s, and this one is reported then",
            service=self._service,
            key=self._key,
        )

    def _refuse(self, admin: str) -> None:
        """End this proxy, if it has only begun; tell it if not."""
        now = trio.current_time()
        reason = NameTaken(
            f"a proxy of the name {self._id} serves {self._service} already (its admin"
            f" listener is {admin or 'unknown'}); give each proxy an --id NAME of its own"
        )
        if now < self._new_until:
            self._reason = reason
            self.refused.set()
        else:
            self._events.tell_trouble(
                *("taken", EventKind.STORE),
                f"this proxy is not reported to the fleet: {reason}",
                level=logging.ERROR,
                service=self._service,
                key=self._key,
            )

    async def _wait_for_news(self, longest_s: float) -> None:
        with trio.move_on_after(max(0.0, longest_s)):
            await self._news.wait()
        if self._news.is_set():
            self._news = trio.Event()
