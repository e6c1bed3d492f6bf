"""The command `kv-trio`: serve a store, and look at one.

Exit status: 0 done; 1 refused or failed, with one line on stderr; 2 wrong usage.
"""

from __future__ import annotations

import ipaddress
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from kv_trio.client import Client
    from kv_trio.core import Entry

T = TypeVar("T")

_DRAIN_S = 5.0
_url = click.option(
    "--url",
    envvar="KV_TRIO_URL",
    default="http://127.0.0.1:8500",
    show_default=True,
    help="The store's server.  [env: KV_TRIO_URL]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A versioned key-value store that speaks Consul's KV API, and its watch."""


@main.command()
@click.option(
    "--bind",
    "binds",
    multiple=True,
    default=["127.0.0.1:8500"],
    show_default=True,
    help="HOST:PORT or unix:PATH; may be repeated.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the database, made if absent. Without it, memory only.",
)
@click.option("--insecure", is_flag=True, help="Allow binding beyond this machine.")
def serve(binds: tuple[str, ...], data: Path | None, *, insecure: bool) -> None:
    """Serve a store until SIGTERM or Ctrl-C."""
    import trio  # noqa: PLC0415  # keeps --help quick, as below

    open_to_others = [bind for bind in binds if not _is_local(bind)]
    if open_to_others and not insecure:
        _fail(
            f"{open_to_others[0]} can be reached from other machines, and whoever reaches"
            " it can change everything; bind to 127.0.0.1, or say --insecure"
        )
    trio.run(_serve, binds, data)


@main.command()
@click.argument("key")
@_url
def get(key: str, url: str) -> None:
    """Print a key's value."""
    snapshot = _run(url, lambda client: client.get(key))
    if snapshot.entry is None:
        _fail(f"no key {key!r}")
    sys.stdout.buffer.write(snapshot.entry.value)


@main.command()
@click.argument("key")
@click.argument("value")
@click.option("--cas", type=click.IntRange(min=0), help="Only if at this index.")
@_url
def put(key: str, value: str, cas: int | None, url: str) -> None:
    """Write a key. VALUE is text, @FILE, or - for standard input."""
    try:
        if value == "-":
            data = sys.stdin.buffer.read()
        elif value.startswith("@"):
            data = Path(value[1:]).read_bytes()
        else:
            data = value.encode()
    except OSError as exc:
        _fail(f"cannot read {value[1:]}: {exc.strerror}")
    written = _run(url, lambda client: client.put(key, data, cas=cas))
    if not written.done:
        _fail(f"{key!r} is not at index {cas}: somebody else has changed it")
    click.echo(f"index {written.index}")


@main.command()
@click.argument("key")
@click.option("--recurse", is_flag=True, help="All keys that begin with KEY.")
@_url
def delete(key: str, url: str, *, recurse: bool) -> None:
    """Remove a key."""
    _run(url, lambda client: client.delete(key, recurse=recurse))


@main.command("list")
@click.argument("prefix", default="")
@_url
def list_(prefix: str, url: str) -> None:
    """Print the keys that begin with PREFIX, with their indexes."""
    for entry in _run(url, lambda client: client.list(prefix)).entries:
        click.echo(f"{entry.modify_index:>8}  {entry.key.decode('utf-8', 'replace')}")


@main.command()
@click.argument("key")
@_url
def watch(key: str, url: str) -> None:
    """Print each state of a key as it comes, until Ctrl-C."""

    async def follow(client: Client) -> None:
        async with client.watch(key) as states:
            async for state in states:
                click.echo(f"{state.index}  {_show(state.entry)}")

    _run(url, follow)


async def _serve(binds: tuple[str, ...], data: Path | None) -> None:
    import trio  # noqa: PLC0415

    from http_trio import HttpError  # noqa: PLC0415
    from kv_trio.errors import KvError  # noqa: PLC0415
    from kv_trio.server import KvServer  # noqa: PLC0415
    from kv_trio.server import serve as serve_store  # noqa: PLC0415

    failure = ""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            try:
                server: KvServer = await nursery.start(
                    partial(serve_store, binds, data=data)
                )
            except (HttpError, KvError) as exc:
                failure = str(exc)
            else:
                where = "in memory" if data is None else f"in {data}"
                addresses = ", ".join(server.addresses)
                click.echo(
                    f"kv-trio listens on {addresses}, data {where}, index"
                    f" {server.store.index}"
                )
                sys.stdout.flush()
                async for _ in signals:
                    server.drain(_DRAIN_S)
                    break
    if failure:
        _fail(failure)


def _run(url: str, ask: Callable[[Client], Awaitable[T]]) -> T:
    import trio  # noqa: PLC0415

    from kv_trio.client import Client  # noqa: PLC0415
    from kv_trio.errors import KvError  # noqa: PLC0415

    async def connected() -> T:
        async with Client(url) as client:
            return await ask(client)

    try:
        return trio.run(connected)
    except KvError as exc:
        _fail(f"{exc}; is the server running?  kv-trio serve")
    except KeyboardInterrupt:
        sys.exit(0)


def _is_local(bind: str) -> bool:
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show(entry: Entry | None) -> str:
    return "(absent)" if entry is None else entry.value.decode("utf-8", "replace")


def _fail(reason: str) -> NoReturn:
    click.echo(f"kv-trio: {reason}", err=True)
    sys.exit(1)
