"""The live proxies of a service, and waiting until they route by a revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.control.store_keys import proxies_prefix

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore
    from kv_trio import Listing


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

    One that routes by it, but has not come to the store that it names, lags too. Nobody
    routes by a revision where no proxy runs, so the first one is waited for: after a
    restart of the store it may not have reported yet. Put it under `trio.fail_after`:
    there may never be a proxy, one that was killed counts as live until its session ends,
    and one that hangs counts for ever. A store that is away is waited for, too.

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
