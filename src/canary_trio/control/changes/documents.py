"""Writing a document, and waiting until the fleet routes by it.

Every write is compare-and-set on the revision that was read, so of two writers one
wins and the other is told. A document is validated here, before it is written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from canary_trio.config.document import build, parse
from canary_trio.config.model import Config
from canary_trio.control.changes.assignments import apply_assignments
from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import check_service, config_key, proxies_prefix
from canary_trio.errors import NoDocument, WrittenMeanwhile
from canary_trio.routing.edge.model import GatewayConfig, is_gateway
from canary_trio.routing.edge.table_codec import build_table
from kv_trio import Listing

_log = logging.getLogger(__name__)


async def read_document(client: KeyStore, service: str) -> tuple[bytes, int]:
    """Give a service's document, as it is written, and its revision.

    Raises:
        NoDocument: there is none.
        KvError: the store cannot be read.
    """
    entry = (await client.get(config_key(service))).entry
    if entry is None:
        raise NoDocument(service)
    return entry.value, entry.modify_index


def check_document(service: str, document: dict[str, Any]) -> Config | GatewayConfig:
    """Give a parsed document as the value that it is for a service, or for a gateway.

    Raises:
        BadName: there is no such service.
        InvalidConfig: with all of its faults.
    """
    is_table = is_gateway(check_service(service))
    return build_table(document) if is_table else build(document, service=service)


async def write_document(
    client: KeyStore, service: str, document: dict[str, Any], *, over: int
) -> int:
    """Validate and write a document; give its revision.

    Args:
        client: of the store.
        service: whose document it is.
        document: parsed JSON.
        over: the revision that it replaces; 0 if there must be none.

    Raises:
        InvalidConfig: with all of its faults; nothing is written.
        WrittenMeanwhile: another writer was first; nothing is written.
        KvError: the store cannot be written. If the response was lost, it may be.
    """
    check_document(service, document)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    written = await client.put(config_key(service), text.encode(), cas=over)
    if not written.done:
        raise WrittenMeanwhile(service, written.index)
    return written.index


async def write_first(client: KeyStore, service: str, document: bytes) -> None:
    """Write a document that was checked, if the store has none of the service.

    Raises:
        KvError: the store cannot be written.
    """
    if (await client.put(config_key(service), document, cas=0)).done:
        _log.info("wrote the first document of %s", service)


async def change(client: KeyStore, service: str, *assignments: str) -> int:
    """Read, change, validate and write a document; give its new revision.

    Args:
        client: of the store.
        service: whose document it is.
        assignments: such as `"ratio=0.25"`.

    Raises:
        BadAssignment: one cannot be read.
        NoDocument, InvalidConfig, WrittenMeanwhile, KvError: as above.
    """
    text, revision = await read_document(client, service)
    document = apply_assignments(parse(text), assignments)
    return await write_document(client, service, document, over=revision)


async def read_fleet(client: KeyStore, service: str, revision: int) -> Fleet:
    """Give the live proxies of a service; who is missing, `read_missing` tells."""
    return _fleet_of(await client.list(proxies_prefix(service)), revision)


async def wait_applied(
    client: KeyStore,
    service: str,
    revision: int,
    *,
    expect: int = 1,
    until: Callable[[Fleet], bool] | None = None,
) -> Fleet:
    """Wait until there are proxies and none lags behind a revision; give the fleet then.

    One that routes by it, but has not come to the store that it names, lags too. Nobody routes by a revision where no proxy runs, so the first one is waited for: after
    a restart of the store it may not have reported yet. Put it under `trio.fail_after`:
    there may never be a proxy, one that was killed counts as live until its session
    ends, and one that hangs counts for ever. A store that is away is waited for, too.

    Args:
        client: of the store.
        service: whose fleet.
        revision: of its document.
        expect: so many proxies at least.
        until: tells of each state of the fleet whether it is what is waited for; by
            default `is_applied` of a fleet of that many.
    """
    done = until or (lambda fleet: fleet.is_applied and len(fleet.reports) >= expect)
    async with client.watch_prefix(proxies_prefix(service)) as listings:
        while True:
            fleet = _fleet_of(await anext(listings), revision)
            if done(fleet):
                return fleet


def _fleet_of(listing: Listing, revision: int) -> Fleet:
    reports = (Report.load(entry.value) for entry in listing.entries)
    return Fleet(revision, tuple(report for report in reports if report is not None))
