"""The commands `canary status` and `canary services`: what runs, and what there is.

One file, since both show what the store and the proxies say of services.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
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
    from canary_trio.admin.asking.arm_table import arm_rows, shown_row  # noqa: PLC0415
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415

    pending = found.pending
    shown: dict[str, Any] = {
        "revision": found.revision,
        "unverified": _unverified_arms(found.document),
        "proxies": [
            report.shown(found.at) | ({"status": said[report.id]} if arms else {})
            for report in found.fleet.reports
        ],
        "missing": [_missing(sighting, found.at) for sighting in found.missing],
        "pending": None if pending is None else pending.shown(round(found.at * 1000)),
    }
    if arms:
        rows = arm_rows(of_service(one, found.service) for one in statuses.values())
        shown["arms"] = {name: shown_row(row) for name, row in rows.items()}
    return shown


def _status_text(
    found: Overview,
    statuses: dict[str, Status],
    said: dict[str, Status],
    *,
    arms: bool,
) -> Iterator[str]:
    """Give a service as lines."""
    from canary_trio.admin.asking.arm_table import arm_rows, table_lines  # noqa: PLC0415
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415
    from canary_trio.control.changes.pending import words_of  # noqa: PLC0415

    service, fleet = found.service, found.fleet
    live, known = len(fleet.live), len(fleet.reports)
    yield f"{service}: revision {fleet.revision}, live on {live}/{known} proxies"
    if found.pending is not None:
        waits = found.pending.shown(round(found.at * 1000))
        yield f"  {words_of(service, waits)}"
    for name in _unverified_arms(found.document):
        told = "certificates of servers are not verified (tls.verify is false)"
        yield f"  {name}: {told}"
    rows = arm_rows(of_service(one, service) for one in statuses.values())
    if rows:
        yield from table_lines(rows)
    for report in fleet.reports:
        yield from report_lines(
            report, found.at, said[report.id] if arms else None, fleet.said_of(report)
        )
    for sighting in found.missing:
        yield _missing_line(_missing(sighting, found.at))


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


def _missing(sighting: Sighting, now: float) -> dict[str, Any]:
    ago_s = max(0.0, now - sighting.at)  # its clock may be ahead
    return {"id": sighting.id, "address": sighting.address, "last_seen_s": round(ago_s)}


def _missing_line(shown: dict[str, Any]) -> str:
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


# === all services ===

Found = dict[str, dict[str, Any]]
"""What is shown of each service and gateway, by its name."""


@click.command()
@store_options.config_server
@store_options.as_json
def services(config_server: str, *, as_json: bool) -> None:
    """List the services and gateways in the store: documents, routes, live proxies."""

    async def read(client: KeyStore) -> Found:
        from canary_trio.control.fleet.last_seen import missing_in  # noqa: PLC0415
        from canary_trio.control.store_keys import ROOT  # noqa: PLC0415

        listing = await client.list(ROOT)
        values = {entry.key: entry.value for entry in listing.entries}
        found: Found = {}
        for entry in listing.entries:
            _note(found, entry.key.decode("utf-8", "replace"), entry)
        now = time.time()
        for name, shown in found.items():
            missing = missing_in(values, [name], now)
            shown["missing"] = [_missing(sighting, now) for sighting in missing]
        return found

    found = store_options.ask(config_server, read)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no services; write one with: canary apply SERVICE FILE")
    for name in sorted(found):
        for line in _service_lines(name, found):
            click.echo(line)


def _note(found: Found, key: str, entry: Any) -> None:
    """Note what one key says."""
    from canary_trio.control.fleet.report import Report, digest_of  # noqa: PLC0415
    from canary_trio.control.store_keys import BadName, check_service  # noqa: PLC0415

    _, name, *rest = key.split("/")
    try:
        check_service(name)
    except BadName:
        return
    shown = found.setdefault(name, {"revision": None, "proxies": []})
    if rest == ["config"]:
        shown |= {"revision": entry.modify_index, "digest": digest_of(entry.value)}
        shown |= _described(name, entry.value)
    elif rest[:1] == ["proxies"]:
        report = Report.load(entry.value)
        if report is not None:
            shown["proxies"].append(
                {
                    "id": report.id,
                    "address": report.address,
                    "running": report.running,
                    "digest": report.digest,
                    "tries_over": report.tries_over,
                    "refused": report.failed.revision if report.failed else None,
                    "move": report.move,
                }
            )


def _described(name: str, text: bytes) -> dict[str, Any]:
    """Say what a document has: the routes of a gateway, the arms of a service."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import check_document  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415
    from canary_trio.routing.edge.model import GatewayConfig  # noqa: PLC0415

    try:
        config = check_document(name, parse(text))
    except InvalidConfig as exc:
        return {"faults": list(map(str, exc.problems))}
    if isinstance(config, GatewayConfig):
        return {"routes": [route.shown for route in config.routes]}
    shares = {arm: share / 10_000 for arm, share in config.shares.items()}
    return {"arms": shares}


def _service_lines(name: str, found: Found) -> list[str]:
    shown = found[name]
    revision, proxies = shown["revision"], shown["proxies"]
    live = [proxy for proxy in proxies if not _why_not_live(proxy, shown)]
    what = "no document" if revision is None else f"revision {revision}"
    line = f"{name}: {what}, live on {len(live)}/{len(proxies)} proxies"
    if faults := shown.get("faults"):
        more = f" and {len(faults) - 1} more" if faults[1:] else ""
        line += f"; not valid: {faults[0]}{more}"
    elif "arms" in shown:
        line += ": " + ", ".join(f"{a} {s:g}" for a, s in shown["arms"].items())
    lines = [line]
    for route in shown.get("routes", ()):
        hosts, service = ", ".join(route["hosts"]) or "*", route["service"]
        lines.append(f"  {hosts} {route['path_prefix']} -> {route['target']}")
        if service is not None and found.get(service, _ABSENT)["revision"] is None:
            lines[-1] += ", which has no document"
    for proxy in proxies:
        why_not = _why_not_live(proxy, shown)
        lines.append(f"  proxy {proxy['id']}  {proxy['address']}{why_not}")
    return [*lines, *map(_missing_line, shown["missing"])]


_ABSENT: dict[str, Any] = {"revision": None}


def _why_not_live(proxy: dict[str, Any], shown: dict[str, Any]) -> str:
    """Say why a proxy is not live by the revision of its service; empty if it is."""
    revision, running = shown["revision"], proxy["running"]
    if revision and proxy["tries_over"] == revision:
        return f"  tries {running}"
    is_same = proxy["digest"] in ("", shown.get("digest"))
    if running != revision or not is_same:
        runs = f"  runs {running or 'nothing'}"
        if revision is not None and running >= revision:
            runs += ", which this store does not have"
        refused = proxy["refused"]
        return runs + (f", refused {refused}" if refused is not None else "")
    move = proxy["move"]
    return f"  has not moved to the document's store: {move}" if move else ""
