"""The commands after a rollout: `finish`, and `undo`, which goes back to before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import admin_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource


@click.command()
@click.argument("service")
@click.option(
    "--unchecked",
    is_flag=True,
    help="Do not ask the proxies whether the servers are healthy.",
)
@admin_options.asker_options
@writing.options
def finish(service: str, how: How, *, unchecked: bool) -> None:
    """Make the servers of the new version those of `stable`, in one revision.

    For a rollout of SERVICE that is done and has all traffic. Users notice nothing: the same
    servers serve them, and the arm's share is 0 then. Each live proxy is asked first whether
    those servers are healthy; one that cannot be asked, or says no, keeps all as it is.
    """
    from canary_trio.admin.asking.overview import check_healthy  # noqa: PLC0415
    from canary_trio.control.changes.drafts import finished_draft  # noqa: PLC0415

    credentials = admin_options.credentials()

    async def finished(client: DocumentSource) -> Draft:
        draft, arm = await finished_draft(client, service)
        if not unchecked:
            await check_healthy(client, service, arm, credentials)
        return draft

    writing.write(service, finished, how)


@click.command()
@click.argument("service")
@writing.options
def undo(service: str, how: How) -> None:
    """Go back to the document of SERVICE that was there before its rollout began.

    Where another rollout was in progress then, it comes back paused, with the ratio that it
    had: `canary rollout resume` or `abort` says what becomes of it.
    """
    from canary_trio.control.changes.drafts import before_rollout_draft  # noqa: PLC0415

    async def before(client: DocumentSource) -> Draft:
        note = await how.note(client, Draft({}, 0))
        return await before_rollout_draft(client, service, by=note.author)

    writing.write(service, before, how)
