"""What can be chosen of a proxy beside its document.

One value, `ProxyOptions`: it is checked where it is made, travels to worker processes as it
is, and needs no `partial` where a nursery starts `serve`. What belongs to one process only,
such as a log that is open or a callback, is a parameter.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

import http_trio
from canary_trio.admin.asking.client import AdminCredentials
from canary_trio.control.fleet.own_name import NameFile, take_default_name, take_name
from canary_trio.control.last_good import default_directory
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.store_keys import check_name
from canary_trio.routing.access.cells import CELLS
from canary_trio.routing.rehearsal.ring import NOTED

DEFAULT_BIND = "127.0.0.1:8080"
DEFAULT_ADMIN = "127.0.0.1:8081"
DEFAULT_CONFIG_SERVER = "http://127.0.0.1:8500"

Bind = str | socket.socket
"""An address, or a socket that listens on one already."""


def _several(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    if isinstance(binds, str):
        raise TypeError(f"got one address, {binds!r}, expected a sequence of them")
    return tuple(binds)


@attrs.frozen(kw_only=True)
class ProxyOptions:
    """What can be chosen of a proxy beside its document.

    It can be pickled, as long as what it binds are addresses and not sockets.

    Attributes:
        config_server: the URL of the store, of a scheme that `sources.md` has.
        token: the secret of the store's token; an etcd's is `NAME:PASSWORD`. It needs to read below
            `canary/<service>/`, to write below `canary/<service>/proxies/`, and to write
            `canary/<service>/secret`: the first proxy, and to give it back if it is
            lost. No other store is shown it.
        tokens: of the stores that a document may move the fleet to, by their URLs; one
            that is not among them is shown no token.
        token_file: the file that holds the store's token, in place of `token`.
        token_files: the files that hold those of other stores, by their URLs. Files are
            read again at `Proxy.reload`.
        ca_file: the authorities that an https:// store is verified by, as PEM; by
            default the system's.
        cert_file: the certificate that the store is shown, as PEM with its private key.
        binds: where to serve, such as `127.0.0.1:8080` or `unix:PATH`, or sockets that
            listen already. Port 0 is any free one.
        tls: the certificate of `tls_binds`; its files are read again when they change.
        tls_binds: where to serve with TLS.
        h2c_binds: where to serve without it, HTTP/2 by prior knowledge too.
        redirect_binds: where to answer plain HTTP with the way to `tls_binds`.
        acme_dir: the directory of the ACME challenges that are served there.
        clients: whose word about a client holds, and when it has left.
        reuse_port: whether other processes may serve on the same TCP ports.
        listen_late: whether to take connections only when there is a document to route
            by; False to respond 503 until then.
        lame_duck_s: once it is asked to end, how long connections are still accepted,
            while clients are told to come back elsewhere.
        drain_s: how long what is in progress has to end after that.
        admin: where `/status`, `/metrics`, `/live` and `/ready` are; None for nowhere.
        admin_address: where others find it, as HOST:PORT or https://HOST:PORT; by default
            where it listens. In the reports of a proxy.
        admin_token_file: who may ask there: tokens and roles, see `canary_trio.admin.asking.tokens`;
            read again when it changes.
        admin_tls: the certificate of the admin listener, and whose certificates its
            clients may show.
        admin_open: whether whoever reaches it may read; it may listen beyond this
            machine then.
        admin_vouched: whether whoever asks by the admin listener's Unix socket may do all
            there: of a worker, whose supervisor has looked who asks.
        console: whether the console is on the admin listener.
        console_credentials: what other proxies' admin listeners are shown by the console,
            which asks them for their numbers; nothing by default, so those that need a
            token say none.
        admin_hosts: names beside the machine's by which the admin listener is asked, as
            browsers and scrapers say them in `Host`.
        bootstrap: a document to write if the store has none.
        passwords: the directory of the files of users that documents name; they are read
            again when they change.
        rollout_files: the directory of the files of header fields and keys that the gates
            and hooks of rollouts name.
        state: the directory where the last good document is kept; by default
            `canary-trio` in the user's directory for state.
        remember: False to keep nothing on disk.
        proxy_id: its name in the fleet, 1 to 63 characters that a key may have; by
            default the host's with the port.
        rate_limit_clients: clients that limits of the rate of requests tell apart, of all
            limits and workers together; 16 bytes each. Beyond them some are forgotten.
        noted_requests: of each service, the last requests that are noted, so that it can
            be asked what another document would do (`canary rehearse`); 0 for none.
        limits: of the listeners and of the connections to the upstreams, in bytes and
            seconds; by default the engine's.
    """

    config_server: str = DEFAULT_CONFIG_SERVER
    token: str | None = attrs.field(default=None, repr=False)
    tokens: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    token_file: str | os.PathLike[str] | None = None
    token_files: Mapping[str, str | os.PathLike[str]] = attrs.field(factory=dict)
    ca_file: str | None = None
    cert_file: str | None = None
    binds: tuple[Bind, ...] = attrs.field(default=(DEFAULT_BIND,), converter=_several)
    tls: http_trio.Tls | None = None
    tls_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    h2c_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    redirect_binds: tuple[Bind, ...] = attrs.field(default=(), converter=_several)
    acme_dir: str | os.PathLike[str] | None = None
    clients: http_trio.ForwardedPolicy = http_trio.ForwardedPolicy()
    reuse_port: bool = False
    listen_late: bool = True
    lame_duck_s: float = 0.0
    drain_s: float = 30.0
    admin: Bind | None = DEFAULT_ADMIN
    admin_address: str | None = None
    admin_token_file: str | os.PathLike[str] | None = None
    admin_tls: http_trio.Tls | None = None
    admin_open: bool = False
    admin_vouched: bool = False
    console: bool = True
    console_credentials: AdminCredentials = AdminCredentials()
    admin_hosts: Sequence[str] = ()
    bootstrap: bytes | None = attrs.field(default=None, repr=False)
    passwords: str | os.PathLike[str] | None = None
    rollout_files: str | os.PathLike[str] | None = None
    state: str | os.PathLike[str] | None = None
    remember: bool = True
    proxy_id: str | None = None
    rate_limit_clients: int = CELLS
    noted_requests: int = NOTED
    limits: http_trio.Limits | None = None


def read_tokens(options: ProxyOptions) -> StoreTokens:
    """Give what stores are shown.

    Raises:
        BadToken: one of the files holds none.
    """
    files = dict(options.token_files)
    if options.token_file is not None:
        files[options.config_server] = options.token_file
    return StoreTokens.of(options.config_server, options.token, options.tokens, files)


def state_file(options: ProxyOptions, name: str) -> Path | None:
    """Give the path of a file that is kept on disk; None if nothing is."""
    if not options.remember:
        return None
    directory = default_directory() if options.state is None else Path(options.state)
    return directory / name


def default_id(address: str) -> str:
    """Give the name of a proxy that was given none, but for a part that is drawn."""
    where = address.rpartition("@")[2].rpartition("/")[2].strip("[]")
    where = re.sub(r"[^A-Za-z0-9_.-]+", "-", where)
    return f"{socket.gethostname()}-{where}"[:50].strip("-.")


def take_own_name(
    service: str,
    options: ProxyOptions,
    sockets: Sequence[socket.socket],
    owned: contextlib.ExitStack,
) -> tuple[str, NameFile | None]:
    """Take the name that was given, or one that no other proxy of this machine has.

    One that was given is waited for, where others serve on the same ports: it may be that
    of a proxy that this one follows.

    Args:
        service: whose proxies share the names.
        options: of the proxy.
        sockets: that it serves on.
        owned: gives the name up at its end.

    Raises:
        BadName: it cannot be part of a key.
        NameTaken: a proxy that lives has it.
    """
    given = options.proxy_id
    if given is None:
        base = default_id(http_trio.address_of(sockets[0]))
        return take_default_name(state_file(options, f"{service}@{base}"), base, owned)
    check_name(given)
    path = state_file(options, f"{service}@{given}.lock")
    follows = options.reuse_port and any(map(http_trio.others_on_port, sockets))
    return given, take_name(path, owned, waits=follows)
