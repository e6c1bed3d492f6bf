"""The live proxies of a service, and waiting until they route by a revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from canary_trio.control.fleet.report import Fleet, Report, digest_of
from canary_trio.control.sources.source import WAIT_S
from canary_trio.control.store_keys import config_key, proxies_prefix, service_prefix

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore
    from kv_trio import Listing


FIRST_LOOK_S = 0.5
"""After a write the fleet is looked at when as many proxies as are expected have said
something new; but once so long has passed, for who it is and what it says."""

REPORT_S = 0.0005
"""A store takes about so long for the report of a proxy: where N of them lag there is a pause
of N times as long before the fleet is read again, of twice that the next time, and so on. So
a store that does not count changes is not read at each of them."""

LONGEST_PAUSE_S = 0.1

MOST_AWAITED = 1000
"""Proxies whose reports are waited for together at most."""


async def read_fleet(client: KeyStore, service: str, revision: int) -> Fleet:
    """Give the live proxies of a service; who is missing, `read_missing` tells."""
    return fleet_of(await client.list(service_prefix(service)), service, revision)


async def wait_applied(
    client: KeyStore,
    service: str,
    revision: int,
    *,
    expect: int = 1,
    until: Callable[[Fleet], bool] | None = None,
    is_whole: bool = False,
) -> Fleet:
    """Wait until there are proxies and none lags behind a revision; give the fleet then.

    They are compared with what the store holds at the same time: its very revision, and the
    very document. Where another writer was quicker, that is the newer one. A store that was
    restored may have lost the revision (`Fleet.is_lost`); then nobody is live by it.

    One that routes by it, but has not come to the store that it names, lags too. Nobody
    routes by a revision where no proxy runs, so the first one is waited for: after a
    restart of the store it may not have reported yet. Put it under `trio.fail_after`:
    there may never be a proxy, one that was killed counts as live until its session
    ends, and one that hangs counts for ever. A store that is away is waited for, too.

    Args:
        client: of the store.
        service: whose fleet.
        revision: of its document.
        expect: so many proxies at least.
        until: tells of each state of the fleet whether it is what is waited for; by
            default `is_applied` of a fleet of that many.
        is_whole: whether `until` tells of a fleet as a whole, so that those states need not
            be looked at in which some proxies lag that have not said anything new.
    """

    def is_applied(fleet: Fleet) -> bool:
        enough = len(fleet.reports) >= expect
        return fleet.is_applied and enough and not fleet.is_lost

    done, prefix = until or is_applied, service_prefix(service)
    async with client.watch_prefix(
        prefix, after=revision, wait_s=FIRST_LOOK_S
    ) as listings:
        is_whole = is_whole or until is None
        listings.changes = min(expect, MOST_AWAITED) if is_whole else 1
        pause_s = REPORT_S
        while True:
            fleet = fleet_of(await anext(listings), service, revision)
            if done(fleet):
                return fleet
            listings.wait_s = WAIT_S
            lagging = min(len(fleet.lagging), MOST_AWAITED) if is_whole else 1
            listings.changes = max(1, lagging)
            if lagging > 1:
                await trio.sleep(min(lagging * pause_s, LONGEST_PAUSE_S))
                pause_s *= 2


def fleet_of(listing: Listing, service: str, asked: int) -> Fleet:
    """Give a fleet with what the store held at the same time.

    Args:
        listing: of `service_prefix`.
        service: whose fleet.
        asked: the revision that is asked for; 0 for that of the store.
    """
    document, prefix = config_key(service).encode(), proxies_prefix(service).encode()
    revision, digest = asked, ""
    reports = []
    for entry in listing.entries:
        if entry.key == document:
            revision, digest = entry.modify_index, digest_of(entry.value)
        elif entry.key.startswith(prefix):
            reports.append(Report.load(entry.value))
    found = tuple(report for report in reports if report is not None)
    return Fleet(revision, found, digest, asked or None)
