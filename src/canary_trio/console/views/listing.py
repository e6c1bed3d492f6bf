"""The list of all services and gateways, a row for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from canary_trio.config.model import Config
from canary_trio.console.views.service import Document, fleet_in, pending_in
from canary_trio.control.fleet.report import Report
from canary_trio.control.store_keys import (
    BadName,
    check_service,
    config_key,
    driver_key,
)
from canary_trio.errors import printable
from canary_trio.routing.edge.model import GatewayConfig
from canary_trio.routing.edge.names import is_gateway
from kv_trio import Entry

Table = dict[str, Any]
Rates = Mapping[str, tuple[float, float | None]]
"""By service, requests in a second and the share of errors, of the last minute."""


class ServiceRows:
    """The rows, of which those are made anew whose service has changed."""

    def __init__(self) -> None:
        self._documents: dict[str, tuple[int, bytes, Document]] = {}
        self._reports: dict[str, dict[tuple[str, int], Report | None]] = {}

    def __repr__(self) -> str:
        return f"<ServiceRows {len(self._documents)}>"

    def of(
        self, found: Iterable[Entry], names: Iterable[str], rates: Rates
    ) -> list[Table]:
        """Give the rows.

        Args:
            found: what the store has.
            names: of services that have a row in any case.
            rates: of those that are served here.
        """
        by_service: dict[str, dict[str, Entry]] = {name: {} for name in names if name}
        for entry in found:
            key = entry.key.decode("utf-8", "replace")
            parts = key.split("/", 2)
            if len(parts) == 3 and _is_name(parts[1]):
                by_service.setdefault(parts[1], {})[key] = entry
        for gone in self._documents.keys() - by_service.keys():
            del self._documents[gone]
            self._reports.pop(gone, None)
        return [self._row(name, by_service[name], rates) for name in sorted(by_service)]

    def _row(self, name: str, entries: Mapping[str, Entry], rates: Rates) -> Table:
        document = self._document(name, entries.get(config_key(name)))
        fleet = fleet_in(entries, name, (), self._reports.setdefault(name, {}))
        rate, errors = rates.get(name, (None, None))
        config = document.config
        ratio = config.ratio if isinstance(config, Config) else {}
        return {
            "name": name,
            "kind": "gateway" if is_gateway(name) else "service",
            "revision": document.revision or None,
            "live": len(fleet.live) if document.revision else 0,
            "known": len(fleet.reports),
            "refusing": len(fleet.refusing),
            "ratio": {arm: share / 10_000 for arm, share in ratio.items()},
            "rollout": _rollout(config),
            "pending": pending_in(entries, name, document.revision) is not None,
            "routes": len(config.routes) if isinstance(config, GatewayConfig) else 0,
            "rate": None if rate is None else round(rate, 2),
            "errors": errors,
            "trouble": [
                printable(one)
                for one in (
                    *_trouble_of(document),
                    *(
                        f"{report.id} refused revision {fleet.revision}"
                        for report in fleet.refusing
                    ),
                    *_undriven(name, config, entries),
                )
            ][:10],
        }

    def _document(self, name: str, entry: Entry | None) -> Document:
        if entry is None:
            return Document()
        kept = self._documents.get(name)
        if kept is not None and kept[:2] == (entry.modify_index, entry.value):
            return kept[2]
        document = Document.read(name, entry)
        self._documents[name] = entry.modify_index, entry.value, document
        return document


def _trouble_of(document: Document) -> list[str]:
    if not document.revision:
        return ["there is no document"]
    if document.problems:
        return [f"the document is not valid: {document.problems[0]}"]
    return []


def _undriven(
    name: str, config: Config | GatewayConfig | None, entries: Mapping[str, Entry]
) -> list[str]:
    if not isinstance(config, Config) or config.rollout is None:
        return []
    lock = entries.get(driver_key(name))
    if config.rollout.is_over or (lock is not None and lock.session is not None):
        return []
    return ["no proxy drives the rollout: the ratio stays as it is"]


def _rollout(config: Config | GatewayConfig | None) -> Table | None:
    if not isinstance(config, Config) or config.rollout is None:
        return None
    rollout, state = config.rollout, config.rollout.state
    return {
        "id": printable(rollout.id),
        "phase": "not begun" if state is None else state.phase.value,
        "arm": printable(rollout.arm),
        "reason": "" if state is None else printable(state.reason),
    }


def _is_name(name: str) -> bool:
    try:
        check_service(name)
    except BadName:
        return False
    return True
