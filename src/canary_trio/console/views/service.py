"""A service, or a gateway, as a whole: what the store has of it, and the numbers. Pure.

The rule that it obeys: what is there is shown, valid or not, and what is wrong is said in
`trouble`, the worst first. Nothing here raises for what others wrote. One file, since all of
it is one table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from canary_trio.config.document import parse
from canary_trio.config.model import Config
from canary_trio.console.views.numbers import Heard, numbers
from canary_trio.console.views.rollout import rollout_view
from canary_trio.control.changes.documents import check_document
from canary_trio.control.changes.history import Change
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.changes.rollouts import Freeze
from canary_trio.control.fleet.last_seen import missing_in
from canary_trio.control.fleet.report import Fleet, Report, digest_of
from canary_trio.control.store_keys import (
    config_key,
    freeze_key,
    pending_key,
    proxies_prefix,
)
from canary_trio.errors import InvalidConfig, Problem, printable
from canary_trio.routing.edge.model import GatewayConfig
from canary_trio.routing.edge.names import is_gateway
from kv_trio import Entry

Table = dict[str, Any]


@attrs.frozen
class Document:
    """A document as it stands in the store.

    Attributes:
        revision: 0 where there is none.
        text: as it is written.
        table: parsed; None where it is no JSON, or there is none.
        config: what it is for a service or a gateway; None where it is not valid.
        problems: why not.
    """

    revision: int = 0
    text: bytes = attrs.field(default=b"", repr=False)
    table: Table | None = attrs.field(default=None, repr=False)
    config: Config | GatewayConfig | None = attrs.field(default=None, repr=False)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def read(cls, service: str, entry: Entry | None) -> Document:
        """Read what the store has."""
        if entry is None:
            return cls()
        table, config = None, None
        problems: tuple[Problem, ...] = ()
        try:
            table = parse(entry.value)
            config = check_document(service, table)
        except InvalidConfig as exc:
            problems = exc.problems
        return cls(entry.modify_index, entry.value, table, config, problems)

    @property
    def of_service(self) -> Config | None:
        """What it is for a service; None if it is a gateway's, or not valid."""
        return self.config if isinstance(self.config, Config) else None


@attrs.frozen
class StoredService:
    """All that a store has of a service at one moment.

    Attributes:
        entries: by key.
        document: of these, as it was read.
        fleet: the reports.
        change: how the document came to be; None while that is not known.
        at: when it was read, in seconds since 1970.
    """

    service: str
    entries: Mapping[str, Entry] = attrs.field(factory=dict, repr=False)
    document: Document = attrs.field(factory=Document)
    fleet: Fleet = attrs.field(factory=lambda: Fleet(0, ()))
    change: Change | None = None
    at: float = 0.0


def fleet_in(
    entries: Mapping[str, Entry],
    service: str,
    own: Sequence[Report],
    known: dict[tuple[str, int], Report | None],
) -> Fleet:
    """Give the fleet of a service; reports that were read before are not read again.

    Args:
        entries: all that the store has of the service.
        service: whose fleet.
        own: what proxies here say, where the store keeps no reports.
        known: reports by key and revision; what is not there any more is dropped.
    """
    prefix, found = proxies_prefix(service), {}
    for key, entry in entries.items():
        if key.startswith(prefix) and "/" not in key[len(prefix) :]:
            mark = key, entry.modify_index
            found[mark] = known[mark] if mark in known else Report.load(entry.value)
    known.clear()
    known.update(found)
    reports = [one for one in found.values() if one is not None] or list(own)
    document = entries.get(config_key(service))
    revision = 0 if document is None else document.modify_index
    digest = "" if document is None else digest_of(document.value)
    return Fleet(revision, tuple(reports), digest)


def traffic(stored: StoredService, heard: Heard, lost: str, now: float) -> Table:
    """Give the numbers of a service.

    Args:
        stored: what the store has.
        heard: what its proxies said.
        lost: why the store says nothing newer; empty if it does.
        now: seconds since 1970.
    """
    config = stored.document.of_service
    counted = numbers(stored.service, stored.fleet, heard, config, now)
    rollout = None
    if config is not None:
        rollout = rollout_view(config, stored.service, stored.entries, now)
    return {
        "service": stored.service,
        "at": round(now, 3),
        **counted,
        "rollout": rollout,
        "trouble": _trouble(stored, counted, rollout, lost),
    }


def view(
    stored: StoredService,
    counted: Table,
    store: Table,
    events: Sequence[Table],
    *,
    read_only: str,
    now: float,
) -> Table:
    """Give a service whole.

    Args:
        stored: what the store has.
        counted: the numbers, see `traffic`.
        store: how the store stands.
        events: the last ones, the newest first.
        read_only: why it cannot be written; empty if it can.
        now: seconds since 1970.
    """
    service, document, fleet = stored.service, stored.document, stored.fleet
    gateway = document.config if isinstance(document.config, GatewayConfig) else None
    values = {key.encode(): entry.value for key, entry in stored.entries.items()}
    return {
        **counted,
        "kind": "gateway" if is_gateway(service) else "service",
        "now": round(now, 3),
        "read_only": read_only,
        "store": store,
        "revision": document.revision or None,
        "document": safe_json(document.table),
        "text": document.text.decode("utf-8", "replace"),
        "problems": [attrs.asdict(one) for one in document.problems],
        "change": None if stored.change is None else shown_change(stored.change),
        "live": len(fleet.live) if document.revision else 0,
        "known": len(fleet.reports),
        "missing": [
            {"id": one.id, "address": one.address, "seen": one.at}
            for one in missing_in(values, [service], now)
        ],
        "pending": pending_in(stored.entries, service, document.revision),
        "freeze": _freeze(stored.entries.get(freeze_key(service)), now),
        "services": [] if gateway is None else sorted(gateway.services),
        "routes": [] if gateway is None else [route.shown for route in gateway.routes],
        "events": list(events),
    }


def shown_change(change: Change) -> Table:
    """Give a change as JSON has it."""
    return {
        "revision": change.revision,
        "over": change.over,
        "author": printable(change.author),
        "message": printable(change.message),
        "at": None if change.at is None else change.at.timestamp(),
        "changes": [printable(one) for one in change.summary],
        "others": change.others,
        "copy_of": change.copy_of,
        "undoes": change.undoes,
        "by_hand": change.by_hand,
    }


def pending_in(
    entries: Mapping[str, Entry], service: str, revision: int
) -> Table | None:
    """Give the change that waits to be confirmed, or the trial; None for none."""
    entry = entries.get(pending_key(service))
    if entry is None:
        return None
    change = PendingChange.load(entry.value, entry.modify_index)
    if change is None or not change.holds(revision):
        return None
    return shown_pending(change)


def shown_pending(change: PendingChange) -> Table:
    """Give what waits as JSON has it."""
    return {
        "kind": change.kind.value,
        "revision": change.index,
        "back_to": change.revision,
        "author": change.author,
        "message": change.message,
        "until": change.until / 1000,
        "proxies": [printable(one) for one in change.proxies],
        "share": change.share / 10_000 or None,
        "judged": change.judged,
    }


def safe_json(value: Any) -> Any:
    """Give a value if it can be JSON for every reader; None if it cannot.

    Half a character, as `"\\ud800"` writes it, has no UTF-8, and no number is too large.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _freeze(entry: Entry | None, now: float) -> Table | None:
    if entry is None:
        return None
    found = Freeze.load(entry.value)
    if found.until is not None and not now < found.until:
        return None
    return {
        "by": printable(found.by),
        "message": printable(found.message),
        "until": found.until if math.isfinite(found.until or 0) else None,
    }


def _trouble(
    stored: StoredService, counted: Table, rollout: Table | None, lost: str
) -> list[str]:
    """Say what is wrong, the worst first."""
    found = [lost] if lost else []
    document = stored.document
    if not document.revision:
        found.append("there is no document")
    elif document.problems:
        found.append(f"the document is not valid: {document.problems[0]}")
    for proxy in counted["proxies"]:
        if proxy["state"] == "refusing":
            why = f": {proxy['problems'][0]}" if proxy["problems"] else ""
            found.append(f"{proxy['id']} refused revision {stored.fleet.revision}{why}")
    for arm in counted["arms"]:
        if arm["panic"]:
            found.append(f"{arm['name']} has too few healthy servers (panic)")
        elif arm["servers"] and not arm["healthy"]:
            found.append(f"{arm['name']} has no healthy server")
    if rollout is not None and not rollout["over"] and not rollout["driver"]:
        found.append("no proxy drives the rollout: the ratio stays as it is")
    if counted["split"]["mismatch"]:
        found.append("the split is not as asked")
    found += [
        f"{proxy['id']} cannot be asked: {proxy['fault']}"
        for proxy in counted["proxies"]
        if proxy["fault"] and proxy["admin"]
    ]
    return [printable(one) for one in found][:50]
