"""The proxy as a service: its listeners, its admin and what it serves in one nursery.

One file, since all of it begins and ends together.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

import http_trio
from canary_trio.admin.arm_traffic import note_minutes
from canary_trio.admin.handler import AdminHandler
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import Table, describe
from canary_trio.config.model import Config
from canary_trio.console.live.near import NearProxy
from canary_trio.control.fleet.own_name import NameFile
from canary_trio.control.sources.opening import check_source
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.store_keys import check_service
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.routing.access.cells import SECRET, Cells
from canary_trio.routing.edge.names import is_gateway
from canary_trio.serving.gateway import Gateway
from canary_trio.serving.listeners import (
    TOO_MANY,
    AdminDoor,
    MakeConsole,
    SideListener,
    Sockets,
    make_console,
    side_listeners,
)
from canary_trio.serving.options import ProxyOptions, read_tokens, take_own_name
from canary_trio.serving.single_service import SingleService, Site
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.event_sources.lookout import LOOK_S, LOOKS, Lookout
from canary_trio.telemetry.events import EventKind, Events

REFUSED_S = 5.0
"""How long requests in progress have where this proxy's name is another one's."""


@attrs.frozen(eq=False)
class Proxy:
    """A proxy that serves.

    Attributes:
        id: its name in the fleet.
    """

    id: str
    _view: ProxyView
    _server: http_trio.HttpServer
    _door: AdminDoor
    _sides: dict[str, SideListener]
    _name: NameFile | None
    _tokens: StoreTokens
    _passwords: PasswordLists

    def __repr__(self) -> str:
        return (
            f"<Proxy {self._view.service} {self.id} at {self.url} runs {self.revision}>"
        )

    @property
    def url(self) -> str:
        """The URL at which it serves."""
        return self._server.url

    @property
    def admin_url(self) -> str:
        """The URL of its admin listener; empty where it has none."""
        address = self._door.address
        return address if not address or "://" in address else f"http://{address}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses at which it serves."""
        return self._server.addresses

    @property
    def revision(self) -> int:
        """The revision that requests are routed by."""
        return self._view.control.running

    @property
    def config(self) -> Config:
        """The configuration that requests are routed by; a gateway has one a service."""
        live = self._view.runtime.live
        assert live is not None, "a service's proxy is handed out when it is live"
        return live.config

    @property
    def state(self) -> str:
        """How it stands, in a few words."""
        return f"revision {self.revision} is live"

    def status(self) -> Table:
        """Give its state, as `/status` does."""
        return describe(self._view)

    def drain(self, deadline_s: float = 30.0, *, lame_duck_s: float = 0.0) -> None:
        """Begin to stop: finish what is in progress, then let `serve` return.

        As `http_trio.HttpServer.drain`. `/ready` is 503 from now on; where another process
        listens on the admin listener's port too, it is left to that one. So is the name in
        the fleet to one that waits for it.
        """
        if self._name is not None:
            self._name.give_up()
        for view in self._view.all:
            view.control.driver.retire()
        self._server.drain(deadline_s, lame_duck_s=lame_duck_s)
        for name, side in self._sides.items():
            if name != "admin":
                side.drain(deadline_s, lame_duck_s)
            elif side.has_successor:
                side.drain(deadline_s, 0.0)

    def reload(self) -> None:
        """Read the files of tokens again; look at certificates and users at once."""
        self._tokens.reload()
        self._door.roles.look_soon()
        self._server.reload()
        self._passwords.look_soon()

    async def beat(self, call: Callable[[], None], every_s: float) -> None:
        """Call again and again, from the event loop as it serves; until cancelled."""
        await self._server.beat(call, every_s)


async def serve(  # noqa: PLR0915  # all that ends with one nursery
    service: str,
    options: ProxyOptions | None = None,
    *,
    access_log: AccessLog | None = None,
    tokens: StoreTokens | None = None,
    cells: Cells | None = None,
    on_waiting: Callable[[str], None] | None = None,
    on_listening: Callable[[str, str], None] | None = None,
    on_live: Callable[[int], None] | None = None,
    on_named: Callable[[str], None] | None = None,
    task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a service until cancelled or drained.

    Args:
        service: its name; the document is at `canary/<service>/config` in the store. With
            `@` before it is a gateway's, which serves the services of its routes.
        options: where it serves, who has its document, and the like.
        access_log: takes a line for each request; it is closed at the end.
        tokens: what stores are shown; by default what the options say.
        cells: where limits of the rate of requests count with other processes; None to
            count alone.
        on_waiting: called with the admin's address when all addresses are had, and a
            document is waited for to listen there.
        on_listening: called with the addresses and the admin's once all listen.
        on_live: called with each revision in the step that makes it live.
        on_named: called with the proxy's name in the fleet, once that is known.
        task_status: `started` gets the `Proxy` when the first document is live.

    Raises:
        http_trio.BadBind: an address cannot be had.
        http_trio.BadCertificate: a certificate cannot be used.
        AdminExposed: others could ask its admin listener, and nothing says who may.
        BadToken: a file holds no token.
        BadSource: the config server is none that there is.
        BadName: the service or the proxy has a name that cannot be part of a key.
        NameTaken: another proxy of this name is alive.
        WrongServer: behind the config server's address is another server.

    Cancelled, it closes everything, and takes its acknowledgement back from the store
    within a second.
    """
    check_service(service)
    options = options or ProxyOptions()
    if options.tls is not None:
        options.tls.check()  # while it is a plain error, not one in a group
    tokens = tokens or read_tokens(options)
    token = tokens.get(options.config_server)
    check_source(
        options.config_server,
        token,
        options.ca_file,
        cert_file=options.cert_file,
        is_gateway=is_gateway(service),
        writes=options.bootstrap is not None,
    )
    console_of = make_console(options)
    with contextlib.ExitStack() as owned:
        sockets = Sockets.open(options, owned)
        addresses = sockets.addresses
        door = AdminDoor.of(options, sockets.admin, tokens)
        id_, name_file = take_own_name(service, options, sockets.serving, owned)
        if on_named is not None:
            on_named(id_)
        passwords = PasswordLists(options.passwords)
        site = Site(
            service,
            id_,
            options,
            addresses[0],
            door.address,
            access_log,
            on_live,
            name_file,
            tokens,
            cells
            or Cells.private(secrets.token_bytes(SECRET), options.rate_limit_clients),
            passwords,
        )
        core = Gateway(site) if is_gateway(service) else SingleService(site)
        view, control = core.view, core.control
        passwords.tell = partial(_tell_file, view.runtime.observer.events)
        failed: http_trio.BadBind | None = None
        keeper = view.runtime.observer.tasks
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            nursery.start_soon(keeper.run, "passwords", passwords.run)
            nursery.start_soon(keeper.run, "lookout", partial(_look_out, view))
            nursery.start_soon(keeper.run, "events", view.runtime.observer.events.run)
            nursery.start_soon(keeper.run, "minutes", partial(note_minutes, view))
            nursery.start_soon(keeper.run, "admin_tokens", door.roles.run)
            if access_log is not None:
                nursery.start_soon(access_log.run, keeper)
            async with trio.open_nursery() as serving:
                nursery.start_soon(_end_if_refused, view, nursery.cancel_scope)
                pages, console = _admin_pages(view, door, console_of)
                nursery.start_soon(keeper.run, "console", console)
                sides = side_listeners(view, sockets, options, door, pages)
                view.admin_certificates = partial(_certificates_of, sides.get("admin"))
                for name, side in sides.items():
                    nursery.start_soon(keeper.run, name, side.run)
                start = partial(
                    http_trio.serve,
                    core.handler,
                    sockets.plain,
                    tls=options.tls,
                    tls_binds=sockets.secure,
                    h2c_binds=sockets.h2c,
                    limits=options.limits,
                    forwarding=options.clients,
                    overload=TOO_MANY,
                    tell=view.runtime.observer.events.take,
                )
                if options.listen_late:
                    if on_waiting is not None:
                        on_waiting(door.address)
                    await control.ready.wait()
                try:
                    server = await serving.start(start)
                except http_trio.BadBind as exc:  # such as: another one was quicker
                    failed = exc
                    nursery.cancel_scope.cancel()
                    await trio.sleep_forever()
                view.server = server
                nursery.start_soon(core.follow_connections, server)
                if on_listening is not None:
                    on_listening(", ".join(addresses), door.address)
                await control.ready.wait()
                task_status.started(
                    Proxy(
                        *(id_, view, server, door, sides),
                        *(name_file, tokens, passwords),
                    )
                )
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        control.check_refused()


async def _look_out(view: ProxyView) -> None:
    """Tell what only counts show, until cancelled."""
    observer = view.runtime.observer
    lookout = Lookout(observer.events)
    for turn in itertools.count(1):
        await trio.sleep(LOOK_S)
        services = {one.service: one.runtime for one in view.all}
        for name, runtime in services.items():
            counters = runtime.observer.counters
            lookout.look_at_limits(name, counters, trio.current_time())
            if turn % LOOKS == 0 and runtime.live is not None:
                lookout.look_at_split(name, runtime.live.labels.split)
                await trio.lowlevel.checkpoint()
        lookout.forget_others(services.__contains__)
        if observer.log is not None:
            lookout.look_at_log(observer.log)


def _tell_file(events: Events, words: str, path: Path, level: int) -> None:
    events.tell(EventKind.AUTH, words, level=level, file=str(path))


def _certificates_of(
    side: SideListener | None,
) -> Sequence[http_trio.ServedCertificate]:
    return () if side is None else side.certificates


async def _end_if_refused(view: ProxyView, scope: trio.CancelScope) -> None:
    """End a proxy whose name is another one's; what it serves is served to the end."""
    await view.control.refused.wait()
    if view.server is not None and view.control.ready.is_set():
        view.server.drain(REFUSED_S)
    else:
        scope.cancel()


def _admin_pages(
    view: ProxyView, door: AdminDoor, console_of: MakeConsole | None
) -> tuple[http_trio.Handler, Callable[[], Awaitable[None]]]:
    """Give the handler of the admin's pages, and what runs beside it."""
    pages = AdminHandler(view)
    if console_of is None:
        return pages, trio.sleep_forever
    console = console_of(pages, NearProxy(view, door.address), door)
    return console, console.run
