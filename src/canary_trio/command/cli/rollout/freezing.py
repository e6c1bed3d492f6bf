"""The commands `canary freeze` and `canary unfreeze`: no step begins for a while."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from canary_health.durations import read_duration
from canary_trio.command.cli.options import store_options

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource


LONGEST_S = 10 * 366 * 86400.0
"""How far away the end of a freeze may be, in seconds."""


class Moment(click.ParamType[float]):
    """A time to come: a duration from now, or a date."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `2h` or `2026-12-24T18:00`, of UTC if it names no zone."""
        text = str(value).strip()
        now = time.time()
        try:
            at = now + read_duration(text)
        except ValueError:
            at = self._date(text, param, ctx)
        if at <= now:
            self.fail(f"{text} has passed", param, ctx)
        if at > now + LONGEST_S:
            days = f"{LONGEST_S / 86400:g} days from now at most"
            self.fail(
                f"found {text!r}, expected {days}; without --until it has no end",
                param,
                ctx,
            )
        return at

    def _date(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            expected = "expected a time such as 2h, or 2026-12-24T18:00"
            self.fail(f"found {text!r}, {expected}", param, ctx)
        at = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return at.timestamp()


@click.command()
@click.argument("service")
@click.option(
    "--until",
    type=Moment(),
    metavar="TIME",
    help="When it ends: 2h from now, or 2026-12-24T18:00.  [default: at `unfreeze`]",
)
@click.option("-m", "--message", default="", metavar="TEXT", help="Why.")
@click.option("--author", envvar="CANARY_AUTHOR", show_envvar=True, metavar="NAME")
@store_options.config_server
@store_options.as_json
def freeze(
    service: str,
    config_server: str,
    *,
    until: float | None,
    message: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Let no step of SERVICE's rollouts begin; aborts work as ever.

    What a driver does stops at the end of a step; operators may still promote.
    """
    from canary_trio.control.changes.archive import own_note  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import FREEZE_WORDS, Freeze  # noqa: PLC0415
    from canary_trio.control.store_keys import config_key, freeze_key  # noqa: PLC0415
    from canary_trio.errors import printable  # noqa: PLC0415

    if len(message) > FREEZE_WORDS:
        raise click.UsageError(f"found a message beyond {FREEZE_WORDS} characters")

    async def write(client: DocumentSource) -> Freeze:
        name = author or await client.token_name() or own_note().author
        found = Freeze(name, message, until)
        await client.put(freeze_key(service), found.dump())
        if (await client.get(config_key(service))).entry is None:
            click.echo(f"{service} has no document yet; is its name right?", err=True)
        return found

    found = store_options.ask(config_server, write)
    if as_json:
        click.echo(json.dumps({"frozen": True, "by": found.by, "until": found.until}))
        return
    end = (
        ""
        if until is None
        else f"; it ends at {datetime.fromtimestamp(until, UTC):%F %R} UTC"
    )
    click.echo(
        f"{service} is {printable(found.words)}{end}; canary unfreeze {service} ends it"
    )


@click.command()
@click.argument("service")
@store_options.config_server
@store_options.as_json
def unfreeze(service: str, config_server: str, *, as_json: bool) -> None:
    """Let steps of SERVICE's rollouts begin again."""
    from canary_trio.control.store_keys import freeze_key  # noqa: PLC0415

    async def end(client: DocumentSource) -> bool:
        found = (await client.get(freeze_key(service))).entry is not None
        if found:
            await client.delete(freeze_key(service))
        return found

    was = store_options.ask(config_server, end)
    if as_json:
        click.echo(json.dumps({"service": service, "was_frozen": was}))
        return
    click.echo(
        f"{service} is not frozen any more" if was else f"{service} was not frozen"
    )
