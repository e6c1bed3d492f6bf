"""`canary apply --to`: a document is tried, while the rest stays at the present one.

By some proxies: which ones is decided here, once; those that are live are put in an order that
hangs on their names alone, so the same fleet gives the same proxies, and their names stand in
the store. Or by a share of the users, on every proxy: only the share stands in the store.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from canary_trio.command.cli.changes.unconfirmed import why_alone
from canary_trio.command.cli.changes.writing import (
    How,
    check_writable,
    say_rehearsal,
)
from canary_trio.command.cli.options import store_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.changes.pending import PendingChange
    from canary_trio.control.fleet.report import Fleet
    from canary_trio.control.sources.source import DocumentSource

TRIAL_S = 3600.0
"""How long a document is tried, if `--confirm-within` does not say."""


_DIGITS = 9  # of a number of proxies; a longer one is none of a fleet
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d{1,2})?)%\Z", re.ASCII)


@attrs.frozen
class _Tried:
    change: PendingChange
    live: int
    fault: str
    fleet: Fleet | None


def try_out(
    service: str, document: dict[str, Any], to: str, how: How, *, judged: bool = False
) -> None:
    """Let proxies or users try a document; wait for it if that is asked, and say so."""
    done: _Tried | None = None
    share = share_of(to)
    if judged and not share:
        raise click.UsageError(
            f"--judge goes with a share of the users, as --to 10%, found --to {to}: what"
            " single proxies get is not drawn"
        )

    async def write(client: DocumentSource) -> _Tried:
        nonlocal done
        from canary_trio.control.changes.confirming import write_trial  # noqa: PLC0415
        from canary_trio.control.fleet.applied import read_fleet  # noqa: PLC0415

        check_writable(client)
        await say_rehearsal(client, service, document, how)
        fleet = await read_fleet(client, service, 0)
        live = [report.id for report in fleet.reports]
        change = await write_trial(
            *(client, service, document, _chosen(service, live, to, share)),
            share=share,
            judged=judged,
            within_s=TRIAL_S if how.within_s is None else how.within_s,
            note=await how.note(client, Draft(document, 0)),
        )
        fault = await why_alone(client, service)
        done = _Tried(change, len(live), fault, None)
        return attrs.evolve(done, fleet=await _wait(client, service, change, how))

    try:
        tried = store_options.ask(how.config_server, write)
    except SystemExit as exc:
        if done is None or exc.code != store_options.INTERRUPTED:
            raise
        tried = attrs.evolve(done, fault=done.fault or "the wait was interrupted")
    _say(service, tried, how)


def share_of(to: str) -> int:
    """Give a share of the users in ten-thousandths; 0 where it is one of proxies.

    >>> share_of("10%"), share_of("0.5%"), share_of("2")
    (1000, 50, 0)
    """
    if not to.endswith("%"):
        return 0
    found = _PERCENT.match(to)
    share = round(float(found[1]) * 100) if found else 0
    if not share:
        raise click.UsageError(
            f"found --to {to}, expected a share of the users from 0.01% to 99.99%"
        )
    return share


def _chosen(service: str, live: Sequence[str], to: str, share: int) -> tuple[str, ...]:
    from canary_trio.control.changes.pending import chosen_of  # noqa: PLC0415
    from canary_trio.errors import CannotConfirm  # noqa: PLC0415

    is_count = to.isascii() and to.isdigit() and len(to) <= _DIGITS
    count = int(to) if is_count else None
    if count == 0:
        raise click.UsageError(
            f"found --to {to}, expected a number of proxies, the name of one, or a share of"
            " the users, as 10%"
        )
    if share and live:
        return ()
    if count is None and to in live:
        return (to,)
    if count is not None and count <= len(live):
        return chosen_of(service, live, count)
    there = ", ".join(sorted(live)) or "none"
    raise CannotConfirm(
        f"{service}: --to {to} needs proxies that are live; there are: {there}"
    )


async def _wait(
    client: DocumentSource, service: str, change: PendingChange, how: How
) -> Fleet | None:
    """Wait until those that try it run it; give the fleet then, None if none is waited for."""
    import trio  # noqa: PLC0415

    from canary_trio.control.fleet.applied import read_fleet, wait_applied  # noqa: PLC0415

    if how.wait is None:
        return None
    with trio.move_on_after(how.wait.for_s):
        return await wait_applied(
            *(client, service, change.index),
            until=lambda fleet: not _lagging(fleet, change),
        )
    return await read_fleet(client, service, change.index)


def _lagging(fleet: Fleet, change: PendingChange) -> list[str]:
    """Give those that are to try it, and neither do nor have refused it."""
    done = {
        report.id
        for report in fleet.reports
        if change.index in (report.running, report.beside)
        or (report.failed is not None and report.failed.revision == change.index)
    }
    asked = [one.id for one in fleet.reports] if change.share else change.proxies
    return [name for name in asked if name not in done]


def _say(service: str, tried: _Tried, how: How) -> None:
    from canary_trio.control.changes.pending import in_time  # noqa: PLC0415

    change, fleet = tried.change, tried.fleet
    shown = change.shown(round(time.time() * 1000))
    by = f"{len(change.proxies)} of {tried.live} proxies ({change.who})"
    if change.share:
        by = f"{change.who} on {tried.live} proxies"
    lagging = [] if fleet is None else _lagging(fleet, change)
    if how.as_json:
        waited = {} if fleet is None else {"lagging": lagging}
        click.echo(json.dumps({"revision": change.index, "pending": shown, **waited}))
    else:
        click.echo(
            f"revision {change.index} is tried by {by}; the rest stay at"
            f" {change.revision}, and they go back to"
            f" it {in_time(shown['left_s'])} unless it is confirmed: canary confirm"
            f" {service}"
        )
    refused = False
    for report in () if fleet is None else fleet.reports:
        if report.failed is not None and report.failed.revision == change.index:
            for problem in report.failed.problems:
                refused = True
                click.echo(f"canary: refused by {report.id}: {problem}", err=True)
    if lagging:
        click.echo(f"canary: not yet tried by: {', '.join(lagging)}", err=True)
    if tried.fault:
        click.echo(f"canary: {tried.fault}", err=True)
    if refused:
        sys.exit(1)
    if lagging or tried.fault:
        sys.exit(3)
