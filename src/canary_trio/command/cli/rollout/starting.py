"""The commands that begin a rollout, and that look at one before: `start` and `lint`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from canary_health.durations import Duration
from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.rollout.words import read_steps
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command()
@click.argument("service")
@click.argument("file", type=_FILE, required=False)
@click.option("--id", "id_", metavar="NAME", help="Its name.  [default: the time]")
@click.option("--steps", metavar="1%,5%,...", help="The ratios, in place of FILE.")
@click.option(
    "--hold",
    type=Duration(),
    metavar="TIME",
    help="How long each step but the last lasts at least, such as 10m.",
)
@click.option(
    "--requests",
    type=click.IntRange(min=0),
    metavar="N",
    help="Requests that each step but the last must have had.",
)
@click.option("--judge", is_flag=True, help="Judge errors and latency.")
@click.option(
    "--mirror",
    is_flag=True,
    help="Judges answers to copies, too, in a step before the first that exposes users.",
)
@click.option(
    "--then",
    type=click.Choice(["abort", "pause", "say"]),
    help="What follows from a regression; judges, too.  [default: pause]",
)
@click.option(
    "--unit",
    type=click.Choice(["users", "requests"]),
    help="What errors are counted by where users keep their arm; judges, too."
    "  [default: users]",
)
@click.option("--arm", metavar="ARM", help="Whose ratio is raised.  [default: canary]")
@click.option(
    "--against", metavar="ARM", help="What it is compared with.  [default: stable]"
)
@click.option(
    "--deadline", type=Duration(), metavar="TIME", help="When it ends, so or so."
)
@click.option("--replace", is_flag=True, help="In place of one that is in progress.")
@writing.options
def start(
    service: str, file: Path | None, how: How, *, replace: bool, **given: Any
) -> None:
    """Begin a rollout of SERVICE, by FILE or by words.

    FILE is the table `rollout` of a document: JSON, or by its name YAML (.yaml, .yml) or TOML;
    - is JSON on standard input. By words:

        canary rollout start web --steps 1%,5%,25%,50%,100% --hold 10m --judge
    """
    from canary_trio.config.document import build, parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import (  # noqa: PLC0415
        read_freeze,
        rollout_in,
        with_move,
    )
    from canary_trio.rollout.commands import check_start  # noqa: PLC0415
    from canary_trio.rollout.commands import start as begin  # noqa: PLC0415
    from canary_trio.rollout.moves import Situation  # noqa: PLC0415

    table = _table_of(file, given)

    async def begun(client: DocumentSource) -> Draft:
        text, revision = await read_document(client, service)
        document = parse(text)
        after = {**document, "rollout": table}
        config = build(after, service=service)
        assert config.rollout is not None, "it was just put there"
        check_start(rollout_in(document)[0], config.rollout, replace=replace)
        note = await how.note(client, Draft(after, revision))
        frozen = await read_freeze(client, service, time.time())
        now_ms = round(time.time() * 1000)
        seen = Situation(now_ms, by=note.author, frozen=frozen, before=revision)
        move = begin(config.rollout, config.ratio, seen)
        phase = move.state.phase.value
        told = f"rollout {config.rollout.id} is {phase}: {move.state.reason}"
        return Draft(
            with_move(after, move),
            revision,
            message=f"rollout {config.rollout.id} begins",
            told=told,
            fields={"rollout": {"id": config.rollout.id, "phase": phase}},
            moves_rollout=True,
        )

    writing.write(service, begun, how)


@click.command()
@click.argument("file", type=_FILE)
def lint(file: Path) -> None:
    """Tell whether FILE is a valid rollout, and what it would do."""
    from canary_trio.config.codec import problems  # noqa: PLC0415
    from canary_trio.config.model import format_share  # noqa: PLC0415
    from canary_trio.config.parts.rollout_codec import ROLLOUT  # noqa: PLC0415
    from canary_trio.config.rollout import ErrorUnit, Rollout, Then  # noqa: PLC0415

    table = _read(file)
    try:
        rollout: Rollout = ROLLOUT.decode(table)
    except Exception as exc:  # what a codec raises, is faults
        store_options.fail(*(f"{file}: {one}" for one in problems(exc, "$.rollout")))
    click.echo(f"{file} is valid: rollout {rollout.id} of {rollout.arm}")
    for place, step in enumerate(rollout.steps):
        hold = "until it is promoted" if step.hold is None else f"{step.hold:g} s"
        gates = [gate.name for gate in rollout.gates if gate.is_at(place)]
        after = f", after the gates {', '.join(gates)}" if gates else ""
        what = "requests" if step.ratio else "comparisons"
        least = f", {step.requests:,} {what}" if step.requests else ""
        click.echo(f"  step {place}: {format_share(step.ratio)}, {hold}{least}{after}")
    if rollout.judge is None:
        click.echo("  nobody judges it: only holds and gates are waited for")
    else:
        then = rollout.judge.then.value
        click.echo(f"  judged against {rollout.against}; at a regression: {then}")
        if rollout.judge.errors.unit is ErrorUnit.REQUESTS:
            click.echo(
                "  errors are counted by request, also of users who keep their arm: if"
                " failures hang together by user it says so, and pauses"
                if rollout.judge.then is not Then.SAY
                else "  errors are counted by request, also of users who keep their arm"
            )
        if (mirror := rollout.judge.mirror) is not None:
            click.echo(
                f"  step 0 exposes nobody: at least {mirror.requests:,} comparisons of"
                f" answers to copies of {', '.join(mirror.methods)}, at most"
                f" {mirror.rate:g} a second of each proxy"
            )
    if rollout.deadline is None and any(step.hold is None for step in rollout.steps):
        click.echo("  it has no deadline: a step that nobody promotes lasts for ever")


def _table_of(file: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Give the rollout that a user describes."""
    words = {name: value for name, value in given.items() if value not in (None, False)}
    if file is not None:
        others = sorted(words.keys() - {"id_"})
        if others:
            option = f"--{others[0]}"
            raise click.UsageError(f"found FILE and {option}, expected one of them")
        table = {key: one for key, one in _read(file).items() if key != "state"}
        return {**table, "id": given["id_"]} if given["id_"] else table
    if given["steps"] is None:
        raise click.UsageError("expected FILE, or --steps such as 1%,5%,25%,100%")
    try:
        steps = read_steps(
            *(given["steps"], given["hold"] or 0, int(given["requests"] or 0)),
            mirror=given["mirror"],
        )
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--steps") from exc
    found = {"id": given["id_"] or time.strftime("%Y%m%d-%H%M%S", time.gmtime())}
    table = {**found, "steps": steps}
    judge = {name: given[name] for name in ("mirror", "then") if given[name]}
    if given["unit"] is not None:
        judge["errors"] = {"unit": given["unit"]}
    if given["judge"] or judge:
        table["judge"] = judge or True
    for name in ("arm", "against", "deadline"):
        if given[name] is not None:
            table[name] = given[name]
    return table


def _read(file: Path) -> dict[str, Any]:
    from canary_trio.control.changes.formats import parse_file, yaml_hint  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig, MissingExtra  # noqa: PLC0415

    try:
        with click.open_file(str(file), "rb") as opened:
            found = parse_file(opened.read(), file.name)
    except OSError as exc:
        store_options.fail(f"cannot read {file}: {exc.strerror}")
    except MissingExtra as exc:
        store_options.fail(f"{file}: {exc}")
    except InvalidConfig as exc:
        hint = yaml_hint(exc.problems, file.name)
        faults = [f"{file}: {problem}" for problem in exc.problems]
        store_options.fail(*faults, *([hint] if hint else []))
    inner = found.get("rollout")
    return inner if isinstance(inner, dict) else found
