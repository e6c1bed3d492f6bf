"""What a proxy of one service is made of, and where a proxy stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from canary_trio.admin.asking.client import is_other_proxy
from canary_trio.admin.certificates import notices
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.control.driving.rollout_duty import RolloutDuty
from canary_trio.control.fleet.acknowledger import Acknowledger
from canary_trio.control.fleet.own_name import NameFile
from canary_trio.control.fleet.report import CertificateNotice, Report
from canary_trio.control.last_good import LastGoodFiles
from canary_trio.control.sources.opening import open_source, server_url
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.status import Status
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.access.cells import Cells
from canary_trio.serving.options import ProxyOptions, state_file
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.events import Events
from canary_trio.telemetry.observer import Observer
from http_trio import HttpServer


@attrs.frozen(eq=False)
class Site:
    """Where a proxy stands, and what it was started with.

    Attributes:
        name: of the service or the gateway.
        proxy_id: the proxy's, in the fleet.
        options: as chosen.
        address: where it listens, as it is reported.
        admin: where its status is.
        access_log: takes a line for each request.
        on_live: called with each revision that comes live.
        name_file: the file of the proxy's name.
        tokens: what stores are shown.
        cells: where it is kept what each client may still ask for; None to begin anew.
        passwords: the files of users.
    """

    name: str
    proxy_id: str
    options: ProxyOptions
    address: str
    admin: str
    access_log: AccessLog | None = None
    on_live: Callable[[int], None] | None = None
    name_file: NameFile | None = None
    tokens: StoreTokens = attrs.field(factory=StoreTokens)
    cells: Cells | None = None
    passwords: PasswordLists = attrs.field(factory=PasswordLists)

    @property
    def store(self) -> str:
        """The URL of the store."""
        return server_url(self.options.config_server)

    def open_source(self) -> DocumentSource:
        """Make the source that the proxy was started with."""
        return open_source(
            self.store,
            token=partial(self.tokens.get, self.store),
            ca_file=self.options.ca_file,
            cert_file=self.options.cert_file,
        )

    def report(
        self, running: int, status: Status, certificates: tuple[CertificateNotice, ...]
    ) -> Report:
        """Give what the fleet is told of the proxy here."""
        return Report(
            id=self.proxy_id,
            running=running,
            attempted=status.attempted,
            failed=status.failed,
            address=self.address,
            admin=self.admin,
            certificates=certificates,
            digest=status.digest,
        )

    def new_runtime(self) -> Runtime:
        """Make what outlives the configurations of this service or gateway."""
        observer = Observer(self.access_log, self.name)
        return Runtime(
            self.name,
            observer=observer,
            cells=self.cells,
            passwords=self.passwords,
            noted_requests=self.options.noted_requests,
        )

    def rollout_duty(self, runtime: Runtime, service: str) -> RolloutDuty:
        """Make what drives a service's rollout, when this proxy is its driver."""
        given = self.options.rollout_files
        files = None if given is None else Path(given)
        return RolloutDuty(service, self.proxy_id, runtime, files=files)

    def secret_of(self, service: str) -> Path | None:
        """Give the path of a service's own secret; None if nothing is kept."""
        return state_file(self.options, f"{service}.secret")

    def acknowledger(
        self,
        report: Callable[[], Report],
        instance: str,
        on_told: Callable[[], None],
        on_doubt: Callable[[], None],
        events: Events,
    ) -> Acknowledger:
        """Make what tells the fleet of a gateway that this is; see `Acknowledger`."""
        name, id_ = self.name, self.proxy_id
        is_alive = partial(
            is_other_proxy, service=name, proxy_id=id_, instance=instance
        )
        return Acknowledger(
            *(name, id_, report),
            name=self.name_file,
            is_alive=is_alive,
            on_told=on_told,
            on_doubt=on_doubt,
            events=events,
        )

    def memory(self) -> LastGoodFiles | None:
        """Give what remembers a gateway's documents; None if nothing is kept."""
        own = self.file_of(".json")

        def path(name: str) -> Path:
            assert own is not None, "it is asked only where something is kept"
            known = name == self.name
            return own if known else own.with_suffix(".services") / f"{name}.json"

        return None if own is None else LastGoodFiles(path)

    def file_of(self, suffix: str) -> Path | None:
        """Give the path of a file of this proxy; None if nothing is kept."""
        return state_file(self.options, f"{self.name}@{self.proxy_id}{suffix}")


class SingleService:
    """One service, with its own watch of the store."""

    def __init__(self, site: Site) -> None:
        runtime = site.new_runtime()
        self.control = Supervisor(
            runtime,
            service=site.name,
            proxy_id=site.proxy_id,
            config_server=site.store,
            tokens=site.tokens,
            ca_file=site.options.ca_file,
            cert_file=site.options.cert_file,
            bootstrap=site.options.bootstrap,
            memory=site.file_of(".json"),
            address=site.address,
            admin=site.admin,
            on_live=site.on_live,
            name=site.name_file,
            is_alive=is_other_proxy,
            certificates=lambda: notices(self.view),
            own_secret=site.secret_of(site.name),
            duties=[site.rollout_duty(runtime, site.name)],
        )
        self.handler = ProxyHandler(runtime)
        self.view = ProxyView(site.name, site.proxy_id, runtime, self.control)

    def __repr__(self) -> str:
        return f"<SingleService {self.control!r}>"

    async def run(self) -> None:
        """Follow the store until cancelled."""
        await self.control.run()

    async def follow_connections(self, server: HttpServer) -> None:
        """Do to long connections what changes say, until cancelled."""
        runtime = self.view.runtime
        long = LongConnections(runtime, server, runtime.chance.uniform)
        self.view.long_connections = long
        await runtime.observer.tasks.run("long_connections", long.run)
