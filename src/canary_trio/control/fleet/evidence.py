"""What a proxy counts for the judge of a rollout, told to its fleet, and read from there.

And whether the arms of a rollout have room for more there, of any rollout in progress.

A key of its own beside the report, held by the same session, so it goes away with the
proxy. It is written while a document wants something counted, every `TICK_S`, if it is
another by then; what cannot be written is made up by the next, which says all again.
Workers of one process group are proxies of their own, and of a gateway each service has
its own key. Whoever drives reads all of a service's by one read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import attrs
import trio

from canary_trio.control.fleet.room import Room
from canary_trio.control.sources.source import KeyStore, SourceCannot
from canary_trio.control.store_keys import evidence_key, proxies_prefix
from canary_trio.proxy.changing.trial import Trial
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.published import ProxyEvidence
from canary_trio.rollout.fleet.sums import FleetEvidence
from kv_trio import Entry, KvError

_log = logging.getLogger(__name__)

TICK_S = 0.5
"""Between two writes of a proxy, and between two looks of whoever judges."""

WRITE_S = 5.0
"""How long a write has; a store that takes longer is asked again with newer counts."""

ROLLOUT, TRIAL = "evidence", "trial"
"""What is counted: for the judge of a rollout, or of a document that is tried."""

_NOTHING = ProxyEvidence("", "", {})


class EvidencePublisher:
    """Tells a fleet what one proxy counts of one service, and what it sees of its arms.

    Attributes:
        what: is told.
        room: of the arms.
    """

    def __init__(
        self,
        service: str,
        proxy_id: str,
        runtime: Runtime,
        session: Callable[[], str],
        what: str = ROLLOUT,
    ) -> None:
        """Begin with nothing told.

        Args:
            service: that is counted.
            proxy_id: the proxy's name in the fleet.
            runtime: of the service; what is live says whether something is counted.
            session: gives the session that holds the report; empty if there is none.
            what: is counted.
        """
        self.what = what
        self._key = evidence_key(service, proxy_id, what)
        self.room = Room(runtime)
        self._runtime = runtime
        self._session = session
        self._written, self._under = b"", ""
        self._told = ""

    def __repr__(self) -> str:
        return f"<EvidencePublisher {self._key} needed={self.is_needed}>"

    @property
    def is_needed(self) -> bool:
        """Whether something is counted now, or a rollout is in progress."""
        live = self._runtime.live
        if live is None:
            return False
        rollout = live.config.rollout
        is_in_progress = rollout is not None and not rollout.is_over
        return live.counting is not None or is_in_progress

    async def keep(self, client: KeyStore) -> None:
        """Tell whenever it is needed, until cancelled."""
        live = None
        while True:
            live = await self._runtime.wait_other(live)
            await self.run(client)

    async def run(self, client: KeyStore) -> None:
        """Tell while it is needed; then take back what was told."""
        self._written = b""
        due = trio.current_time()
        try:
            while self.is_needed:
                try:
                    await self._write(client)
                except SourceCannot as exc:
                    _log.info("what is counted is not told: %s", exc)
                    return
                due = max(due + TICK_S, trio.current_time())
                await trio.sleep_until(due)
        finally:
            if self._written:
                with trio.move_on_after(1, shield=True):
                    await self._take_back(client)

    async def _write(self, client: KeyStore) -> None:
        """Write what is counted, if it is another; what fails is tried with the next."""
        live, session = self._runtime.live, self._session()
        if not session or live is None:
            return
        counted = self._counted(live)
        if counted is None:
            if self._written:
                await self._take_back(client)
            return
        text = counted.dump()
        if text == self._written and session == self._under:
            return
        try:
            with trio.move_on_after(WRITE_S):
                if (await client.put(self._key, text, acquire=session)).done:
                    self._written, self._under = text, session
                    self._told = ""
        except SourceCannot:
            raise
        except KvError as exc:
            if str(exc) != self._told:
                self._told = str(exc)
                _log.warning("what is counted for the judge is not told: %s", exc)

    def _counted(self, live: LiveConfig) -> ProxyEvidence | None:
        """Give what is told now; None for nothing."""
        short = self.room.look(trio.current_time())
        if live.counting is None and not short:
            return None
        counted = _NOTHING if live.counting is None else live.counting.evidence()
        return attrs.evolve(counted, short=short)

    async def _take_back(self, client: KeyStore) -> None:
        self._written = b""
        try:
            await client.delete(self._key)
        except KvError as exc:
            _log.info("what was counted ends with the session: %s", exc)


class TrialEvidence(EvidencePublisher):
    """Tells a fleet what one proxy counts of both documents, while one is judged."""

    @property
    def is_needed(self) -> bool:
        """Whether a document is tried that is to be judged."""
        live = self._runtime.live
        return live is not None and self._counted(live) is not None

    def _counted(self, live: LiveConfig) -> ProxyEvidence | None:
        trial = live.trial
        if not isinstance(trial, Trial) or not trial.judged:
            return None
        return trial.counting.evidence()


async def read_evidence(
    client: KeyStore, service: str, what: str = ROLLOUT
) -> FleetEvidence:
    """Give what all proxies of a service tell at this moment, by one read.

    Raises:
        KvError: the store cannot be read.
    """
    listing = await client.list(proxies_prefix(service))
    return evidence_in(listing.entries, service, what)


def evidence_in(
    entries: Iterable[Entry], service: str, what: str = ROLLOUT
) -> FleetEvidence:
    """Give what proxies tell; what is none is passed over.

    Args:
        entries: of the store; those of the service's proxies among them.
        service: whose proxies they are.
        what: was counted.
    """
    last = b"/%b" % what.encode()
    prefix = proxies_prefix(service).encode()
    found = {}
    for entry in entries:
        if entry.key.startswith(prefix) and entry.key.endswith(last):
            name = entry.key[len(prefix) : -len(last)].decode("utf-8", "replace")
            told = ProxyEvidence.load(entry.value)
            if told is not None and entry.session is not None:
                found[name] = told
    return found
