"""When a proxy was alive last, left behind for whoever misses it.

The report of a proxy goes away with its session, so of one that was killed, or that the
network cut off, the store would say nothing at all. So each proxy leaves a note beside its
report, which no session holds, writes it anew while it lives, and takes it along when it
says goodbye.

The rule that it obeys: notes are few, and nobody needs them. They are where the proxies of
a service may write anyway; each is one small key, written once in some minutes, once for a
gateway with all of its services; old ones are cleared away by those that live; and what goes
wrong with them is no fault of the proxy.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import trio

from canary_trio.control.fleet.report import Report, Sighting, sightings_in
from canary_trio.control.store_keys import ROOT, proxies_prefix, seen_key
from canary_trio.errors import InvalidConfig
from canary_trio.routing.edge.names import GATEWAY_MARK, is_gateway
from kv_trio import KvError, StoreRefused

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore

_log = logging.getLogger(__name__)

NOTE_EVERY_S = 300.0
"""Seconds between two notes of a proxy that lives: so exact is when it was seen last."""

FORGET_S = 3600.0
"""For so long a proxy that is gone is shown; the next note of another clears it away."""

KEPT = 64
"""Notes of proxies that are gone, of one service, at most; the oldest are cleared away."""


class OwnNote:
    """The note of one proxy in one fleet.

    Args:
        service: or gateway, whose fleet it is.
        proxy_id: its name there.
        clock: gives the time as seconds since 1970.
    """

    def __init__(
        self, service: str, proxy_id: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._service = service
        self._key = seen_key(service, proxy_id)
        self._clock = clock
        self._due_at = -math.inf

    def __repr__(self) -> str:
        return f"<OwnNote {self._key}>"

    def begin(self) -> None:
        """Write it at the next occasion: another session, or another store."""
        self._due_at = -math.inf

    async def keep(self, client: KeyStore, report: Report) -> None:
        """Write it if it is time, and clear away what others left too long ago."""
        now = trio.current_time()
        if now < self._due_at:
            return
        self._due_at = now + NOTE_EVERY_S
        sighting = Sighting(report.id, report.address, self._clock())
        try:
            await client.put(self._key, sighting.dump())
            await self._clear(client)
        except StoreRefused as exc:
            _log.info("when this proxy was alive is not noted: %s", exc)
        except KvError:
            self.begin()

    async def take_back(self, client: KeyStore) -> None:
        """Remove it: its proxy ends as it should."""
        await client.delete(self._key)

    async def _clear(self, client: KeyStore) -> None:
        listing = await client.list(proxies_prefix(self._service))
        entries = {entry.key: entry for entry in listing.entries}
        values = {key: entry.value for key, entry in entries.items()}
        now = self._clock()
        for number, sighting in enumerate(sightings_in(values, self._service)):
            if number >= KEPT or now - sighting.at > FORGET_S:
                key = seen_key(self._service, sighting.id)
                index = entries[key.encode()].modify_index
                await client.delete(key, cas=index)


async def read_missing(
    client: KeyStore, service: str, now: float
) -> tuple[Sighting, ...]:
    """Give those who served a service within the last hour, and vanished.

    Gateways whose tables name the service are among them.

    Args:
        client: of the store.
        service: or gateway.
        now: seconds since 1970.

    Raises:
        KvError: the store cannot be read.
    """
    listing = await client.list(proxies_prefix(service))
    values = {entry.key: entry.value for entry in listing.entries}
    names = [service]
    if not is_gateway(service):
        with contextlib.suppress(StoreRefused):  # whoever may not look at gateways
            gateways = await client.list(ROOT + GATEWAY_MARK)
            values |= {entry.key: entry.value for entry in gateways.entries}
            names += gateways_of(values, service)
    return missing_in(values, names, now)


def missing_in(
    values: Mapping[bytes, bytes], names: Iterable[str], now: float
) -> tuple[Sighting, ...]:
    """Give those proxies of these services and gateways that vanished within the hour."""
    return tuple(
        sighting
        for name in names
        for sighting in sightings_in(values, name)
        if now - sighting.at <= FORGET_S
    )


def gateways_of(values: Mapping[bytes, bytes], service: str) -> list[str]:
    """Give the gateways whose tables name a service.

    Args:
        values: of the store, by their keys.
        service: that is asked for.
    """
    found = []
    mark = (ROOT + GATEWAY_MARK).encode()
    for key, value in values.items():
        name, _, last = key.removeprefix(ROOT.encode()).partition(b"/")
        if key.startswith(mark) and last == b"config":
            from canary_trio.routing.edge.table_codec import load_table  # noqa: PLC0415

            with contextlib.suppress(InvalidConfig):
                if service in load_table(value).services:
                    found.append(name.decode())
    return found
