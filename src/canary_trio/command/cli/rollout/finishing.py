"""The commands after a rollout: `finish`, and `undo`, which goes back to before it."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import Draft, How
from canary_trio.command.cli.options import admin_options

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
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
    from canary_trio.config.document import build, parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.commands import check_finish  # noqa: PLC0415

    credentials = admin_options.credentials()

    async def finished(client: DocumentSource) -> Draft:
        text, revision = await read_document(client, service)
        document = parse(text)
        config = build(document, service=service)
        if config.rollout is None:
            raise RolloutRefused(f"{service} has no rollout")
        check_finish(config.rollout, config.ratio)
        arm = config.rollout.arm
        if not unchecked:
            await _check_healthy(client, service, arm, credentials)
        changed = copy.deepcopy(document)
        changed["arms"]["stable"]["servers"] = changed["arms"][arm]["servers"]
        changed["ratio"] = 0
        id_ = config.rollout.id
        changed["rollout"]["state"] |= {"ratio": 0, "reason": "finished"}
        return Draft(
            changed,
            revision,
            message=f"rollout {id_} is finished",
            told=f"the servers of {arm} are stable's, and its ratio is 0",
            fields={"rollout": {"id": id_, "phase": "done"}},
            moves_rollout=True,
        )

    writing.write(service, finished, how)


@click.command()
@click.argument("service")
@writing.options
def undo(service: str, how: How) -> None:
    """Go back to the document of SERVICE that was there before its rollout began.

    Where another rollout was in progress then, it comes back paused, with the ratio that it
    had: `canary rollout resume` or `abort` says what becomes of it.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_revision  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import keep_state, rollout_in  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.moves import Situation  # noqa: PLC0415

    async def before(client: DocumentSource) -> Draft:
        text, revision = await read_document(client, service)
        rollout, _ = rollout_in(parse(text))
        if rollout is None or rollout.state is None or not rollout.state.before:
            raise RolloutRefused(
                f"it is not known what was there before a rollout of {service}; see"
                " canary history, and canary rollback"
            )
        earlier = rollout.state.before
        former = parse(await read_revision(client, service, earlier))
        note = await how.note(client, Draft(former, revision))
        seen = Situation(round(time.time() * 1000), by=note.author)
        document, said = keep_state(None, former, seen, is_former=True)
        told = f"a copy of {earlier}, from before rollout {rollout.id}"
        return Draft(
            document,
            revision,
            copy_of=earlier,
            message=f"back to before rollout {rollout.id}",
            told="; ".join(filter(None, (told, said))),
            fields={"copy_of": earlier},
            moves_rollout=True,
        )

    writing.write(service, before, how)


async def _check_healthy(
    client: DocumentSource, service: str, arm: str, credentials: AdminCredentials
) -> None:
    """Check that each live proxy finds all servers of an arm healthy.

    Raises:
        RolloutRefused: one does not, or cannot be asked, or there is none.
    """
    from canary_trio.admin.asking import overview as views  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused, printable  # noqa: PLC0415

    found = await views.read_overview(client, service)
    statuses = await views.ask_admins(found.fleet, credentials)
    if not statuses:
        raise RolloutRefused(f"no proxy of {service} is live; --unchecked asks none")
    for report in found.fleet.reports:
        said = views.status_of(report, statuses, service)
        why = said if isinstance(said, str) else _why_unhealthy(said, arm)
        if why:
            raise RolloutRefused(
                f"{arm} goes on as it is: {report.id} says: {printable(why)};"
                " --unchecked asks nobody"
            )


def _why_unhealthy(status: dict[str, Any], arm: str) -> str:
    """Say which server of an arm a proxy finds unhealthy; empty for none."""
    try:
        for server in status["arms"][arm]["servers"]:
            if not (server["healthy"] and server["up"] and not server["ejected"]):
                return f"{server['url']} is not healthy"
    except (LookupError, TypeError):
        return f"it does not know the arm {arm}"
    return ""
