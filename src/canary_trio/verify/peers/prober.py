"""How soon a proxy routes by a change: one connection to each, asked over and over.

Probes go while a change is written and until all proxies route by it, one at a time for
each proxy, and no longer: so the resolution is one round trip. The rule that it obeys: the
time is that at which the first such probe was sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from canary_trio.verify.fleet import ProxyPorts
from canary_trio.verify.observation import FirstSeen
from canary_trio.verify.peers.http1 import connected, fields_of
from canary_trio.verify.peers.journal import Journal
from canary_trio.verify.peers.wire import LOSSES, Broken, HttpStream, decision_of

PROBES_S = 5.0
"""So long a change is looked for; `--wait` says what takes longer."""

PAUSE_S = 0.001


@attrs.define(eq=False)
class Probes:
    """The probes of one change.

    Attributes:
        revision: that it became; 0 before the store has said so.
    """

    revision: int = 0
    _sent: dict[str, list[tuple[float, int]]] = attrs.field(factory=dict)

    def wanted(self, revision: int) -> None:
        """Take what it became."""
        self.revision = revision

    def note(self, proxy: str, sent: float, revision: int) -> FirstSeen | None:
        """Note a probe; give the first that was routed by the change, once it is known."""
        found = self._sent.setdefault(proxy, [])
        if not found or found[-1][1] != revision:
            found.append((sent, revision))
        if not self.revision:
            return None
        for at, one in found:
            if one >= self.revision:
                return FirstSeen(self.revision, proxy, at)
        return None


class Prober:
    """Who sends them."""

    def __init__(
        self, journal: Journal, places: Sequence[ProxyPorts], nursery: trio.Nursery
    ) -> None:
        self._journal, self._places, self._nursery = journal, places, nursery

    def __repr__(self) -> str:
        return f"<Prober of {len(self._places)} proxies>"

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Probes]:
        """Probe from now on, and behind the block until all of them route by the change."""
        probes = Probes()
        for place in self._places:
            self._nursery.start_soon(self._probe, place, probes)
        yield probes
        await trio.lowlevel.checkpoint()

    async def _probe(self, place: ProxyPorts, probes: Probes) -> None:
        with trio.move_on_after(PROBES_S):
            while True:
                try:
                    async with connected(place) as one:
                        await self._probe_on(place, probes, one)
                        return
                except (Broken, *LOSSES):
                    await trio.sleep(PAUSE_S)  # the load tells of what is lost

    async def _probe_on(
        self, place: ProxyPorts, probes: Probes, one: HttpStream
    ) -> None:
        seen = False
        while not seen:
            await trio.sleep(PAUSE_S)  # who asks without a pause takes the proxy's time
            seen = await self._is_seen(place, probes, one)

    async def _is_seen(
        self, place: ProxyPorts, probes: Probes, one: HttpStream
    ) -> bool:
        sent = self._journal.now()
        host = self._journal.host or place.name.encode()
        await one.send(
            b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (self._journal.path, host)
        )
        head = await one.head()
        await one.body(head)
        said = decision_of(fields_of(head).get(self._journal.decision, b""))
        revision = said.get("revision", "")
        seen = probes.note(
            place.name, sent, int(revision) if revision.isdecimal() else 0
        )
        if seen is not None:
            self._journal.record.seen.append(seen)
        if head.value(b"connection").lower() == b"close" and seen is None:
            raise Broken("closed")
        return seen is not None
