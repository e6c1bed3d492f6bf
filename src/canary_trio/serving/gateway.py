"""A gateway: one table of routes, and the services that it names, by one watch.

    store --one watch of all keys--> table --> index of routes
                                 \\-> each service's document and secret --> what it runs

The rule that it obeys: a change of one service touches no other. Each takes what the store
says of it in a task that lasts as long as that; a document that is refused leaves what ran
before, and routes to a service without any answer 503. What all share is the store's
client, the watch, the session and the writer of what is remembered.

Services that a new table names begin to be followed; one that it names no more is reported
no more, and dropped when its last request has ended. One file, since which table runs,
which services there are and which keys are watched hang on each other.
"""

from __future__ import annotations

import secrets
from functools import partial

import trio

from canary_trio.admin.certificates import notices
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.control.changes.documents import write_first
from canary_trio.control.driving.driver import Driver
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.control.fleet.acknowledger import Acknowledger
from canary_trio.control.fleet.report import Report
from canary_trio.control.last_good import LastGood, LastGoodFiles
from canary_trio.control.secret_maker import SecretMaker
from canary_trio.control.sources.source import (
    Changes,
    DocumentSource,
    KeyStore,
    WatchedKeys,
)
from canary_trio.control.status import Status
from canary_trio.control.store_keys import config_key, pending_key
from canary_trio.control.supervisor import RECALL_AFTER_S
from canary_trio.errors import InvalidConfig
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Task
from canary_trio.routing.edge.model import GatewayConfig, Route
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.serving.gateway_handler import GatewayHandler, of_service
from canary_trio.serving.hosted_service import HostedService
from canary_trio.serving.route_auth import Made, RouteAuth
from canary_trio.serving.service_news import FollowedKeys, KeyKind
from canary_trio.serving.service_reports import ServiceReports
from canary_trio.serving.single_service import Site
from canary_trio.telemetry.decision_labels import Whose
from canary_trio.telemetry.events import EventKind
from canary_trio.upstream.health_checks import CHECKS_AT_ONCE
from http_trio import Handler, HttpServer
from kv_trio import Backoff, Entry, KvError

AT_ONCE = 32
"""Services that take what is new at a time: one that waits for names holds up no other."""

DRAINED_S = 0.5
"""Between two looks whether a service that is served no more has requests in progress."""


class Gateway:
    """The services of one table; it is the control of its own proxy.

    Attributes:
        handler: of its listeners.
        view: how it is shown.
        services: that the table names.
        config: the table; None before the first.
        running: its revision; 0 before the first.
        unconfirmed: what waits to be confirmed of the table.
        driver: what acts for the table; its services have their own.
    """

    def __init__(self, site: Site) -> None:
        self.instance = secrets.token_hex(8)
        self.ready = trio.Event()
        self.config: GatewayConfig | None = None
        self.running = 0
        self.services: dict[str, HostedService] = {}
        self._leaving: dict[str, HostedService] = {}
        self._site = site
        self._name = site.name
        self._bootstrap = site.options.bootstrap
        runtime = site.new_runtime()
        self.status = Status(site.store, site.name, runtime.observer.events)
        self.contact = self.status.contact
        self._tasks, self._events = runtime.observer.tasks, runtime.observer.events
        self._auth = RouteAuth(runtime)
        self.handler = GatewayHandler(runtime.observer)
        self.view = ProxyView(site.name, site.proxy_id, runtime, self, gateway=self)
        self._memory = site.memory()
        own = site.proxy_id, lambda: self.session
        self._reports = ServiceReports(*own, self._report_of)
        self._acknowledger: Acknowledger = site.acknowledger(
            self.report, self.instance, self._told, self._reports.forget, self._events
        )
        self.unconfirmed = Unconfirmed(site.name, lambda: self.driver.look())  # noqa: PLW0108  # it is made next
        self.driver: Driver = Driver(
            *(site.name, site.proxy_id, [self.unconfirmed]),
            session=lambda: self.session,
            keep=self._tasks.run,
        )
        self._check_places = trio.Semaphore(CHECKS_AT_ONCE)
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._secret_maker = SecretMaker()
        self._nursery: trio.Nursery | None = None
        self._watching: WatchedKeys | None = None
        self._followed = FollowedKeys()
        self._server: HttpServer | None = None

    def __repr__(self) -> str:
        return f"<Gateway {self._name} running={self.running} {len(self.services)} services>"

    @property
    def control(self) -> Gateway:
        """Give itself: it is what controls its proxy."""
        return self

    @property
    def refused(self) -> trio.Event:
        """Set where another proxy has our name."""
        return self._acknowledger.refused

    @property
    def update_rate(self) -> float:
        """Seconds after which the store is asked again at the latest."""
        return self.config.update_rate if self.config else 30.0

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the table."""
        return self.config.routes if self.config else ()

    @property
    def parts(self) -> dict[str, ProxyView]:
        """Its services, as they are shown, those that drain included."""
        return {
            name: service.view
            for name, service in {**self._leaving, **self.services}.items()
        }

    def report(self) -> Report:
        """Give what the gateway's fleet is told."""
        return self._site.report(self.running, self.status, notices(self.view))

    def check_refused(self) -> None:
        """Raise CannotServe if this proxy ends since it is refused."""
        self._acknowledger.check_refused()

    async def run(self) -> None:
        """Follow the store until cancelled; then say goodbye to it, within a second."""
        async with trio.open_nursery() as self._nursery:
            if self._memory is not None:
                self._start("remember", self._memory.run)
                self._start("recall", partial(self._recall, self._memory))
            self._nursery.start_soon(self._auth.run)
            await self._tasks.run("follow", self._follow)

    async def follow_connections(self, server: HttpServer) -> None:
        """Do to long connections what changes say; services begin to as they need it."""
        self._server = server
        for name in self.services:
            self.look_after(name)
        await trio.lowlevel.checkpoint()

    # === what the services tell (`Whole`) ===

    @property
    def session(self) -> str:
        """That holds all reports, and what drives services; empty if there is none."""
        return self._acknowledger.session

    def _told(self) -> None:
        self._reports.tell()
        self.driver.look()
        for service in self.services.values():
            service.control.driver.look()

    def tell(self, service: str) -> None:
        """Write the report of a service to the store soon."""
        self._reports.tell([service])

    def save(self, service: str, good: LastGood) -> None:
        """Remember the last good document of a service."""
        if self._memory is not None:
            self._memory.save_named(service, good)

    def look_after(self, service: str) -> None:
        """Start what a service needs beside its requests."""
        hosted = self.services.get(service) or self._leaving.get(service)
        if hosted is not None:
            for name, task in hosted.needed_tasks(self._server).items():
                scope = hosted.running[name] = trio.CancelScope()
                self._start(name, task, scope)

    # === the store ===

    async def _follow(self) -> None:
        async with self._site.open_source() as client:
            try:
                async with trio.open_nursery() as nursery:
                    first = self._write_first
                    await self._acknowledger.prepare(client, self.contact, first)
                    tell = partial(self._acknowledger.run, client)
                    nursery.start_soon(self._tasks.run, "acknowledge", tell)
                    write = partial(self._reports.run, client)
                    nursery.start_soon(self._tasks.run, "reports", write)
                    drive = partial(self.driver.run, client)
                    nursery.start_soon(self._tasks.run, "driver", drive)
                    self.unconfirmed.begin()
                    await self._watch(client, nursery)
            finally:
                with trio.move_on_after(1, shield=True):
                    await self._acknowledger.say_goodbye(client)

    async def _write_first(self, client: KeyStore) -> None:
        await client.get(config_key(self._name))  # who may not read it is told
        if self._bootstrap is not None:
            await write_first(client, self._name, self._bootstrap)
            self._bootstrap = None

    async def _watch(self, client: DocumentSource, nursery: trio.Nursery) -> None:
        async with client.watch_keys((), contact=self.contact) as watch:
            self._watching = watch
            self._follow_services()
            while True:
                watch.wait_s = self.update_rate
                await self._hand_out(await anext(watch), client, nursery)

    async def _hand_out(
        self, changes: Changes, client: DocumentSource, nursery: trio.Nursery
    ) -> None:
        if (own := config_key(self._name)) in changes:
            await self._take_table(changes[own])
        if (own := pending_key(self._name)) in changes:
            self.unconfirmed.note(changes[own])
        for key, entry in changes.items():
            name, kind = self._followed.find(key) or ("", KeyKind.DOCUMENT)
            if (service := self.services.get(name)) is None:
                continue
            service.news.note(kind, entry)
            if not service.busy:
                service.busy = True
                nursery.start_soon(self._take_news, service, client)

    def _follow_services(self) -> None:
        """Follow the services of the table, wherever it came from, from now on."""
        self._followed = FollowedKeys(self.services)
        if self._watching is not None:
            own = config_key(self._name), pending_key(self._name)
            self._watching.follow([*own, *self._followed])

    async def _take_news(self, service: HostedService, client: DocumentSource) -> None:
        """Take what is new of a service, until nothing is; what fails is tried again."""
        backoff, told = Backoff(), ""
        while service.news and not service.closed:
            async with self._places:
                news = service.take_news()
                try:
                    await service.take(news, client)
                    self.look_after(service.name)
                except KvError as exc:
                    self.contact.failed(exc)
                    service.news = service.news.over(news)
                except Exception as exc:
                    told = self._tasks.note("service", exc, told)
                    service.news = service.news.over(news)
            service.settled = True  # or it would hold up those that are well
            self.tell(service.name)
            self._check_ready()
            if service.news:
                await backoff.pause()
        service.busy = False

    # === the table ===

    async def _take_table(self, entry: Entry | None) -> None:
        if entry is None:
            self.status.tell_absent()
            return
        revision = self.status.attempted = entry.modify_index
        try:
            self._install(*await self._auth.load(entry.value), revision)
        except InvalidConfig as exc:
            self.status.refuse(revision, exc.problems)
        else:
            if self._memory is not None:
                good = LastGood(revision, entry.value, None)
                self._memory.save_named(self._name, good)
            self.status.is_live(revision, entry.value)
        self._acknowledger.tell()

    def _install(self, config: GatewayConfig, auth: Made, revision: int) -> None:
        """Route by a table from the next request on."""
        before, self.services = self.services, {}
        for name in config.services:
            service = before.pop(name, None) or self._leaving.pop(name, None)
            if service is not None:
                service.stay()
            else:
                service = HostedService(
                    *(name, self._site, self, self._tasks, self._events),
                    places=self._check_places,
                    secrets=self._secret_maker,
                )
            self.services[name] = service
        self._auth.use(config.routes, auth)
        routes = enumerate(config.routes)
        pairs = [(one, self._handler_of(one, auth.get(at))) for at, one in routes]
        self.handler.index = RouteIndex(pairs)
        self.config, self.running = config, revision
        for name, service in before.items():
            self._leaving[name] = service
            self._start("drain", partial(self._drop_later, service))
        self._follow_services()
        self._reports.tell([*before, *self.services])
        self._check_ready()
        if self._site.on_live is not None:
            self._site.on_live(revision)

    def _handler_of(self, route: Route, auth: Authenticator | None) -> Handler:
        if route.service is None:
            handler = self.handler.local(route, self._name)
        else:
            runtime = self.services[route.service].runtime
            served = ProxyHandler(runtime, route.name, auth)
            handler = of_service(route, served, served.refuse_path)
        limiter = self.view.runtime.limiter_of(route.rate_limits)
        return self.handler.limited(handler, limiter, Whose(self._name, route.name))

    async def _drop_later(self, service: HostedService) -> None:
        """Forget a service that is named no more, when its last request has ended."""
        while self._leaving.get(service.name) is service:
            if not service.runtime.is_busy:
                del self._leaving[service.name]
                service.close()
                if self._memory is not None:
                    self._memory.save_named(service.name, None)
                told = f"{service.name} is served no more"
                self._events.tell(EventKind.CHANGE, told, service=service.name)
                return
            await service.leave()
            await trio.sleep(DRAINED_S)

    def _check_ready(self) -> None:
        if self.config is not None and all(
            service.settled for service in self.services.values()
        ):
            self.ready.set()

    # === what is remembered ===

    async def _recall(self, memory: LastGoodFiles) -> None:
        """Run what is remembered of whatever the store gives no document for soon."""
        await trio.sleep(RECALL_AFTER_S)
        if self.config is None:
            good = await memory.load_named(self._name)
            if good is not None and self.config is None:
                try:
                    loaded = await self._auth.load(good.document)
                except InvalidConfig as exc:
                    self.status.tell_not_recalled(f"is not valid any more: {exc}")
                    return
                if self.config is None:  # the store may have had one meanwhile
                    self._install(*loaded, good.revision)
                    self.status.tell_remembered(good.revision, good.document)
                    self._acknowledger.tell()
        for service in list(self.services.values()):
            if service.runtime.live is None:
                good = await memory.load_named(service.name)
                if good is not None and good.secret is not None:
                    service.control.keeper.recall(good.secret)
                    await service.control.fall_back(good)
                    self.look_after(service.name)
            service.settled |= bool(service.runtime.live or self.status.remembered)
            self.tell(service.name)
        self._check_ready()

    # === small ===

    def _report_of(self, service: str) -> Report | None:
        hosted = self.services.get(service)  # who begins looks for others' reports
        return hosted.control.report() if hosted and hosted.settled else None

    def _start(
        self, name: str, task: Task, scope: trio.CancelScope | None = None
    ) -> None:
        """Keep a task going beside all else, until its scope is cancelled."""

        async def run() -> None:
            with scope or trio.CancelScope():
                await self._tasks.run(name, task)

        assert self._nursery is not None, "it runs"
        self._nursery.start_soon(run)
