"""The command `canary watch`: a service, live, in the terminal; lines where there is none.

What is shown is what `watched` knows. The store and the proxies are asked again and again; each
answer has its time to come, and what does not come is no reason to end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from canary_health.durations import Duration
from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
    from canary_trio.command.cli.watching.watched import Watched
    from canary_trio.control.sources.source import DocumentSource

STORE_S = 3.0
"""How long the store has to respond."""

Show = Callable[["Watched", float], None]


@click.command()
@click.argument("service")
@click.option(
    "--interval",
    "every_s",
    type=Duration(min=0.1),
    default="1s",
    show_default=True,
    metavar="TIME",
    help="Between two looks.",
)
@click.option(
    "--for",
    "for_s",
    type=Duration(),
    metavar="TIME",
    help="End by itself.  [default: run until q or Ctrl-C]",
)
@store_options.config_server
@admin_options.asker_options
@store_options.as_json
def watch(
    service: str,
    every_s: float,
    for_s: float | None,
    config_server: str,
    *,
    as_json: bool,
) -> None:
    """Show SERVICE live: arms, proxies, the last changes, and what waits.

    Of the arms it is the last minute, over the whole fleet. It ends with q or Ctrl-C. Without a
    terminal it is a line each time, and with --json a table on a line.
    """
    import trio  # noqa: PLC0415

    from canary_trio.command.cli.watching.watched import Watched  # noqa: PLC0415

    credentials = admin_options.credentials()
    watched = Watched(service)

    async def look(client: DocumentSource) -> None:
        with _shown(as_json=as_json) as (show, key):
            async with trio.open_nursery() as nursery:
                scope = nursery.cancel_scope
                scope.deadline = trio.current_time() + (for_s or float("inf"))
                nursery.start_soon(_end_on_signal, scope)
                if key is not None:
                    nursery.start_soon(_end_on_key, key, scope)
                while True:
                    await look_once(client, watched, credentials)
                    show(watched, time.time())
                    await trio.sleep(every_s)

    store_options.ask(config_server, look)


async def look_once(
    client: DocumentSource, watched: Watched, credentials: AdminCredentials
) -> None:
    """Ask the store and the proxies once; what they do not say is noted."""
    import trio  # noqa: PLC0415

    from canary_trio.admin.asking import overview as views  # noqa: PLC0415
    from canary_trio.errors import CanaryError  # noqa: PLC0415
    from kv_trio import KvError  # noqa: PLC0415

    service, before = watched.service, watched.overview
    watched.fault = watched.fault or f"the store does not respond within {STORE_S:g} s"
    with trio.move_on_after(STORE_S):
        try:
            found = await views.read_overview(client, service, gateways=False)
            if before is None or before.revision != found.revision:
                watched.changes = await _changes(client, service)
            watched.rollout = await _rollout(client, service, found.document)
            watched.take(found)
        except (CanaryError, KvError) as exc:
            watched.lose(str(exc))
    if watched.overview is not None:
        said = await views.ask_admins(watched.overview.fleet, credentials)
        watched.hear(said, time.time())


async def _changes(client: DocumentSource, service: str) -> tuple[str, ...]:
    from canary_trio.command.cli.changes.history import table_lines  # noqa: PLC0415
    from canary_trio.command.cli.watching.watched import CHANGES  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_history  # noqa: PLC0415
    from kv_trio import KvError  # noqa: PLC0415

    try:
        found = await read_history(client, service)
    except KvError as exc:  # such as: no right to look at it
        return (f"the last changes are not known: {exc}",)
    return tuple(table_lines(found.changes[:CHANGES], found.present))


async def _rollout(
    client: DocumentSource, service: str, document: bytes
) -> tuple[str, ...]:
    if b'"rollout"' not in document:
        return ()
    from canary_trio.admin.asking.rollout_view import (  # noqa: PLC0415
        read_rollout,
        rollout_lines,
    )
    from canary_trio.errors import CanaryError  # noqa: PLC0415

    try:
        return tuple(rollout_lines(await read_rollout(client, service, time.time())))
    except CanaryError:  # it is null, or was taken out
        return ()


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Iterator[tuple[Show, int | None]]:
    """Give what shows, and the terminal whose keys are heard, if there is one."""
    if as_json or not sys.stdout.isatty():
        yield (
            lambda watched, now: click.echo(
                watched.as_json(now) if as_json else watched.line(now)
            ),
            None,
        )
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from canary_trio.command.cli.watching.watch_table import picture  # noqa: PLC0415

    live = Live(console=Console(), screen=True, auto_refresh=False)

    def show(watched: Watched, now: float) -> None:
        live.update(picture(watched, now), refresh=True)

    with _keys() as key, live:
        yield show, key


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Give the terminal, one key at a time; it is left as it was."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    number = sys.stdin.fileno()
    before: Any = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


async def _end_on_key(number: int, scope: Any) -> None:
    import trio  # noqa: PLC0415

    while True:
        await trio.lowlevel.wait_readable(number)
        key = os.read(number, 1)
        if key in (b"q", b"Q", b"", b"\x03"):
            scope.cancel()
            return


async def _end_on_signal(scope: Any) -> None:
    import trio  # noqa: PLC0415

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return
