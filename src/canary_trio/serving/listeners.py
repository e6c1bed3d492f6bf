"""Where a proxy listens: its sockets, and the listeners beside it.

The admin listener says where the servers are, and who has the role `write` changes what is
served. So beyond this machine it is opened only where it is said who may ask: by tokens, by
an authority of clients, or by `admin_open`, which says that whoever reaches it may read.

One file, since sockets are opened, looked at and listened on together.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

import http_trio
from canary_trio.admin.asking.guard import AdminAccess, AdminGuard
from canary_trio.admin.asking.tokens import RoleFile
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.control.sources.opening import open_source, server_url
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.errors import AdminExposed
from canary_trio.serving.options import Bind, ProxyOptions, read_tokens

if TYPE_CHECKING:
    from canary_trio.console.listener import ConsoleListener
    from canary_trio.console.live.near import Near

_log = logging.getLogger(__name__)

ADMIN_LIMITS = http_trio.Limits(connections=256, spare_files=8)
"""Of an admin listener: it may take of the descriptors that clients have to leave."""


TOO_MANY = http_trio.error_response(
    503, "too many clients are connected to this proxy", retry_after_s=1
)
"""What a client beyond `Limits.connections` is answered, where none is idle."""


@attrs.frozen
class Sockets:
    """The sockets that a proxy listens on."""

    plain: Sequence[socket.socket]
    h2c: Sequence[socket.socket]
    secure: Sequence[socket.socket]
    redirecting: Sequence[socket.socket]
    admin: Sequence[socket.socket]

    @classmethod
    def open(cls, options: ProxyOptions, owned: contextlib.ExitStack) -> Sockets:
        """Open all of them; they are closed with the stack."""

        def sockets(binds: Sequence[Bind], **how: bool) -> Sequence[socket.socket]:
            shared = options.reuse_port
            opened = http_trio.open_listeners(binds, reuse_port=shared, **how)
            return [owned.enter_context(sock) for sock in opened]

        at_once = not options.listen_late
        return cls(
            sockets(options.binds, listening=at_once, introduced=True),
            sockets(options.h2c_binds, listening=at_once, introduced=True),
            sockets(options.tls_binds, listening=at_once, introduced=True),
            sockets(options.redirect_binds, introduced=True),
            sockets([] if options.admin is None else [options.admin]),
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
    def serving(self) -> Sequence[socket.socket]:
        """All but the admin's."""
        return [*self.plain, *self.h2c, *self.secure, *self.redirecting]

    @property
    def tls_port(self) -> int:
        """The first port that is served with TLS; 443 where there is none."""
        found = (s.getsockname() for s in self.secure if s.family != socket.AF_UNIX)
        return next((int(name[1]) for name in found), 443)


def side_listeners(
    view: ProxyView,
    sockets: Sockets,
    options: ProxyOptions,
    door: AdminDoor,
    admin: http_trio.Handler,
) -> dict[str, SideListener]:
    """Give the listeners beside the proxy's, by the names of their tasks.

    Args:
        view: of the proxy.
        sockets: that it listens on.
        options: of it.
        door: before the admin listener.
        admin: what stands behind that.
    """
    shared = options.reuse_port
    events = view.runtime.observer.events

    def tell(notice: http_trio.Notice) -> None:
        if notice.kind != "drain":  # the proxy's own is told
            events.take(notice)

    found = {}
    if sockets.admin:
        found["admin"] = SideListener(
            door.guarding(admin),
            sockets.admin,
            ADMIN_LIMITS,
            reuse_port=shared,
            tls=door.tls,
            tell=tell,
        )
    if sockets.redirecting:
        redirect = http_trio.HttpsRedirect(sockets.tls_port, options.acme_dir)
        found["redirect"] = SideListener(
            redirect,
            sockets.redirecting,
            options.limits,
            reuse_port=shared,
            clients=attrs.evolve(options.clients, proxy_protocol=False),
            tell=tell,
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
        clients: http_trio.ForwardedPolicy | None = None,
        tell: http_trio.Tell | None = None,
        tls: http_trio.Tls | None = None,
    ) -> None:
        self._tell = tell
        self._handler = handler
        self._tls = tls
        self._clients = clients
        self._first: Sequence[socket.socket] = sockets
        self._binds = [http_trio.bind_of(sock) for sock in sockets]
        self._reuse_port = reuse_port
        self._limits = limits
        self._server: http_trio.HttpServer | None = None

    async def run(self) -> None:
        sockets, self._first = self._first, ()
        if not sockets:
            sockets = http_trio.open_listeners(
                self._binds, reuse_port=self._reuse_port, introduced=True
            )
        start = partial(
            http_trio.serve,
            self._handler,
            sockets,
            limits=self._limits,
            forwarding=self._clients,
            tell=self._tell,
            tls=self._tls,
        )
        async with trio.open_nursery() as nursery:
            self._server = await nursery.start(start)

    @property
    def certificates(self) -> Sequence[http_trio.ServedCertificate]:
        """Those that it shows; none before it listens."""
        return () if self._server is None else self._server.certificates

    @property
    def has_successor(self) -> bool:
        """Whether another process listens there, too."""
        return self._server is not None and self._server.has_successor

    def drain(self, deadline_s: float, lame_duck_s: float) -> None:
        """Begin to stop, as `http_trio.HttpServer.drain`."""
        if self._server is not None:
            self._server.drain(deadline_s, lame_duck_s=lame_duck_s)


@attrs.frozen(eq=False)
class AdminDoor:
    """What stands before the pages of an admin listener.

    Attributes:
        address: as the fleet is told it; empty where there is no such listener.
        roles: of tokens and certificates; they are followed by whoever serves.
        access: who may do what, by them.
        tokens: what the console shows to stores.
    """

    address: str
    roles: RoleFile
    access: AdminAccess
    tokens: StoreTokens
    _options: ProxyOptions

    @classmethod
    def of(
        cls,
        options: ProxyOptions,
        sockets: Sequence[socket.socket],
        tokens: StoreTokens | None = None,
    ) -> AdminDoor:
        """Look who may ask, and whether the sockets may be open to them.

        Raises:
            AdminExposed: others could ask, and nothing says who may.
            BadToken: the file of roles cannot be used.
            http_trio.BadCertificate: the listener's certificate cannot be used.
        """
        if options.admin_tls is not None:
            options.admin_tls.check()
        roles = RoleFile(options.admin_token_file)
        for sock in sockets:
            _check(options, sock)
        address = options.admin_address
        if address is None:
            address = ""
        if options.admin_address is None and sockets:
            scheme = "" if options.admin_tls is None else "https://"
            address = scheme + http_trio.address_of(sockets[0])
        vouched = options.admin_vouched
        access = AdminAccess(roles, options.admin_open, is_vouched=vouched)
        return cls(address, roles, access, tokens or read_tokens(options), options)

    def reload(self) -> None:
        """Read the files of roles and tokens again."""
        self.roles.look_soon()
        self.tokens.reload()

    @property
    def tls(self) -> http_trio.Tls | None:
        """The certificate of the listener, and whose its clients may show."""
        return self._options.admin_tls

    def guarding(self, handler: http_trio.Handler) -> AdminGuard:
        """Give the handler that stands before another one."""
        return AdminGuard(handler, _names(self._options), self.access)


def _names(options: ProxyOptions) -> tuple[str, ...]:
    """Give the names by which the admin listener is known."""
    admin = options.admin or ""
    if not isinstance(admin, str):
        admin = http_trio.address_of(admin)
    own = [admin, options.admin_address or ""]
    hosts = (_host_of(address) for address in own)
    return (*filter(None, hosts), *options.admin_hosts)


def _host_of(address: str) -> str:
    where = address.removeprefix("https://")
    return "" if where.startswith("unix:") else where.rpartition(":")[0].strip("[]")


def _check(options: ProxyOptions, sock: socket.socket) -> None:
    if sock.family == socket.AF_UNIX:
        return
    if ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback:
        return
    where = http_trio.address_of(sock)
    tls = options.admin_tls
    named = options.admin_token_file is not None
    if not named and (tls is None or tls.client_ca is None) and not options.admin_open:
        raise AdminExposed(
            f"the admin listener {where} can be reached from other machines, and says where"
            " the servers are; name who may ask it (--admin-token-file, or --admin-tls-cert"
            " with --admin-tls-client-ca), bind it to 127.0.0.1, or say --admin-open"
        )
    if named and tls is None:
        _log.warning(
            "the admin listener %s is asked without TLS: whoever reads along learns the"
            " tokens; see --admin-tls-cert",
            where,
        )


MakeConsole = Callable[["http_trio.Handler", "Near", AdminDoor], "ConsoleListener"]
"""Makes a console before the pages of an admin listener."""


def make_console(options: ProxyOptions) -> MakeConsole | None:
    """Give what makes the console, which is imported now; None where there is none.

    So it is imported before any client is served: that takes some hundredths of a second.
    """
    if not options.console or options.admin is None:
        return None
    from canary_trio.console.listener import ConsoleListener  # noqa: PLC0415
    from canary_trio.console.live.collecting import Sources  # noqa: PLC0415

    url = server_url(options.config_server)

    def make(pages: http_trio.Handler, near: Near, door: AdminDoor) -> ConsoleListener:
        store = open_source(
            url,
            token=partial(door.tokens.get, url),
            ca_file=options.ca_file,
            cert_file=options.cert_file,
        )
        sources = Sources(store, near, options.console_credentials)
        return ConsoleListener(pages, sources, door.access)

    return make
