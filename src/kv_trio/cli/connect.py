"""The connection of a command to a server: its options, and what a failure becomes.

What takes long to import is imported inside `run`, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from kv_trio.cli.output import fail

if TYPE_CHECKING:
    from kv_trio.client.client import Client

T = TypeVar("T")

LISTING_BYTES = 1024 * 1024 * 1024
"""Bytes of a listing that a command takes: a process of its own, that shares nothing."""

TOKEN_BYTES = 4096
"""Of a file that holds a secret at most."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@attrs.frozen
class ConnectOptions:
    """The server that a command connects to, and how."""

    url: str
    token: str | None
    ca_file: str | None


_url = click.option(
    "--config-server",
    "--url",
    "url",
    envvar="CANARY_CONFIG_SERVER",
    show_envvar=True,
    default="http://127.0.0.1:8500",
    show_default=True,
    metavar="URL",
    help="The store's server.",
)
_token = click.option(
    "--token",
    envvar=["CANARY_TOKEN", "CONSUL_HTTP_TOKEN"],
    show_envvar=True,
    help="The secret of a token.",
)
_token_file = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="CANARY_TOKEN_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The file that holds that secret, in place of --token.",
)
_ca_file = click.option(
    "--ca-file",
    envvar=["CANARY_CA_FILE", "CONSUL_CACERT"],
    show_envvar=True,
    metavar="FILE",
    help="The authorities that an https:// server is verified by, as PEM."
    "  [default: the system's]",
)


def connect_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which server it connects to, as `target`."""

    @wraps(command)
    def with_target(
        *args: Any,
        url: str,
        token: str | None,
        token_file: Path | None,
        ca_file: str | None,
        **options: Any,
    ) -> None:
        if token_file is not None:
            token = _read_token(token_file)
        command(*args, target=ConnectOptions(url, token, ca_file), **options)

    return _url(_token(_token_file(_ca_file(with_target))))


def _read_token(file: Path) -> str:
    """Read a secret, with nothing else but space around it."""
    from http_trio import read_file  # noqa: PLC0415

    try:
        token = read_file(file, TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "found bytes beyond ASCII"
        fail(f"cannot read a token from {file}: {why or exc}")
    if not token or not token.isprintable() or " " in token:
        fail(f"{file} holds no token: expected one word")
    return token


def run(target: ConnectOptions, use: Callable[[Client], Awaitable[T]]) -> T:
    """Run a command's work with a client; a failure is one line and exit status 1."""
    import trio  # noqa: PLC0415

    from http_trio import HttpError  # noqa: PLC0415
    from kv_trio.client.client import Client  # noqa: PLC0415
    from kv_trio.client.limits import ResponseLimits  # noqa: PLC0415
    from kv_trio.errors import KvError, StoreUnreachable  # noqa: PLC0415

    async def connected() -> T:
        url, token, ca_file = target.url, target.token, target.ca_file
        async with Client(url, token=token, ca_file=ca_file) as client:
            client.limits = ResponseLimits(listing=LISTING_BYTES)
            return await use(client)

    try:
        return trio.run(connected)
    except StoreUnreachable as exc:
        fail(f"{exc}; is the server running?  kv-trio serve")
    except (HttpError, KvError) as exc:
        fail(str(exc))
    except KeyboardInterrupt:
        sys.exit(0)
