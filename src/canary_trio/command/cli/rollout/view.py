"""The command `canary rollout status`: how a rollout stands, and what comes next."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from canary_trio.admin.asking.rollout_view import (
    read_rollout,
    rollout_lines,
    timeless,
)
from canary_trio.command.cli.options import store_options

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource

WATCH_S = 1.0
"""Between two looks with --watch, in seconds."""


@click.command()
@click.argument("service")
@click.option("--watch", is_flag=True, help="Show it again whenever it changes.")
@store_options.config_server
@store_options.as_json
def status(service: str, config_server: str, *, watch: bool, as_json: bool) -> None:
    """Show how SERVICE's rollout stands, who drives it, and what it waits for.

    With --watch it ends when the rollout does, and a store that is away for a while is waited
    for. Exit status 1 where it is aborted or paused.
    """

    async def show(client: DocumentSource) -> dict[str, Any]:
        if watch:
            return await _follow(client, service, as_json=as_json)
        return await read_rollout(client, service, time.time())

    found = store_options.ask(config_server, show)
    if not watch:
        _print(found, as_json=as_json, indent=2)
    if found["phase"] in ("aborted", "paused"):
        sys.exit(1)


async def _follow(
    client: DocumentSource, service: str, *, as_json: bool
) -> dict[str, Any]:
    """Print a rollout whenever it changes; give it once it is over."""
    import trio  # noqa: PLC0415

    from kv_trio import StoreUnreachable  # noqa: PLC0415

    before: object = None
    is_away = False
    while True:
        try:
            found = await read_rollout(client, service, time.time())
        except StoreUnreachable as exc:
            if before is None:
                raise
            if not is_away:
                click.echo(f"canary: {exc}; it is asked again", err=True)
            is_away = True
        else:
            is_away = False
            if timeless(found) != before:
                _print(found, as_json=as_json)
            before = timeless(found)
            if found["phase"] in ("done", "aborted"):
                return found
        await trio.sleep(WATCH_S)


def _print(found: dict[str, Any], *, as_json: bool, indent: int | None = None) -> None:
    lines = [json.dumps(found, indent=indent)] if as_json else rollout_lines(found)
    for line in lines:
        click.echo(line)
