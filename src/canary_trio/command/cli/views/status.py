"""The command `canary status`: what runs, and what was refused.

One file, since the store and the proxies each say a part of one answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
    from canary_trio.admin.asking.arm_table import DocumentRow
    from canary_trio.admin.asking.overview import Overview, Status
    from canary_trio.control.fleet.report import Report, Sighting
    from canary_trio.control.sources.source import KeyStore

_ODD = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError),  # of a number of 400 digits, of deep nesting
)


@click.command()
@click.argument("service")
@store_options.config_server
@click.option(
    "--arms",
    is_flag=True,
    help="Ask each proxy's admin listener for its arms and all certificates too.",
)
@admin_options.asker_options
@store_options.as_json
def status(service: str, config_server: str, *, arms: bool, as_json: bool) -> None:
    """Show what each live proxy of SERVICE runs, and what it refused.

    One that vanished within the last hour is shown as last seen, to some minutes. Of
    their certificates those are shown that expire within 30 days, or that clients
    refuse. Exit status 1 if any that lives does not route by the newest revision.
    """
    from canary_trio.admin.asking import overview as views  # noqa: PLC0415

    credentials = admin_options.credentials() if arms else None
    rollout: dict[str, Any] | None = None

    async def read(client: KeyStore) -> tuple[Overview, dict[str, Status]]:
        nonlocal rollout
        found = await views.read_overview(client, service)
        rollout = await _rollout(client, service, found)
        if credentials is None:
            return found, {}
        return found, await views.ask_admins(found.fleet, credentials)

    found, statuses = store_options.ask(config_server, read)
    fleet = found.fleet
    said = {
        report.id: views.status_of(report, statuses, service)
        for report in fleet.reports
        if arms
    }
    if as_json:
        shown = _shown(found, statuses, said, arms=arms) | {"rollout": rollout}
        click.echo(json.dumps(shown, indent=2))
    else:
        for line in _status_text(found, statuses, said, arms=arms):
            click.echo(line)
        if rollout is not None:
            from canary_trio.admin.asking.rollout_view import rollout_lines  # noqa: PLC0415

            for line in rollout_lines(rollout):
                click.echo(line)
    if len(fleet.live) + len(fleet.trying) < len(fleet.reports):
        sys.exit(1)


async def _rollout(
    client: KeyStore, service: str, found: Overview
) -> dict[str, Any] | None:
    """Give a service's rollout, and who drives it; None if it has none."""
    if b'"rollout"' not in found.document:
        return None
    from canary_trio.admin.asking.rollout_view import read_rollout  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig, RolloutRefused  # noqa: PLC0415

    try:
        return await read_rollout(client, service, found.at)
    except (RolloutRefused, InvalidConfig):
        return None


def _shown(
    found: Overview,
    statuses: dict[str, Status],
    said: dict[str, Status],
    *,
    arms: bool,
) -> dict[str, Any]:
    """Give a service as JSON has it."""
    from canary_trio.admin.asking.arm_table import (  # noqa: PLC0415
        arm_rows,
        shown_document,
        shown_row,
    )
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415

    pending = found.pending
    shown: dict[str, Any] = {
        "revision": found.revision,
        "unverified": _unverified_arms(found.document),
        "proxies": [
            report.shown(found.at) | ({"status": said[report.id]} if arms else {})
            for report in found.fleet.reports
        ],
        "missing": [shown_missing(sighting, found.at) for sighting in found.missing],
        "pending": None if pending is None else pending.shown(round(found.at * 1000)),
        "judge": found.judge or None,
    }
    if arms:
        rows = arm_rows(of_service(one, found.service) for one in statuses.values())
        shown["arms"] = {name: shown_row(row) for name, row in rows.items()}
        shown["not_asked"] = _not_asked(said)
        shown["trial"] = {
            name: shown_document(row)
            for name, row in _documents(found, statuses).items()
        }
    return shown


def _documents(found: Overview, statuses: dict[str, Status]) -> dict[str, DocumentRow]:
    """Give how both documents fare where a share of the users tries one."""
    from canary_trio.admin.asking.arm_table import document_rows  # noqa: PLC0415
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415

    if found.pending is None or not found.pending.share:
        return {}
    said = (of_service(one, found.service) for one in statuses.values())
    return document_rows(said, found.pending.index)


def _not_asked(said: dict[str, Status]) -> list[str]:
    """Give the proxies that could not be asked: no total has what they count."""
    return sorted(name for name, status in said.items() if isinstance(status, str))


def _status_text(
    found: Overview,
    statuses: dict[str, Status],
    said: dict[str, Status],
    *,
    arms: bool,
) -> Iterator[str]:
    """Give a service as lines."""
    from canary_trio.admin.asking.arm_table import (  # noqa: PLC0415
        arm_rows,
        document_lines,
        table_lines,
    )
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415
    from canary_trio.control.changes.pending import words_of  # noqa: PLC0415
    from canary_trio.errors import printable  # noqa: PLC0415

    service, fleet = found.service, found.fleet
    live, known = len(fleet.live), len(fleet.reports)
    yield f"{service}: revision {fleet.revision}, live on {live}/{known} proxies"
    if found.pending is not None:
        waits = found.pending.shown(round(found.at * 1000))
        yield f"  {words_of(service, waits)}"
        if found.judge:
            yield f"  the judge of it: {printable(found.judge)}"
    for name in _unverified_arms(found.document):
        told = "certificates of servers are not verified (tls.verify is false)"
        yield f"  {name}: {told}"
    rows = arm_rows(of_service(one, service) for one in statuses.values())
    if rows:
        yield from table_lines(rows)
        if lacking := _not_asked(said):
            yield f"  without {', '.join(lacking)}, which cannot be asked"
    if documents := _documents(found, statuses):
        yield from document_lines(documents)
    for report in fleet.reports:
        yield from report_lines(
            report, found.at, said[report.id] if arms else None, fleet.said_of(report)
        )
    for sighting in found.missing:
        yield missing_line(shown_missing(sighting, found.at))


def report_lines(
    report: Report, now: float, answer: dict[str, Any] | str | None, runs: str = ""
) -> Iterator[str]:
    """Give what a proxy reports as lines, and what it says of itself if it was asked."""
    yield f"  {report.id}  {report.address}  {runs or f'runs {report.running}'}"
    if report.move:
        yield f"    has not moved to the document's store: {report.move}"
    if report.failed is not None:
        for problem in report.failed.problems:
            yield f"    refused {report.failed.revision}: {problem}"
    if not isinstance(answer, dict):  # else it tells of all its certificates
        for notice in report.certificates:
            names = f" ({', '.join(notice.names)})" if notice.names else ""
            yield f"    certificate {notice.file}{names} {notice.said(now)}"
    if answer is not None:
        yield from status_lines(answer, report.admin)


def shown_missing(sighting: Sighting, now: float) -> dict[str, Any]:
    ago_s = max(0.0, now - sighting.at)  # its clock may be ahead
    return {"id": sighting.id, "address": sighting.address, "last_seen_s": round(ago_s)}


def missing_line(shown: dict[str, Any]) -> str:
    """Give it as a line."""
    minutes = shown["last_seen_s"] // 60
    seen = f"last seen {minutes} min ago" if minutes else "last seen a moment ago"
    return f"  {shown['id']}  {shown['address']}  {seen}"


def _unverified_arms(document: bytes) -> list[str]:
    """Give the arms of a document whose servers nobody verifies; of no valid one, none."""
    if (
        b"false" not in document
    ):  # the word that JSON has for it, so it need not be read
        return []
    from canary_trio.config.document import load  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig, printable  # noqa: PLC0415

    try:
        arms = load(document).arms
    except InvalidConfig:
        return []
    return [printable(name) for name, arm in arms.items() if arm.is_unverified]


def status_lines(status: dict[str, Any] | str, admin: str) -> list[str]:
    """Give what a proxy says as lines; what is odd, or would steer a terminal, is not."""
    from canary_trio.errors import printable  # noqa: PLC0415

    if isinstance(status, str):
        return [f"    its admin at {admin} cannot be asked: {printable(status)}"]
    try:
        return [printable(line) for line in _lines(status)]
    except _ODD:
        return [f"    its admin at {admin} gives no status of a proxy"]


def _lines(status: dict[str, Any]) -> Iterator[str]:
    if status["split"] is not None and status["split"]["mismatch"]:
        p_value = status["split"]["p_value"]
        yield f"    the split is not as asked: p = {p_value:.2g}"
    for name, arm in status["arms"].items():
        yield from _arm_lines(name, arm)
    for name, arm in status["removed_arms"].items():
        yield f"    {name}: removed, {arm['in_flight']} requests in progress"
    for name, limit in status["rate_limits"].items():
        dry = f", {limit['dry_run']} would be (dry run)" if limit["dry_run"] else ""
        yield (
            f"    limit {name}: {limit['passed']} requests passed,"
            f" {limit['refused']} were refused{dry}"
        )
    for name, check in status["auth"].items():
        came_to = (f"{count} {what}" for what, count in check["outcomes"].items())
        trouble = f"; {check['trouble']}" if check["trouble"] else ""
        yield f"    {name} by {check['by']}: {', '.join(came_to) or 'unused'}{trouble}"
    for certificate in status["certificates"]:
        names = ", ".join(certificate["names"])
        days, problem = certificate["days_left"], certificate["problem"]
        state = problem or f"expires in {days:.1f} days"
        yield f"    certificate {certificate['file']} ({names}) {state}"


def _arm_lines(name: str, arm: dict[str, Any]) -> Iterator[str]:
    observed = arm["observed_share"]
    had = "" if observed is None else f", had {observed:.4f}"
    held = "safe to remove" if arm["safe_to_remove"] else "; ".join(arm["held_by"])
    yield (
        f"    {name}: asked {arm['asked_share']:g}{had}, {arm['requests']} requests,"
        f" {arm['errors']} errors, {arm['in_flight']} in progress; {held}"
    )
    for server in arm["servers"]:
        if server["ejected"]:
            state = "ejected"
        elif not server["up"]:
            state = "down"
        else:
            state = server["mode"]
        yield (
            f"      {server['url']}  {state}, {server['in_flight']} in progress,"
            f" {server['requests']} requests, {server['failures']} failures,"
            f" ejected {server['ejections']} times"
        )
