"""The proxy as a service: its listeners, its admin and what it serves in one nursery."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import attrs
import trio

import http_trio
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import Table, describe
from canary_trio.config.model import Config
from canary_trio.control.own_name import take_name
from canary_trio.control.store_keys import check_name, check_service
from canary_trio.routing.edge.model import is_gateway
from canary_trio.serve.gateway import Gateway
from canary_trio.serve.listeners import TOO_MANY, Sockets, side_listeners
from canary_trio.serve.options import ProxyOptions, default_id, state_file
from canary_trio.serve.single_service import SingleService, Site
from canary_trio.telemetry.access_log import AccessLog

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
    _admin: str

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
        """The URL of its admin listener."""
        return f"http://{self._admin}"

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

    def status(self) -> Table:
        """Give its state, as `/status` does."""
        return describe(self._view)

    def drain(self, deadline_s: float = 30.0) -> None:
        """Begin to stop: finish what is in progress, then let `serve` return."""
        self._server.drain(deadline_s)


async def serve(
    service: str,
    options: ProxyOptions | None = None,
    *,
    access_log: AccessLog | None = None,
    on_listening: Callable[[str, str], None] | None = None,
    on_live: Callable[[int], None] | None = None,
    task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a service until cancelled or drained.

    Args:
        service: its name; the document is at `canary/<service>/config` in the store. With
            `@` before it is a gateway's, which serves the services of its routes.
        options: where it serves, who has its document, and the like.
        access_log: takes a line for each request; it is closed at the end.
        on_listening: called with the addresses and the admin's once all listen;
            until the first document the proxy answers 503.
        on_live: called with each revision in the step that makes it live.
        task_status: `started` gets the `Proxy` when the first document is live.

    Raises:
        http_trio.BadBind: an address cannot be had.
        http_trio.BadCertificate: a certificate cannot be used.
        BadName: the service or the proxy has a name that cannot be part of a key.
        NameTaken: another proxy of this name is alive.

    Cancelled, it closes everything, and takes its acknowledgement back from the store
    within a second.
    """
    check_service(service)
    options = options or ProxyOptions()
    if options.tls is not None:
        options.tls.check()  # while it is a plain error, not one in a group
    if options.ca_file is not None:
        http_trio.client_context(ca=options.ca_file)
    with contextlib.ExitStack() as owned:
        sockets = Sockets.open(options, owned)
        addresses = sockets.addresses
        admin_address = http_trio.address_of(sockets.admin[0])
        id_ = check_name(options.proxy_id or default_id(addresses[0]))
        lock = state_file(options, f"{service}@{id_}.lock")
        site = Site(
            service,
            id_,
            options,
            addresses[0],
            admin_address,
            access_log,
            on_live,
            take_name(lock, owned),
        )
        core = Gateway(site) if is_gateway(service) else SingleService(site)
        view, control = core.view, core.control
        keeper = view.runtime.observer.tasks
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            if access_log is not None:
                nursery.start_soon(access_log.run, keeper)
            async with trio.open_nursery() as serving:
                nursery.start_soon(_end_if_refused, view, nursery.cancel_scope)
                for name, side in side_listeners(view, sockets, options).items():
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
                )
                if options.listen_late:
                    await control.ready.wait()
                server = await serving.start(start)
                view.server = server
                nursery.start_soon(core.follow_connections, server)
                if on_listening is not None:
                    on_listening(", ".join(addresses), admin_address)
                await control.ready.wait()
                task_status.started(Proxy(id_, view, server, admin_address))
            nursery.cancel_scope.cancel()
        control.check_refused()


async def _end_if_refused(view: ProxyView, scope: trio.CancelScope) -> None:
    """End a proxy whose name is another one's; what it serves is served to the end."""
    await view.control.refused.wait()
    if view.server is not None and view.control.ready.is_set():
        view.server.drain(REFUSED_S)
    else:
        scope.cancel()
