"""The commands of whoever operates a store: `serve`, `check` and `token`.

What takes long to import is imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kv_trio.cli.connect import as_json
from kv_trio.cli.output import fail, show_json

if TYPE_CHECKING:
    from kv_trio.serve import KvServer
    from kv_trio.storage.history import Bounds

_DRAIN_S = 5.0
_SPARE_FILES = 256  # descriptors that are not connections
_DAY_S = 86400.0


@click.command()
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
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who may do what; reread when it changes. See `kv-trio token`.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that clients know it by, beside its addresses'; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Bind beyond this machine, no tokens.")
@click.option(
    "--history-count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="States of a key that are kept.",
)
@click.option(
    "--history-days",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    help="Days for which a state that was replaced is kept.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Open connections; a client beyond them gets a 429.",
)
@click.option(
    "--limit",
    "given_limits",
    multiple=True,
    metavar="NAME=NUMBER",
    help="What a request or client may make it do: see Limits in docs/store.md.",
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Serve HTTPS with this certificate, PEM; read again when it changes.",
)
@click.option(
    "--tls-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Its private key.  [default: in the file of the certificate]",
)
def serve(
    binds: tuple[str, ...],
    data: Path | None,
    token_file: Path | None,
    history_count: int,
    history_days: float,
    connections: int,
    *,
    hosts: tuple[str, ...],
    given_limits: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
) -> None:
    """Serve a store until SIGTERM or Ctrl-C.

    SIGHUP reads the token file again at once. A changed certificate needs no signal.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has a meaning
    import attrs  # noqa: PLC0415
    import trio  # noqa: PLC0415

    from http_trio import Tls, raise_file_limit  # noqa: PLC0415
    from kv_trio.limits import parse_limits  # noqa: PLC0415
    from kv_trio.serve import LIMITS  # noqa: PLC0415
    from kv_trio.storage.history import Bounds  # noqa: PLC0415

    open_to_others = [bind for bind in binds if not _is_local(bind)]
    if open_to_others and token_file is None and not insecure:
        fail(
            f"{open_to_others[0]} can be reached from other machines, and whoever reaches"
            " it can change everything; give a --token-file, bind to 127.0.0.1, or say"
            " --insecure"
        )
    raise_file_limit(connections + _SPARE_FILES)
    bounds = Bounds(history_count, history_days * _DAY_S)
    limits = attrs.evolve(LIMITS, connections=connections)
    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key needs a --tls-cert FILE")
    tls = None if tls_cert is None else Tls(tls_cert, tls_key)
    settings: dict[str, Any] = {"tokens": token_file, "limits": limits, "tls": tls}
    try:
        settings |= {"store_limits": parse_limits(given_limits), "hosts": hosts}
    except ValueError as exc:
        raise click.UsageError(f"--limit {exc}") from exc
    trio.run(_serve, binds, data, bounds, settings)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@as_json
def check(directory: Path, *, as_json: bool) -> None:
    """Read a data DIRECTORY whole, and tell what is wrong with it.

    Its server must not run.
    """
    from kv_trio.errors import KvError  # noqa: PLC0415
    from kv_trio.storage.directory import DATABASE  # noqa: PLC0415
    from kv_trio.storage.engine import StorageEngine  # noqa: PLC0415

    if not (directory / DATABASE).exists():
        fail(f"there is no {DATABASE} in {directory}")
    try:
        engine = StorageEngine(directory)
        try:
            faults, counts = engine.check(), engine.counts()
        finally:
            engine.close()
    except KvError as exc:
        fail(str(exc))
    if as_json:
        show_json({"whole": not faults, "faults": faults, "rows": counts})
    for fault in [] if as_json else faults:
        click.echo(f"kv-trio: {fault}", err=True)
    if faults:
        fail(f"{len(faults)} faults in {directory}; restore it from a backup")
    if not as_json:
        shown = ", ".join(f"{count} {table}" for table, count in counts.items())
        click.echo(f"{directory} is whole: {shown}")


@click.command()
@click.argument("name")
@click.option("--read", multiple=True, metavar="PREFIX", help="May read below it.")
@click.option("--write", multiple=True, metavar="PREFIX", help="May also write.")
def token(name: str, read: tuple[str, ...], write: tuple[str, ...]) -> None:
    """Make a token: its secret on stderr, its lines for the token file on stdout.

    For example: kv-trio token web --read canary/web/ >> tokens.toml
    """
    from kv_trio.api.tokens import make_token  # noqa: PLC0415

    if not read and not write:
        raise click.UsageError("a token needs a --read or a --write PREFIX, or both")
    secret, lines = make_token(name, list(read), list(write))
    click.echo(f"secret, shown only now: {secret}", err=True)
    click.echo("\n" + lines, nl=False)


async def _serve(
    binds: tuple[str, ...],
    data: Path | None,
    bounds: Bounds,
    settings: dict[str, Any],
) -> None:
    from functools import partial  # noqa: PLC0415

    import trio  # noqa: PLC0415

    from http_trio import HttpError, tune_gc  # noqa: PLC0415
    from kv_trio.errors import KvError  # noqa: PLC0415
    from kv_trio.serve import serve as serve_store  # noqa: PLC0415

    failure = ""
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as stops,
        trio.open_signal_receiver(signal.SIGHUP) as reloads,
    ):
        async with trio.open_nursery() as nursery:
            try:
                server: KvServer = await nursery.start(
                    partial(serve_store, binds, data=data, bounds=bounds, **settings)
                )
            except (HttpError, KvError) as exc:
                failure = str(exc)
            else:
                where = "in memory" if data is None else f"in {data}"
                told = f"data {where}, index {server.store.index}"
                click.echo(f"kv-trio listens on {', '.join(server.addresses)}, {told}")
                sys.stdout.flush()
                tune_gc()
                async with trio.open_nursery() as beside:
                    beside.start_soon(_reload_on, reloads, server)
                    async for _ in stops:
                        server.drain(_DRAIN_S)
                        break
                    beside.cancel_scope.cancel()
    if failure:
        fail(failure)


async def _reload_on(signals: AsyncIterator[int], server: KvServer) -> None:
    async for _ in signals:
        server.reload()


def _is_local(bind: str) -> bool:
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    from http_trio import parse_address  # noqa: PLC0415

    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback
