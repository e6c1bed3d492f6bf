"""The command `canary services`: what services and gateways there are."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.views.status import missing_line, shown_missing

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore

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
            shown["missing"] = [shown_missing(sighting, now) for sighting in missing]
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
    return [*lines, *map(missing_line, shown["missing"])]


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
