"""The supervisor: watch, validate, build, swap, acknowledge, remember.

    store --watch--> document --load--> Config --build--> Live --install--> acknowledge

A document that cannot be read or built changes nothing; the last good one keeps
running. So three revisions are told apart: the one that was attempted last, the one
that runs, and the one that failed last. A deleted document changes nothing either.

What runs is told to the fleet by the `Acknowledger`. When a document names another
server, that is followed only once a valid document can be read there.

One file, since which store is followed and which document runs hang on each other.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from canary_trio.config.document import build, load, parse
from canary_trio.control.changes.documents import write_first
from canary_trio.control.driving.driver import Driver
from canary_trio.control.driving.duty import Duty
from canary_trio.control.driving.own_trial import OwnTrial
from canary_trio.control.driving.trial_beside import TrialBeside
from canary_trio.control.driving.trial_duty import TrialDuty
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.control.fleet.acknowledger import Acknowledger, nobody_is
from canary_trio.control.fleet.evidence import TRIAL, EvidencePublisher, TrialEvidence
from canary_trio.control.fleet.own_name import NameFile
from canary_trio.control.fleet.report import CertificateNotice, Report
from canary_trio.control.last_good import LastGood, LastGoodFile
from canary_trio.control.moving import NextStore
from canary_trio.control.secret_keeper import SecretKeeper
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource, KeyStore
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.status import Status, Whole
from canary_trio.control.store_keys import config_key
from canary_trio.errors import CanaryError, InvalidConfig
from canary_trio.proxy.changing.trial import run_trials
from canary_trio.proxy.runtime import Runtime
from http_trio import HttpError
from kv_trio import Entry, Snapshot

_log = logging.getLogger(__name__)

STALE_S = 15.0
"""Without contact for longer than this beyond the update rate, the state is stale."""

RECALL_AFTER_S = 0.5
"""How long the store has to give a document before the remembered one is used."""

_LONG = 16 * 1024  # bytes of a document that is not read at one go


class Supervisor:
    """The supervisor of one service."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        service: str,
        proxy_id: str,
        config_server: str,
        tokens: StoreTokens,
        ca_file: str | None = None,
        cert_file: str | None = None,
        bootstrap: bytes | None,
        memory: Path | None,
        address: str,
        admin: str,
        on_live: Callable[[int], None] | None = None,
        name: NameFile | None = None,
        is_alive: Callable[..., Awaitable[bool]] = nobody_is,
        part_of: Whole | None = None,
        own_secret: Path | None = None,
        certificates: Callable[[], tuple[CertificateNotice, ...]] = tuple,
        duties: Sequence[Duty] = (),
    ) -> None:
        """Begin with nothing that runs.

        `certificates` gives those of the listener that the fleet is told of; `duties` are
        what one proxy of the fleet does for the service.
        `part_of` is who follows the store for this service and many others; it calls
        `apply`, and nobody calls `run`.
        """
        self.instance = secrets.token_hex(8)
        """Tells this life of the proxy from any other."""
        self.status = Status(config_server, service, runtime.observer.events)
        self.ready = trio.Event()
        self._runtime = runtime
        self._service = service
        self._id = proxy_id
        self._tokens = tokens
        self._files = {"ca_file": ca_file, "cert_file": cert_file}
        self._keep = runtime.observer.tasks.run
        self._bootstrap = bootstrap
        self._address, self._admin = address, admin
        self._on_live = on_live
        self._certificates = certificates
        self._part_of = part_of
        self.keeper = SecretKeeper(
            *(service, self._use_secrets),
            own=own_secret,
            events=runtime.observer.events,
        )
        self._next_store = NextStore(
            service,
            self.status,
            open_store=self._open,
            tokens=tokens,
            tell=self._tell,
        )
        self._good: LastGood | None = None  # what is remembered, or about to be
        self.unconfirmed = Unconfirmed(service, self._look)
        beside = TrialBeside(
            *(service, runtime, self.status),
            secrets=lambda: self.keeper.current,
            tell=self._tell,
        )
        self.own_trial = OwnTrial(
            *(self.unconfirmed, proxy_id),
            take=self._take,
            beside=beside,
            running=lambda: self.running,
            refused=lambda: self.status.failed.revision if self.status.failed else 0,
        )
        self.driver = Driver(
            service,
            proxy_id,
            (self.unconfirmed, TrialDuty(self.unconfirmed, runtime), *duties),
            session=self._own_session,
            keep=self._keep,
        )
        told = (service, proxy_id, runtime, self._own_session)
        self.evidence = EvidencePublisher(*told), TrialEvidence(*told, TRIAL)
        if part_of is not None:
            self.status.contact = part_of.contact
        else:
            self._acknowledger = Acknowledger(
                service,
                proxy_id,
                self.report,
                name=name,
                is_alive=partial(
                    is_alive, service=service, proxy_id=proxy_id, instance=self.instance
                ),
                on_told=self.driver.look,
                events=runtime.observer.events,
            )
        self._memory = None if memory is None else LastGoodFile(memory)

    def __repr__(self) -> str:
        return f"<Supervisor {self._service} {self._id} running={self.running}>"

    @property
    def refused(self) -> trio.Event:
        """Set where another proxy has our name."""
        return self._acknowledger.refused

    def check_refused(self) -> None:
        """Raise CannotServe if this proxy ends since it is refused."""
        self._acknowledger.check_refused()

    def _own_session(self) -> str:
        whole = self._part_of
        return self._acknowledger.session if whole is None else whole.session

    @property
    def running(self) -> int:
        """The revision that requests are routed by; 0 for none."""
        return self._runtime.live.revision if self._runtime.live else 0

    def report(self) -> Report:
        """Give what the fleet is told of this proxy."""
        return Report(
            id=self._id,
            running=self.running,
            attempted=self.status.attempted,
            failed=self.status.failed,
            address=self._address,
            admin=self._admin,
            move=self._why_not_moved(),
            certificates=self._certificates(),
            digest=self.status.digest,
            tries_over=self.own_trial.over,
            beside=self.own_trial.beside,
        )

    def _why_not_moved(self) -> str:
        live = self._runtime.live
        target = live.config.config_server if live else None
        if target in (None, self.status.config_server):
            return ""
        return self.status.move_error or f"on the way to {target}"

    async def run(self) -> None:
        """Follow the store until cancelled; then say goodbye to it, within a second."""
        async with trio.open_nursery() as nursery:
            if self._memory is not None:
                remembered = await self._memory.load()
                if remembered is not None and remembered.secret is not None:
                    self.keeper.recall(remembered.secret)
                    recall = partial(self._fall_back, remembered)
                    nursery.start_soon(self._keep, "recall", recall)
                nursery.start_soon(self._keep, "remember", self._memory.run)
            nursery.start_soon(self._runtime.run)
            trials = partial(run_trials, self._runtime)
            nursery.start_soon(self._keep, "trials", trials)
            nursery.start_soon(self._keep, "secret_time", self.keeper.keep_time)
            await self._keep("follow", self._follow_all)

    # === one store ===

    def _open(self, url: str) -> DocumentSource:
        """Make a source; one that the operator did not name is shown no token."""
        token = partial(self._tokens.get, url)
        return open_source(url, token=token, **self._files)

    async def _follow_all(self) -> None:
        while True:
            self.status.config_server = await self._follow(self.status.config_server)

    async def _follow(self, url: str) -> str:
        """Follow one store; give the URL of the next one."""
        moved_to = url
        async with self._open(url) as client:
            try:
                async with trio.open_nursery() as nursery:
                    first = (self._write_first, self.keeper.agree)
                    contact = self.status.contact
                    await self._acknowledger.prepare(client, contact, *first)
                    tell = partial(self._acknowledger.run, client)
                    nursery.start_soon(self._keep, "acknowledge", tell)
                    secret = partial(self.keeper.follow, client)
                    nursery.start_soon(self._keep, "secret", secret)
                    if not client.read_only:
                        pending = partial(
                            self.unconfirmed.follow, client, self.own_trial.look
                        )
                        nursery.start_soon(self._keep, "pending", pending)
                    drive = partial(self.driver.run, client)
                    nursery.start_soon(self._keep, "driver", drive)
                    for one in self.evidence:
                        tell = partial(one.keep, client)
                        nursery.start_soon(self._keep, one.what, tell)
                    moved_to = await self._watch(client)
                    nursery.cancel_scope.cancel()
            finally:
                with trio.move_on_after(1, shield=True):
                    await self._acknowledger.say_goodbye(client)
        return moved_to

    async def _write_first(self, client: KeyStore) -> None:
        if self._bootstrap is not None:
            await write_first(client, self._service, self._bootstrap)
            self._bootstrap = None

    async def _watch(self, client: KeyStore) -> str:
        """Apply each document as it comes, until one moves us to another store."""
        key = config_key(self._service)
        async with client.watch(key, contact=self.status.contact) as states:
            live = self._runtime.live
            states.wait_s = live.config.update_rate if live else states.wait_s
            snapshot = await anext(states)
            while True:
                await self.apply(snapshot.entry)
                live = self._runtime.live
                target = live.config.config_server if live else None
                if live:
                    states.wait_s = live.config.update_rate
                if target is None or target == client.url:
                    self._next_store.stay()
                    snapshot = await anext(states)
                    continue
                found = await self._next_or_move(states.__anext__, target)
                if found is None:
                    self._next_store.leave(client.url)
                    return target
                snapshot = found

    async def _next_or_move(
        self, next_state: Callable[[], Awaitable[Snapshot]], target: str
    ) -> Snapshot | None:
        """Wait for a document here, or (None) for a valid one at the target."""
        found: Snapshot | None = None

        async def wait_here(scope: trio.CancelScope) -> None:
            nonlocal found
            found = await next_state()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_here, nursery.cancel_scope)
            await self._keep("move", partial(self._next_store.wait_valid, target))
            nursery.cancel_scope.cancel()
        return found

    # === one document ===

    async def apply(self, entry: Entry | None) -> None:
        """Take a document as the store has it: run it, or refuse it, and say so."""
        if entry is None:
            self.status.tell_absent()
        else:
            await self.own_trial.apply(entry)

    async def _take(
        self, document: bytes, revision: int, *, is_trial: bool = False
    ) -> None:
        self.status.attempted = revision
        try:
            await self._install(document, revision, is_trial=is_trial)
        except Exception as exc:
            self.status.refuse_for(revision, exc)
        else:
            if not is_trial:
                self._remember(revision, document)
            self.status.is_live(revision, document)
        self._tell()

    def _look(self) -> None:
        """Look whether there is a duty now."""
        self.driver.look()
        if self._part_of is not None:
            self._part_of.look_after(self._service)

    def _tell(self) -> None:
        """Tell the fleet soon what runs now; a duty may be due by it."""
        self.driver.look()
        if self._part_of is not None:
            self._part_of.tell(self._service)
        else:
            self._acknowledger.tell()

    async def _install(self, document: bytes, revision: int, *, is_trial: bool) -> None:
        table = parse(document)
        if len(document) > _LONG:
            await trio.lowlevel.checkpoint()  # each half takes some milliseconds
        config = build(table, service=self._service)
        secrets = self.keeper.current
        make = partial(self._runtime.build, is_trial=is_trial)
        self._runtime.install(await make(config, revision, *secrets))
        self._use_secrets()  # they may be others meanwhile
        self.ready.set()
        self.status.tell_unverified(config.unverified)
        if self._on_live is not None:
            self._on_live(revision)

    # === remembering ===

    def _remember(self, revision: int, document: bytes) -> None:
        save = self._memory.save if self._memory is not None else None
        if self._part_of is not None:
            save = partial(self._part_of.save, self._service)
        if save is not None and self.keeper.secret is not None:
            self._good = LastGood(revision, document, self.keeper.secret)
            save(self._good)

    def _use_secrets(self) -> None:
        """Sign and verify with the secrets that do now, and remember them."""
        if self._runtime.live is not None:
            self._runtime.live.use_secrets(self.keeper.current)
        if self._good is not None and self._good.secret != self.keeper.secret:
            self._remember(self._good.revision, self._good.document)

    async def _fall_back(self, remembered: LastGood) -> None:
        """Run what was remembered if the store gives no document soon."""
        with trio.move_on_after(RECALL_AFTER_S):
            await self.ready.wait()
            return
        await self.fall_back(remembered)

    async def fall_back(self, remembered: LastGood) -> None:
        """Run what was remembered, if nothing runs."""
        try:
            config = load(remembered.document)
        except InvalidConfig as exc:
            self.status.tell_not_recalled(f"is not valid any more: {exc}")
            return
        try:
            secrets = self.keeper.current
            live = await self._runtime.build(config, remembered.revision, *secrets)
        except (HttpError, CanaryError) as exc:  # such as a file of certificates
            self.status.tell_not_recalled(f"cannot run: {exc}")
            return
        if self._runtime.live is None:
            self._runtime.install(live)
            self.status.tell_unverified(config.unverified)
            self._use_secrets()
            self.status.tell_remembered(live.revision, remembered.document)
            self.ready.set()
            self._tell()
