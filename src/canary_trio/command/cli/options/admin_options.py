"""Options about admin listeners: that of `canary serve`, and those that commands ask.

The listener's say who may ask it; a command's say what it shows, and to whom. Both name the
file of tokens `--admin-token-file`: the listener's has hashes and roles, a command's the one
secret.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import socket

    from canary_trio.admin.asking.client import AdminCredentials

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_ADMIN = "127.0.0.1:8081"

_GIVEN = f"{__name__}.given"  # where a command's context keeps the values
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    context.meta.setdefault(_GIVEN, {})[option.name] = value


_option = partial(click.option, expose_value=False, callback=_keep)
_FILE = click.Path(path_type=Path, dir_okay=False)

_LISTENER = (
    click.option(
        "--admin",
        metavar="ADDRESS",
        help="HOST:PORT or unix:PATH where /status, /metrics and the like are."
        f"  [default: {DEFAULT_ADMIN}]",
    ),
    _option("--no-admin", is_flag=True, help="Have no admin listener."),
    _option(
        "--admin-address",
        metavar="ADDRESS",
        help="Where others find it, as HOST:PORT or https://HOST:PORT.  [default: where it"
        " listens]",
    ),
    _option(
        "--admin-host",
        "admin_hosts",
        multiple=True,
        metavar="NAME",
        help="A name with dots by which the admin listener is asked; may be repeated.",
    ),
    _option(
        "--admin-token-file",
        type=_FILE,
        metavar="FILE",
        help="Who may ask it, and who may change what is served: see `canary admin-token`."
        " Read again when it changes, and at SIGHUP.",
    ),
    _option(
        "--admin-tls-cert",
        type=_FILE,
        metavar="FILE",
        help="Serve it by HTTPS with this certificate, PEM; read again when it changes.",
    ),
    _option(
        "--admin-tls-key",
        type=_FILE,
        metavar="FILE",
        help="Its private key.  [default: in the file of the certificate]",
    ),
    _option(
        "--admin-tls-client-ca",
        type=_FILE,
        metavar="FILE",
        help="The authorities, PEM, of clients who may ask it by their certificate.",
    ),
    _option(
        "--admin-open",
        is_flag=True,
        help="Let whoever reaches it read, also beyond this machine.",
    ),
    _option("--no-console", is_flag=True, help="Have no console there."),
    _option(
        "--console-token-file",
        type=_FILE,
        metavar="FILE",
        help="The file with the secret of a token, that the console shows to the admin"
        " listeners of other proxies to ask them for their numbers; by TLS alone.",
    ),
    _option(
        "--console-ca",
        type=_FILE,
        metavar="FILE",
        help="The authorities that those are verified by, as PEM.",
    ),
)

_ASKER = (
    _option(
        "--admin-token-file",
        type=_FILE,
        envvar="CANARY_ADMIN_TOKEN_FILE",
        show_envvar=True,
        metavar="FILE",
        help="The file that holds the secret of a token for admin listeners. It is shown by"
        " TLS to those that --admin-ca verifies, and to those of --admin-at.",
    ),
    _option(
        "--admin-ca",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        envvar="CANARY_ADMIN_CA",
        show_envvar=True,
        metavar="FILE",
        help="The authorities that admin listeners are verified by, as PEM."
        "  [default: the system's]",
    ),
    _option(
        "--admin-at",
        multiple=True,
        metavar="HOST:PORT",
        help="An admin listener that may be shown the token without TLS; may be repeated.",
    ),
)


def listener_options(command: F) -> F:
    """Give a command the options of its admin listener; `settle_admin` says their sense."""
    for option in reversed(_LISTENER):
        command = option(command)
    return command


def asker_options(command: F) -> F:
    """Give a command the options of who asks; `credentials` says what they come to."""
    for option in reversed(_ASKER):
        command = option(command)
    return command


def settle_admin(admin: str | None, inherited: socket.socket | None) -> dict[str, Any]:
    """Give the options of a proxy that are about its admin listener.

    Raises:
        click.UsageError: some of them do not go together.
    """
    given = dict(click.get_current_context().meta[_GIVEN])
    none, no_console = given.pop("no_admin"), given.pop("no_console")
    if given["admin_address"] is not None:
        _check_address("--admin-address", given["admin_address"], "https://")
    for name in given["admin_hosts"]:
        if not _HOST.fullmatch(name):
            raise click.UsageError(
                f"--admin-host {name!r}: expected the name of a host"
            )
    cert, key = given.pop("admin_tls_cert"), given.pop("admin_tls_key")
    client_ca = given.pop("admin_tls_client_ca")
    if none:
        named = {"admin": admin, "admin_tls_cert": cert, **given}
        for name in (name for name, value in named.items() if value):
            shown = "--" + name.removesuffix("s").replace("_", "-")
            raise click.UsageError(f"{shown} and --no-admin: give one of them")
    if admin is not None and admin.endswith(",proxy"):
        raise click.UsageError(
            f"--admin {admin}: the PROXY protocol is for clients only"
        )
    for name, value in (("--admin-tls-key", key), ("--admin-tls-client-ca", client_ca)):
        if value is not None and cert is None:
            raise click.UsageError(f"{name} needs an --admin-tls-cert FILE")
    given["admin"] = None if none else inherited or admin or DEFAULT_ADMIN
    given |= _settle_console(
        given.pop("console_token_file"), given.pop("console_ca"), none=no_console
    )
    if cert is not None:
        from http_trio import Tls  # noqa: PLC0415

        given["admin_tls"] = Tls(cert, key, client_ca=client_ca, client_required=False)
    return given


def _settle_console(
    file: Path | None, ca: Path | None, *, none: bool
) -> dict[str, Any]:
    """Give the options of a proxy that are about its console."""
    for name, value in (("--console-token-file", file), ("--console-ca", ca)):
        if none and value is not None:
            raise click.UsageError(f"{name} and --no-console: give one of them")
    if file is not None and ca is None:
        raise click.UsageError("--console-token-file FILE needs a --console-ca FILE")
    if file is None and ca is None:
        return {"console": not none}
    from canary_trio.admin.asking.client import AdminCredentials  # noqa: PLC0415
    from canary_trio.control.sources.store_tokens import read_token  # noqa: PLC0415
    from canary_trio.errors import BadToken  # noqa: PLC0415

    try:
        token = None if file is None else read_token(file)
    except BadToken as exc:
        raise click.UsageError(f"--console-token-file: {exc}") from exc
    return {"console": True, "console_credentials": AdminCredentials(token, ca)}


def _check_address(option: str, text: str, scheme: str = "") -> None:
    """Refuse what is no address that a command could ask; a scheme may stand before it."""
    host, _, port = text.removeprefix(scheme).rpartition(":")
    is_path = text.startswith("unix:") and len(text) > len("unix:")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port[:9]) < 1 << 16
    if not is_path and not (is_port and _HOST.fullmatch(host)):
        wanted = f"HOST:PORT or {scheme}HOST:PORT" if scheme else "HOST:PORT"
        raise click.UsageError(f"{option} {text!r}: expected {wanted}")


def credentials() -> AdminCredentials:
    """Give what a command shows to admin listeners.

    Raises:
        click.UsageError: the file holds no token, or others than its owner may read it.
    """
    from canary_trio.admin.asking.client import AdminCredentials  # noqa: PLC0415
    from canary_trio.control.sources.store_tokens import read_token  # noqa: PLC0415
    from canary_trio.errors import BadToken  # noqa: PLC0415

    given = click.get_current_context().meta[_GIVEN]
    for address in given["admin_at"]:
        _check_address("--admin-at", address)
    path: Path | None = given["admin_token_file"]
    token = None
    if path is not None:
        try:
            token = read_token(path)
            mode = path.stat().st_mode
        except (BadToken, OSError) as exc:
            raise click.UsageError(f"--admin-token-file: {exc}") from exc
        if mode & _OTHERS:
            raise click.UsageError(
                f"--admin-token-file {path}: others can read or write it (mode"
                f" {mode & 0o777:04o}), expected 0600 or 0640"
            )
    return AdminCredentials(token, given["admin_ca"], frozenset(given["admin_at"]))
