"""The proxy as a service: its listeners, its admin and its supervisor in one nursery.

What can be chosen is one value, `ProxyOptions`: it is checked where it is made, travels
to worker processes as it is, and needs no `partial` where a nursery starts `serve`. What
belongs to one process only, such as a log that is open or a callback, is a parameter.
One file, since it is read as one: what can be chosen, what it does, what is given back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

import http_trio
from canary_trio.admin.client import is_other_proxy
from canary_trio.admin.guard import AdminGuard
from canary_trio.admin.handler import AdminHandler
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import Table, describe
from canary_trio.config.model import Config
from canary_trio.control.last_good import default_directory
from canary_trio.control.own_name import take_name
from canary_trio.control.store_keys import check_name
from canary_trio.control.store_tokens import StoreTokens
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.long_connections import LongConnections
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.observer import Observer

_log = logging.getLogger(__name__)

DEFAULT_BIND = "127.0.0.1:8080"
DEFAULT_ADMIN = "127.0.0.1:8081"
DEFAULT_CONFIG_SERVER = "http://127.0.0.1:8500"

ADMIN_LIMITS = http_trio.Limits(connections=256, spare_files=8)
"""Of an admin listener: it may take of the descriptors that clients have to leave."""

REFUSED_S = 5.0
"""How long requests in progress have where this proxy's name is another one's."""

Bind = str | socket.socket
"""An address, or a socket that listens on one already."""


def _several(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    if isinstance(binds, str):
        raise TypeError(f"got one address, {binds!r}, expected a sequence of them")
    return tuple(binds)


TOO_MANY = http_trio.error_response(
    503, "too many clients are connected to this proxy", retry_after_s=1
)
"""What a client beyond `Limits.connections` is answered, where none is idle."""


@attrs.frozen(kw_only=True)
class ProxyOptions:
    """What can be chosen of a proxy beside its document.

    It can be pickled, as long as what it binds are addresses and not sockets.

    Attributes:
        config_server: the URL of the store, a kv-trio or a Consul.
        token: the secret of the store's token. It needs to read below
            `canary/<service>/`, to write below `canary/<service>/proxies/`, and to write
            `canary/<service>/secret`: the first proxy, and to give it back if it is
            lost. No other store is shown it.
        tokens: of the stores that a document may move the fleet to, by their URLs; one
            that is not among them is shown no token.
        ca_file: the authorities that an https:// store is verified by, as PEM; by
            default the system's.
        binds: where to serve, such as `127.0.0.1:8080` or `unix:PATH`, or sockets that
            listen already. Port 0 is any free one.
        tls: the certificate of `tls_binds`; its files are read again when they change.
        tls_binds: where to serve with TLS.
        h2c_binds: where to serve without it, HTTP/2 by prior knowledge too.
        redirect_binds: where to answer plain HTTP with the way to `tls_binds`.
        acme_dir: the directory of the ACME challenges that are served there.
        reuse_port: whether other processes may serve on the same TCP ports.
        listen_late: whether to take connections only when the first document is live,
            because others take them meanwhile.
        admin: where `/status`, `/metrics`, `/healthz` and `/ready` are.
        admin_hosts: names beside the machine's by which the admin listener is asked, as
            browsers and scrapers say them in `Host`.
        bootstrap: a document to write if the store has none.
        state: the directory where the last good document is kept; by default
            `canary-trio` in the user's directory for state.
        remember: False to keep nothing on disk.
        proxy_id: its name in the fleet, 1 to 63 characters that a key may have; by
            default the host's with the port.
        limits: of the listeners and of the connections to the upstreams, in bytes and
            seconds; by default the engine's.
    """

    config_server: str = DEFAULT_CONFIG_SERVER
    token: str | None = attrs.field(default=None, repr=False)
    tokens: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    ca_file: str | None = None
    binds: tuple[Bind, ...] = attrs.field(default=(DEFAULT_BIND,), converter=_several)
    tls: http_trio.Tls | None = None
    tls_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    h2c_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    redirect_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    acme_dir: str | os.PathLike[str] | None = None
    reuse_port: bool = False
    listen_late: bool = False
    admin: str = DEFAULT_ADMIN
    admin_hosts: Sequence[str] = ()
    bootstrap: bytes | None = attrs.field(default=None, repr=False)
    state: str | os.PathLike[str] | None = None
    remember: bool = True
    proxy_id: str | None = None
    limits: http_trio.Limits | None = None


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
        """The configuration that requests are routed by."""
        live = self._view.runtime.live
        assert live is not None, "a proxy is handed out when the first one is live"
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
        service: its name; the document is at `canary/<service>/config` in the store.
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
    check_name(service)
    options = options or ProxyOptions()
    if options.tls is not None:
        options.tls.check()  # while it is a plain error, not one in a group
    if options.ca_file is not None:
        http_trio.client_context(ca=options.ca_file)
    with contextlib.ExitStack() as owned:
        sockets = _Sockets.open(options, owned)
        addresses = sockets.addresses
        admin_address = http_trio.address_of(sockets.admin[0])
        id_ = check_name(options.proxy_id or default_id(addresses[0]))
        own_file = partial(_state_file, options, f"{service}@{id_}")
        runtime = Runtime(service, observer=Observer(access_log))
        keeper = runtime.observer.tasks
        control = Supervisor(
            runtime,
            service=service,
            proxy_id=id_,
            config_server=options.config_server.rstrip("/"),
            tokens=StoreTokens.of(options.config_server, options.token, options.tokens),
            ca_file=options.ca_file,
            bootstrap=options.bootstrap,
            memory=own_file("json"),
            address=addresses[0],
            admin=admin_address,
            on_live=on_live,
            name=take_name(own_file("lock"), owned),
            is_alive=is_other_proxy,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.run)
            if access_log is not None:
                nursery.start_soon(access_log.run, keeper)
            async with trio.open_nursery() as serving:
                view = ProxyView(service, id_, runtime, control)
                nursery.start_soon(_end_if_refused, view, nursery.cancel_scope)
                for name, side in _side_listeners(view, sockets, options).items():
                    nursery.start_soon(keeper.run, name, side.run)
                start = partial(
                    http_trio.serve,
                    ProxyHandler(runtime),
                    sockets.plain,
                    tls=options.tls,
                    tls_binds=sockets.secure,
                    h2c_binds=sockets.h2c,
                    limits=options.limits,
                    overload=TOO_MANY,
                )
                if options.listen_late:
                    await control.ready.wait()
                server = await serving.start(start)
                view.server = server
                view.long_connections = LongConnections(
                    runtime, server, runtime.chance.uniform
                )
                review = view.long_connections.run
                nursery.start_soon(keeper.run, "long_connections", review)
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


@attrs.frozen
class _Sockets:
    """The sockets that a proxy listens on."""

    plain: Sequence[socket.socket]
    h2c: Sequence[socket.socket]
    secure: Sequence[socket.socket]
    redirecting: Sequence[socket.socket]
    admin: Sequence[socket.socket]

    @classmethod
    def open(cls, options: ProxyOptions, owned: contextlib.ExitStack) -> _Sockets:
        """Open all of them; they are closed with the stack."""

        def sockets(binds: Sequence[Bind], **how: bool) -> Sequence[socket.socket]:
            opened = http_trio.open_listeners(binds, **how)
            return [owned.enter_context(sock) for sock in opened]

        shared, late = options.reuse_port, options.listen_late
        return cls(
            sockets(options.binds, reuse_port=shared, listening=not late),
            sockets(options.h2c_binds, reuse_port=shared, listening=not late),
            sockets(options.tls_binds, reuse_port=shared, listening=not late),
            sockets(options.redirect_binds, reuse_port=shared),
            sockets([options.admin]),
        )

    @property
    def addresses(self) -> list[str]:
        """All but the admin's, in words."""
        return [
            *map(http_trio.address_of, self.plain),
            *(f"h2c://{http_trio.address_of(sock)}" for sock in self.h2c),
            *(f"https://{http_trio.address_of(sock)}" for sock in self.secure),
            *(f"{http_trio.address_of(s)} (to https)" for s in self.redirecting),
        ]

    @property
    def tls_port(self) -> int:
        """The first port that is served with TLS; 443 where there is none."""
        found = (s.getsockname() for s in self.secure if s.family != socket.AF_UNIX)
        return next((int(name[1]) for name in found), 443)


def _side_listeners(
    view: ProxyView, sockets: _Sockets, options: ProxyOptions
) -> dict[str, SideListener]:
    """Give the listeners beside the proxy's, by the names of their tasks."""
    guard = AdminGuard(AdminHandler(view), admin_names(options))
    found = {"admin": SideListener(guard, sockets.admin, ADMIN_LIMITS)}
    if sockets.redirecting:
        redirect = http_trio.HttpsRedirect(sockets.tls_port, options.acme_dir)
        found["redirect"] = SideListener(
            redirect,
            sockets.redirecting,
            options.limits,
            reuse_port=options.reuse_port,
        )
    return found


class SideListener:
    """A listener beside the proxy's, which opens its addresses anew where it has failed."""

    def __init__(
        self,
        handler: http_trio.Handler,
        sockets: Sequence[socket.socket],
        limits: http_trio.Limits | None,
        *,
        reuse_port: bool = False,
    ) -> None:
        self._handler = handler
        self._first: Sequence[socket.socket] = sockets
        self._addresses = [http_trio.address_of(sock) for sock in sockets]
        self._reuse_port = reuse_port
        self._limits = limits

    async def run(self) -> None:
        sockets, self._first = self._first, ()
        if not sockets:
            sockets = http_trio.open_listeners(
                self._addresses, reuse_port=self._reuse_port
            )
        await http_trio.serve(self._handler, sockets, limits=self._limits)


def admin_names(options: ProxyOptions) -> tuple[str, ...]:
    """Give the names by which the admin listener is known; warn where strangers reach it."""
    host = options.admin.rpartition(":")[0].strip("[]")
    if host in ("", "0.0.0.0", "::") and not options.admin.startswith("unix:"):  # noqa: S104
        _log.warning(
            "the admin listener %s is open to every network of this machine; it asks for"
            " no token and says where the servers are",
            options.admin,
        )
    return (host, *options.admin_hosts)


def _state_file(options: ProxyOptions, name: str, suffix: str) -> Path | None:
    if not options.remember:
        return None
    directory = default_directory() if options.state is None else Path(options.state)
    return directory / f"{name}.{suffix}"


def default_id(address: str) -> str:
    """Give the name of a proxy that was given none: its host's, with its port."""
    where = address.rpartition(":")[2].rpartition("/")[2]
    return f"{socket.gethostname()}-{where}"[:63]
