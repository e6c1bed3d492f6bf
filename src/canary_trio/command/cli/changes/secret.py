"""The command `canary secret`: the fleet's secret, which signs cookies; it is never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from canary_health.durations import Duration
from canary_trio.command.cli.options import store_options

if TYPE_CHECKING:
    from canary_trio.control.fleet_secret import FleetSecret
    from canary_trio.control.sources.source import DocumentSource

_TIME = "%Y-%m-%dT%H:%M:%SZ"

OLD_DAYS = 30.0
"""Days for which cookies of an old secret are taken, if nothing else is said."""


@click.group()
def secret() -> None:
    """Rotate the secret that signs the sticky cookies of a service."""


@secret.command()
@click.argument("service")
@store_options.config_server
@click.option(
    "--days",
    type=Duration(max=3650, unit="d"),
    default=f"{OLD_DAYS:g}d",
    show_default=True,
    help="How long cookies of the old secret are taken still; a plain number is days. Whoever comes in that time"
    " keeps the arm, and gets a cookie of the new one. 0 ends the old one at once: all users"
    " are drawn anew.",
)
@store_options.as_json
def rotate(service: str, config_server: str, days: float, *, as_json: bool) -> None:
    """Give SERVICE a new secret, which signs a minute later, when all proxies know it."""
    from datetime import timedelta  # noqa: PLC0415

    from canary_trio.control.secret_keeper import rotate_secret, utc_now  # noqa: PLC0415
    from canary_trio.control.sources.source import SourceCannot  # noqa: PLC0415

    old_for, now = timedelta(days=days), utc_now()

    async def ask(client: DocumentSource) -> FleetSecret:
        if client.read_only:
            raise SourceCannot(f"{client.url} takes no secret: {client.read_only}")
        return await rotate_secret(
            client, service, lambda found: found.rotated(now, old_for)
        )

    rotated = store_options.ask(config_server, ask)
    begin = rotated.secrets[0].signs_from
    end = max((one.until for one in rotated.secrets if one.until), default=None)
    signs_from = begin and begin.strftime(_TIME)
    old_until = end and end.strftime(_TIME)
    if as_json:
        click.echo(json.dumps({"signs_from": signs_from, "old_until": old_until}))
    elif old_until is None:
        click.echo(
            "the new secret signs from now on; cookies of the old one are foreign"
        )
    else:
        click.echo(
            f"the new secret signs from {signs_from};"
            f" cookies of the old one are taken until {old_until}"
        )
