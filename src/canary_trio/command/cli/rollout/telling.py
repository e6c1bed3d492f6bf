"""The commands that tell a rollout what to do; each prints the revision that it wrote."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.config.rollout import Rollout
    from canary_trio.control.sources.source import DocumentSource
    from canary_trio.rollout.moves import Move, Ratio, Situation

    Told = Callable[[Rollout, Ratio, Situation], Move | None]


TRIES = 10
"""Of a command, which is to win over a driver that writes in the same moment."""


def tell(
    service: str, told: Told, how: How, what: str, *, at_any_step: bool = False
) -> None:
    """Write what a command says of a service's rollout, over what is there.

    Args:
        service: whose rollout it is.
        told: what the command says.
        how: else.
        what: the same in words.
        at_any_step: whether it means the same whatever step the rollout has gone to
            meanwhile; a `promote` that is said again would go one too far.
    """
    from canary_trio.control.changes.drafts import told_draft  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415

    meant: list[tuple[str, int]] = []  # the step that it was first said of

    def said(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | None:
        present = rollout.id, 0 if rollout.state is None else rollout.state.step
        if meant and present != meant[0] and not at_any_step:
            raise RolloutRefused(
                f"{service}: rollout {present[0]} has gone to step {present[1]} meanwhile;"
                " nothing was written; look at what is there and try again"
            )
        meant.append(present)
        return told(rollout, ratio, seen)

    async def moved(client: DocumentSource) -> Draft:
        note = await how.note(client, Draft({}, 0))
        return await told_draft(client, service, said, by=note.author, what=what)

    writing.write(service, moved, how, tries=TRIES)


@click.command()
@click.argument("service")
@click.option(
    "--full", is_flag=True, help="Go to the last step, without holds, gates and judge."
)
@writing.options
def promote(service: str, how: How, *, full: bool) -> None:
    """End the present step of SERVICE's rollout now: the next one begins.

    It goes exactly one step, whatever the step waits for; from the last one, the rollout is
    done.
    """
    from canary_trio.rollout import commands  # noqa: PLC0415

    if full:
        tell(service, commands.promote_full, how, "promote --full")
    else:
        tell(service, commands.promote, how, "promote")


@click.command()
@click.argument("service")
@writing.options
def pause(service: str, how: How) -> None:
    """Let nothing of SERVICE's rollout move until `resume` or `promote`."""
    from canary_trio.rollout import commands  # noqa: PLC0415

    tell(service, commands.pause, how, "pause", at_any_step=True)


@click.command()
@click.argument("service")
@writing.options
def resume(service: str, how: How) -> None:
    """Let SERVICE's rollout go on from the ratio that is there.

    The hold of its step begins anew, and so does the judge.
    """
    from canary_trio.rollout import commands  # noqa: PLC0415

    tell(service, commands.resume, how, "resume")


@click.command()
@click.argument("service")
@writing.options
def abort(service: str, how: How) -> None:
    """Give the arm of SERVICE's rollout no traffic any more, at once.

    It needs no driver, and no gate or freeze holds it up.
    """
    from canary_trio.rollout import commands  # noqa: PLC0415

    tell(service, commands.abort, how, "abort", at_any_step=True)


@click.command()
@click.argument("service")
@click.option(
    "--from",
    "step",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="The step to begin with.",
)
@writing.options
def retry(service: str, step: int, how: How) -> None:
    """Begin SERVICE's rollout again after an abort."""
    from canary_trio.rollout import commands  # noqa: PLC0415

    tell(service, partial(commands.retry, step=step), how, f"retry --from {step}")


@click.command("skip-gate")
@click.argument("service")
@click.argument("gates", nargs=-1)
@writing.options
def skip_gate(service: str, gates: tuple[str, ...], how: How) -> None:
    """Let the next step of SERVICE's rollout begin without GATES, or without any."""
    from canary_trio.rollout import commands  # noqa: PLC0415

    told = partial(commands.skip_gates, names=gates)
    tell(service, told, how, " ".join(["skip-gate", *gates]))


@click.command()
@click.argument("service")
@click.argument("gates", nargs=-1)
@writing.options
def approve(service: str, gates: tuple[str, ...], how: How) -> None:
    """Approve the next step of SERVICE's rollout, for GATES or for all that wait for it."""
    from canary_trio.rollout import commands  # noqa: PLC0415

    told = partial(commands.skip_gates, names=gates, approvals=True)
    tell(service, told, how, " ".join(["approve", *gates]))
