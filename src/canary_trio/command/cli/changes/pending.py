"""The commands for a change that has to be confirmed: confirm and revert; and what is said of it.

A change is made one by `--confirm-within`, which each command that writes a document has. It
is a proxy that takes it back, so it is also looked whether one of them is about to.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import store_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.changes.pending import PendingChange
    from canary_trio.control.sources.source import DocumentSource, KeyStore


@click.command()
@click.argument("service")
@store_options.config_server
@store_options.as_json
def confirm(service: str, config_server: str, *, as_json: bool) -> None:
    """Let the change of SERVICE stay that was made with --confirm-within.

    Exit status 1 where none waits: it was confirmed, taken back or replaced before.
    """
    from canary_trio.control.changes import confirming  # noqa: PLC0415

    async def confirmed(client: DocumentSource) -> PendingChange:
        writing.check_writable(client)
        return await confirming.confirm(client, service)

    change = store_options.ask(config_server, confirmed)
    shown = change.shown(round(time.time() * 1000))
    if as_json:
        click.echo(json.dumps({**shown, "confirmed": True}))
        return
    why = f" ({shown['message']})" if shown["message"] else ""
    if change.is_trial:
        click.echo(
            f"revision {change.index} by {change.author}{why}, tried by"
            f" {change.who}, is confirmed: all take it now"
        )
        return
    click.echo(
        f"revision {change.index} by {change.author}{why} is confirmed,"
        f" {shown['left_s']:.0f} s before it would have gone back to revision"
        f" {change.revision}"
    )


@click.command()
@click.argument("service")
@writing.options_for_good
def revert(service: str, how: How) -> None:
    """Go back at once from the change of SERVICE that waits to be confirmed.

    Exit status 1 where none waits; `canary undo` takes back one that is for good.
    """
    from canary_trio.control.changes.confirming import stop_trial  # noqa: PLC0415
    from canary_trio.control.changes.drafts import reverted_draft  # noqa: PLC0415
    from canary_trio.control.changes.waiting import read_pending  # noqa: PLC0415

    async def stopped(client: KeyStore) -> PendingChange | None:
        """Stop what is tried; None where nothing is."""
        change = (await read_pending(client, service)).change
        is_tried = change is not None and change.is_trial
        if not is_tried or change is None:
            return None
        if await stop_trial(client, service, change):
            return change
        return await stopped(client)

    trial = store_options.ask(how.config_server, stopped)
    if trial is not None:
        shown = {"reverted": trial.index, "revision": trial.revision}
        words = (
            f"revision {trial.index} is tried no more; back to {trial.revision}:"
            f" {trial.who}"
        )
        click.echo(json.dumps(shown) if how.as_json else words)
        return

    async def former(client: KeyStore) -> Draft:
        return await reverted_draft(client, service)

    writing.write(service, former, how)
