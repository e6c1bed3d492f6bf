"""The command `canary rollout status`: how a rollout stands, and what comes next."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.views.rollout_view import (
    read_rollout,
    rollout_lines,
    timeless,
)

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

    With --watch it ends when the rollout does. Exit status 1 where it is aborted or paused.
    """

    async def show(client: DocumentSource) -> dict[str, Any]:
        import trio  # noqa: PLC0415

        before: object = None
        while True:
            found = await read_rollout(client, service, time.time())
            if watch and timeless(found) != before:
                lines = [json.dumps(found)] if as_json else rollout_lines(found)
                for line in lines:
                    click.echo(line)
            before = timeless(found)
            if not watch or found["phase"] in ("done", "aborted"):
                return found
            await trio.sleep(WATCH_S)

    found = store_options.ask(config_server, show)
    if not watch:
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            for line in rollout_lines(found):
                click.echo(line)
    if found["phase"] in ("aborted", "paused"):
        sys.exit(1)
