"""The options of `canary serve`: where it listens, with what certificate, what it logs.

Without a certificate it serves HTTP. With one it serves HTTPS, and HTTP only where
`--bind` or `--h2c-bind` asks for it: who gives a certificate does not expect an open door
beside it. One file, since each option bears on the others.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from canary_health.durations import Duration
from canary_trio.command.cli.options.tls_options import (
    TlsSettings,
    settle_tls,
    tls_options,
)
from http_trio import (
    BadBind,
    ForwardedPolicy,
    address_of,
    bind_of,
    count_processors,
    inherited_listeners,
)

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BIND = "127.0.0.1:8080"
DEFAULT_TLS_BIND = "127.0.0.1:8443"
MOST_WORKERS = 256

_BIND = click.option(
    "--bind",
    "binds",
    multiple=True,
    help="HOST:PORT or unix:PATH for HTTP; may be repeated. With ,proxy behind it, as"
    " 0.0.0.0:80,proxy, its connections begin with the PROXY protocol."
    f"  [default: {DEFAULT_BIND}, or none with --tls-cert, --tls-dir or --h2c-bind]",
)
_TLS_BIND = click.option(
    "--tls-bind",
    "tls_binds",
    multiple=True,
    help="HOST:PORT or unix:PATH for HTTPS, also with ,proxy; may be repeated."
    f"  [default: {DEFAULT_TLS_BIND} with a certificate]",
)
_H2C_BIND = click.option(
    "--h2c-bind",
    "h2c_binds",
    multiple=True,
    help="HOST:PORT or unix:PATH for HTTP where clients may speak HTTP/2 without TLS, by"
    " prior knowledge; also with ,proxy; may be repeated.",
)


def _count(_: click.Context, __: click.Parameter, text: str) -> int:
    if text == "auto":
        return count_processors()
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise click.BadParameter(
            f"{text!r}, expected a number from 1 to {MOST_WORKERS}, or auto"
        )
    return int(text)


_WORKERS = click.option(
    "--workers",
    default="1",
    callback=_count,
    envvar="CANARY_WORKERS",
    show_envvar=True,
    show_default=True,
    metavar="N|auto",
    help="Processes that share the addresses; auto is one for each core.",
)

_WORKER_TIMEOUT = click.option(
    "--worker-timeout",
    "hung_s",
    type=Duration(),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="A worker that gives no sign of life for so long is killed and replaced; 0 for"
    " never.",
)

_ACCESS_LOG = click.option(
    "--access-log",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    envvar="CANARY_ACCESS_LOG",
    show_envvar=True,
    metavar="FILE",
    help="Where a line per request goes; - for standard output.  [default: nowhere]",
)
_ACCESS_LOG_FORMAT = click.option(
    "--access-log-format",
    type=click.Choice(["json", "text"]),
    default="json",
    envvar="CANARY_ACCESS_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="Lines of JSON, or of the Common Log Format with more behind it.",
)
_LOG_FORMAT = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="CANARY_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="How the process's own log is written, on standard error.",
)


def _token_files(
    _: click.Context, __: click.Parameter, given: Sequence[str]
) -> dict[str, str]:
    files = {}
    for text in given:
        url, mark, path = text.rpartition("=")
        if not mark or "://" not in url:
            raise click.BadParameter(f"found {text!r}, expected URL=FILE")
        files[url] = path
    return files


token_options = click.option(
    "--token-for",
    "token_files",
    multiple=True,
    callback=_token_files,
    metavar="URL=FILE",
    help="The token of another store, which a document may move to (config_server); a"
    " store that is not named is shown none. May be repeated. Read again at SIGHUP.",
)


_HALF_CLOSE = click.option(
    "--half-close",
    is_flag=True,
    help="Let clients end their half of a connection and still wait for a response; by"
    " default a client that does so has left.",
)


def _networks(
    _: click.Context, __: click.Parameter, given: Sequence[str]
) -> tuple[str, ...]:
    for text in given:
        try:
            ForwardedPolicy(trusted=(text,))
        except ValueError as exc:
            raise click.BadParameter(
                f"found {text!r}, expected a network such as 10.0.0.0/8, or unix: {exc}"
            ) from exc
    return tuple(given)


_TRUST = click.option(
    "--trust",
    "trusted",
    multiple=True,
    callback=_networks,
    metavar="NETWORK",
    help="A network of balancers, such as 10.0.0.0/8, or unix: what these say of their"
    " clients (X-Forwarded-For, Forwarded) holds. May be repeated.  [default: none]",
)
_FORWARDED = click.option(
    "--forwarded",
    type=click.Choice(["append", "replace"]),
    default="append",
    show_default=True,
    help="Whether servers are told of the client with the balancers behind it, or alone.",
)


_PROXY_PROTOCOL = click.option(
    "--proxy-protocol",
    is_flag=True,
    help="Have each connection, of all addresses, begin with a header of the PROXY"
    " protocol, version 1 or 2, from an address of --trust; others are closed. For one"
    " address alone write ,proxy behind it.",
)


def client_options(command: F) -> F:
    """Give a command the options of its clients; `clients_of` says what they mean."""
    return _TRUST(_FORWARDED(_PROXY_PROTOCOL(_HALF_CLOSE(command))))


def clients_of(
    trusted: Sequence[str],
    forwarded: str,
    addresses: Addresses,
    *,
    proxy_protocol: bool,
    half_close: bool,
) -> ForwardedPolicy:
    """Give what holds of clients.

    Raises:
        click.UsageError: an option stands without the one that it needs.
    """
    if proxy_protocol and not trusted:
        raise click.UsageError("--proxy-protocol needs a --trust NETWORK")
    if not trusted and (introduced := addresses.introduced):
        raise click.UsageError(f"{introduced} needs a --trust NETWORK")
    return ForwardedPolicy(
        trusted=trusted,
        replaces=forwarded == "replace",
        proxy_protocol=proxy_protocol,
        half_close=half_close,
    )


_LISTEN_EARLY = click.option(
    "--listen-early",
    is_flag=True,
    help="Take connections before there is a document, and respond 503 until then.",
)
_REUSE_PORT = click.option(
    "--reuse-port",
    is_flag=True,
    help="Let other processes serve on the same ports, such as this one's successor.",
)
_LAME_DUCK = click.option(
    "--lame-duck",
    "lame_duck_s",
    type=Duration(),
    default="0s",
    show_default=True,
    metavar="TIME",
    help="At SIGTERM, so long still accept connections and send clients elsewhere.",
)
_DRAIN = click.option(
    "--drain",
    "drain_s",
    type=Duration(),
    default="30s",
    show_default=True,
    metavar="TIME",
    help="At SIGTERM, after --lame-duck, so long let end what is in progress.",
)

KINDS = {
    "http": "binds",
    "plain": "binds",
    "https": "tls_binds",
    "tls": "tls_binds",
    "h2c": "h2c_binds",
    "admin": "admin",
}
"""What the name of a socket that is handed down (LISTEN_FDNAMES) makes of it."""


def take_inherited(*, with_tls: bool) -> dict[str, list[socket.socket]]:
    """Take the sockets that a service manager handed down, by what they are for.

    One without such a name serves, and a second one is the admin listener.

    Raises:
        click.UsageError: it cannot be told what one is for.
    """
    found: dict[str, list[socket.socket]] = {}
    unnamed = ["tls_binds" if with_tls else "binds", "admin"]
    try:
        inherited = inherited_listeners()
    except BadBind as exc:
        raise click.UsageError(str(exc)) from exc
    for given, sock in inherited:
        name = given.removesuffix(",proxy")
        sock.proxy_protocol = name != given
        kind = KINDS.get(name) or (unnamed.pop(0) if unnamed else "")
        if not kind or (kind == "admin" and kind in found):
            raise click.UsageError(
                f"found the socket {address_of(sock)} of the name {given!r}, expected one"
                f" of {', '.join(KINDS)} (FileDescriptorName=), also with ,proxy, and one"
                " admin at most"
            )
        found.setdefault(kind, []).append(sock)
    return found


def listen_options(command: F) -> F:
    """Give a command the options of its addresses; `settle` says what they mean."""
    command = _LISTEN_EARLY(_REUSE_PORT(_LAME_DUCK(_DRAIN(command))))
    return _BIND(_TLS_BIND(_H2C_BIND(tls_options(_WORKERS(_WORKER_TIMEOUT(command))))))


def log_options(command: F) -> F:
    """Give a command the options of both logs."""
    return _ACCESS_LOG(_ACCESS_LOG_FORMAT(_LOG_FORMAT(command)))


@attrs.frozen
class Addresses:
    """Where a proxy serves: plain, with a certificate, and plain with HTTP/2."""

    binds: tuple[str | socket.socket, ...]
    tls_binds: tuple[str | socket.socket, ...]
    h2c_binds: tuple[str | socket.socket, ...]
    tls: TlsSettings
    admin: socket.socket | None = None

    @property
    def introduced(self) -> str:
        """The first address whose connections begin with the PROXY protocol; "" for none."""
        given = *self.binds, *self.tls_binds, *self.h2c_binds, *self.tls.redirect_binds
        binds = (one if isinstance(one, str) else bind_of(one) for one in given)
        return next((bind for bind in binds if bind.endswith(",proxy")), "")

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of a proxy."""
        return {
            "binds": self.binds,
            "tls_binds": self.tls_binds,
            "h2c_binds": self.h2c_binds,
            **attrs.asdict(self.tls, recurse=False),
        }


def settle(
    binds: Sequence[str], tls_binds: Sequence[str], h2c_binds: Sequence[str]
) -> Addresses:
    """Give where to serve, with the defaults.

    Raises:
        click.UsageError: an option stands without the one that it needs.
    """
    settings = settle_tls()
    inherited = take_inherited(with_tls=settings.tls is not None)
    plain, secure, h2c = (
        (*given, *inherited.get(kind, ()))
        for given, kind in (
            *((binds, "binds"), (tls_binds, "tls_binds"), (h2c_binds, "h2c_binds")),
        )
    )
    admin = inherited.get("admin", [None])[0]
    if settings.tls is not None:
        return Addresses(plain, secure or (DEFAULT_TLS_BIND,), h2c, settings, admin)
    if secure:
        raise click.UsageError("--tls-bind needs a --tls-cert FILE or --tls-dir DIR")
    if not plain and not h2c:
        plain = (DEFAULT_BIND,)
    return Addresses(plain, (), h2c, settings, admin)
