"""The command `canary rehearse`: what a document would do, before it is written.

The live proxies say it, of the requests that they have noted; here their sums are shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from canary_trio.admin.asking.rehearsal import (
    Rehearsal,
    ask_fleet,
    short_lines,
)
from canary_trio.command.cli.changes.documents import read_valid
from canary_trio.command.cli.changes.writing import check_rehearsed
from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
    from canary_trio.routing.rehearsal.sums import Sums


@click.command()
@click.argument("service")
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@store_options.config_server
@admin_options.asker_options
@store_options.as_json
def rehearse(service: str, file: Path, config_server: str, *, as_json: bool) -> None:
    """Tell what FILE would do as the document of SERVICE: canary rehearse web web.json.

    Each live proxy routes its last requests by the present document and by FILE, and says
    how many of them, and of their users, would move from which arm to which, which rules
    would decide, and what servers could expect. Nothing is written, and what is said are
    sums. FILE is as for `apply`.

    Exit status 1 if no request can be told of, 3 if no live proxy says anything.
    """
    check_rehearsed(service)
    text = read_valid(file, service)
    credentials = admin_options.credentials()
    found = store_options.ask(
        config_server, lambda store: ask_fleet(store, service, text, credentials)
    )
    if as_json:
        click.echo(json.dumps(found.shown(), indent=2))
    else:
        for line in lines(found):
            click.echo(line)
    for line in found.silent:
        click.echo(f"canary: {line}", err=True)
    if not found.answered:
        sys.exit(3)
    if not found.sums.requests:
        sys.exit(1)


def lines(found: Rehearsal) -> Iterator[str]:
    """Give all that was found, in words."""
    from canary_trio.errors import printable  # noqa: PLC0415

    yield from short_lines(found)
    for line in _details(found.sums) if found.sums.requests else ():
        yield printable(line)


def _details(sums: Sums) -> Iterator[str]:
    from canary_trio.routing.arm_references import called  # noqa: PLC0415

    for name, (before, after) in sums.rules.items():
        if before and not after:
            change = ", and matches no more"
        elif after and not before:
            change = ", and matches now"
        else:
            change = ""
        yield f"  {called(name)}: {before:.0f} requests, then {after:.0f}{change}"
    passed = [sums.requests - refused for refused in sums.refused]
    for (arm, url), (before, after) in sums.servers.items():
        had, has = _share(before, passed[0]), _share(after, passed[1])
        more = ", more" if has - had > 5e-5 else ""
        yield f"  server {url} ({arm}): {had:.2%} of requests, then {has:.2%}{more}"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
