"""One service of a gateway: what it runs, and what the store said of it last.

It is what a proxy of one service is made of, without a watch, a session or tasks of its
own: the gateway has those for all, and starts what a service needs beside its requests
(`Runtime.needed_tasks`) only where it needs it.
"""

from __future__ import annotations

from functools import partial

import trio

from canary_trio.admin.proxy_view import ProxyView
from canary_trio.config.policies import OnChange
from canary_trio.control.last_good import LastGood
from canary_trio.control.secret_maker import SecretMaker
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.status import Whole
from canary_trio.control.store_keys import config_key
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.changing.trial import run_trials
from canary_trio.proxy.runtime import Runtime, Task
from canary_trio.serving.service_news import KeyKind, ServiceNews
from canary_trio.serving.single_service import Site
from canary_trio.telemetry.events import Events
from canary_trio.telemetry.observer import Observer
from canary_trio.telemetry.task_keeper import TaskKeeper
from http_trio import HttpServer
from kv_trio import Contact, Entry


class HostedService:
    """One service of a gateway.

    Attributes:
        name: its name.
        view: how it is shown.
        news: what the store said that is not taken yet.
        busy: whether it is being taken.
        settled: whether what the store said first was taken, or could not be; nobody
            waits for it any more.
        closed: whether it is served no more; what it still does tells nobody.
        running: its tasks, each with what ends it.
    """

    def __init__(
        self,
        name: str,
        site: Site,
        whole: Whole,
        tasks: TaskKeeper,
        events: Events,
        *,
        places: trio.Semaphore,
        secrets: SecretMaker,
    ) -> None:
        """Begin with nothing that runs.

        `places` are those of all health checks; `secrets` makes those of all.
        """
        self.name = name
        self.news = ServiceNews()
        self.busy = self.settled = self.closed = False
        self._whole = whole
        self._secrets = secrets
        self.running: dict[str, trio.CancelScope] = {}
        self.runtime = Runtime(
            name,
            observer=Observer(site.access_log, name, tasks, events),
            on_due=lambda: self.look_after(name),
            check_places=places,
            cells=site.cells,
            passwords=site.passwords,
            noted_requests=site.options.noted_requests,
        )
        self.control = Supervisor(
            self.runtime,
            service=name,
            proxy_id=site.proxy_id,
            config_server=site.store,
            tokens=site.tokens,
            bootstrap=None,
            memory=None,
            address=site.address,
            admin=site.admin,
            part_of=self,
            own_secret=site.secret_of(name),
            duties=[site.rollout_duty(self.runtime, name)],
        )
        self.view = ProxyView(
            name, site.proxy_id, self.runtime, self.control, is_part=True
        )
        self._client: KeyStore | None = None
        self._document: Entry | None = None
        self._is_held = False

    def __repr__(self) -> str:
        return f"<HostedService {self.control!r} tasks={list(self.running)}>"

    def take_news(self) -> ServiceNews:
        """Give what is not taken yet; it is the caller's from then on."""
        news, self.news = self.news, ServiceNews()
        return news

    async def take(self, news: ServiceNews, client: KeyStore) -> None:
        """Take what the store says; a document waits for the secret.

        Raises:
            KvError: a secret that is lost can neither be had nor given, or a document may
                not be read.
        """
        control, keeper = self.control, self.control.keeper
        if client is not self._client:  # a new one, where there was another
            self._client = client
            self._end("driver", *(one.what for one in self.control.evidence))
        if news.has(KeyKind.SECRET):
            secret = news.of(KeyKind.SECRET)
            if keeper.secret is None and secret is None:
                await self._secrets.agree(client, keeper)
            elif secret is None:
                await self._secrets.ask(client, keeper)
            else:
                await keeper.take(client, secret)
        if news.has(KeyKind.PENDING):
            control.unconfirmed.note(news.of(KeyKind.PENDING))
        if news.has(KeyKind.DOCUMENT):
            found = news.of(KeyKind.DOCUMENT)
            if found is None:  # it may be there, and kept from us: then that is told
                found = (await client.get(config_key(self.name))).entry
            self._document, self._is_held = found, True
        if self._is_held and (keeper.secret is not None or self._document is None):
            self._is_held = False
            await control.apply(self._document)
            self._look_at_move()
        if news.has(KeyKind.PENDING):
            await control.own_trial.look()

    def _end(self, *tasks: str) -> None:
        """End tasks, which are begun anew where they are needed."""
        for name in tasks:
            if (scope := self.running.pop(name, None)) is not None:
                scope.cancel()

    def _look_at_move(self) -> None:
        live, status = self.runtime.live, self.control.status
        target = live.config.config_server if live else None
        stays = target in (None, status.config_server)
        error = f"{self.name} names {target}; a gateway follows one store for all"
        status.move_error = "" if stays else error

    def needed_tasks(self, server: HttpServer | None) -> dict[str, Task]:
        """Give the tasks that are needed and do not run."""
        needed = self.runtime.needed_tasks()
        if self._client is not None and self.control.driver.is_due:
            needed["driver"] = partial(self.control.driver.run, self._client)
        for one in self.control.evidence:
            if self._client is not None and one.is_needed:
                needed[one.what] = partial(one.keep, self._client)
        if self.control.own_trial.beside:
            needed["trials"] = partial(run_trials, self.runtime)
        if self.control.keeper.changes:
            needed["secret_time"] = self.control.keeper.keep_time
        live, long = self.runtime.live, self.view.long_connections
        keeps = live is None or live.config.connections.change is OnChange.KEEP
        if server is not None and not keeps and long is None:
            draw = self.runtime.chance.uniform
            long = self.view.long_connections = LongConnections(
                self.runtime, server, draw
            )
            needed["long_connections"] = long.run
        return {n: task for n, task in needed.items() if n not in self.running}

    # === what its supervisor tells (`Whole`), until it is closed ===

    @property
    def contact(self) -> Contact:
        """With the store."""
        return self._whole.contact

    @property
    def session(self) -> str:
        """The gateway's session."""
        return self._whole.session

    def tell(self, service: str) -> None:
        """Write its report to the store soon."""
        if not self.closed:
            self._whole.tell(service)

    def save(self, service: str, good: LastGood) -> None:
        """Remember its last good document."""
        if not self.closed:
            self._whole.save(service, good)

    def look_after(self, service: str) -> None:
        """Start what it needs beside its requests."""
        if not self.closed:
            self._whole.look_after(service)

    # === leaving ===

    async def leave(self) -> None:
        """End its long connections as its last document says: no route leads to it."""
        if self.view.long_connections is not None:
            await self.view.long_connections.leave()

    def stay(self) -> None:
        """Let those that are not ended yet be: a route leads to it again."""
        if self.view.long_connections is not None:
            self.view.long_connections.stay()

    def close(self) -> None:
        """End its tasks and its idle connections."""
        self.closed = True
        self.control.driver.retire()
        for scope in self.running.values():
            scope.cancel()
        self.runtime.close_idle()
