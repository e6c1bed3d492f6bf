"""What runs here, told to the fleet: an acknowledgement in the store.

It is a key of our own, held by a session: it says what requests are routed by from that
moment on, and it goes away with us. Whoever waits for a change waits for these keys; so
what runs is told at once, and a key is never missing while its proxy lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from canary_trio.control.report import Report
from canary_trio.control.store_keys import proxies_prefix
from kv_trio import Backoff, Client, KvError, StoreRefused, TxnOperation

_log = logging.getLogger(__name__)

SESSION_TTL_S = 10.0
"""The time to live of a proxy's session: the least that stores grant.

They end a session within twice its time to live; for so long after its last sign of life
a proxy counts as live.
"""


class Acknowledger:
    """Tells one store after another what a proxy runs."""

    def __init__(
        self, service: str, proxy_id: str, report: Callable[[], Report]
    ) -> None:
        """Begin without a session, and with nothing written.

        Args:
            service: whose proxy it is.
            proxy_id: its name in the fleet.
            report: gives what is told.
        """
        self._service = service
        self._id = proxy_id
        self._report = report
        self._session = ""
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Acknowledger {self._service} {self._id} session={self._session!r}>"

    def tell(self) -> None:
        """Write the report to the store soon, if it has changed."""
        self._news.set()

    async def run(self, client: Client) -> None:
        """Tell a store what runs, at once; keep the session; begin anew if it ends."""
        key = proxies_prefix(self._service) + self._id
        acknowledged: Report | None = None
        renew_at = 0.0
        backoff = Backoff()
        self._session = ""
        while True:
            try:
                now = trio.current_time()
                if not self._session:
                    await self._begin_session(client)
                    acknowledged, renew_at = None, now + SESSION_TTL_S / 3
                elif now >= renew_at:  # however often there is news
                    if not await client.renew_session(self._session):
                        self._session = ""
                        continue
                    renew_at = now + SESSION_TTL_S / 3
                report = self._report()
                if report != acknowledged:
                    if not await self._acknowledge(client, key, report):
                        continue
                    acknowledged = report
                backoff.reset()
                await self._wait_for_news(renew_at - trio.current_time())
            except KvError as exc:
                if isinstance(exc, StoreRefused):  # such as: the session has ended
                    _log.warning("not acknowledged: %s", exc)
                    self._session = ""
                await backoff.pause()

    async def say_goodbye(self, client: Client) -> None:
        """End the session, which takes the key along; a store that is gone does so."""
        session, self._session = self._session, ""
        if not session:
            return
        try:
            await client.destroy_session(session)
        except KvError as exc:
            _log.info("could not say goodbye; the session ends by itself: %s", exc)

    # === private ===

    async def _begin_session(self, client: Client) -> None:
        name = f"canary {self._service} {self._id}"
        self._session = await client.create_session(name, SESSION_TTL_S, deletes=True)

    async def _acknowledge(self, client: Client, key: str, report: Report) -> bool:
        """Write a report; False if it is to be tried again.

        If another session holds our key (our own of a former life, or a namesake's),
        the key changes hands in one transaction and that session ends. Ended first, it
        would take the key along, and the fleet would miss a proxy that lags.
        """
        mine, text = self._session, report.dump()
        if (await client.put(key, text, acquire=mine)).done:
            return True
        entry = (await client.get(key)).entry
        if entry is None or entry.session is None:
            return False
        _log.warning("%s is held by an older session of this name; it ends now", key)
        unlock = TxnOperation("unlock", key, text, session=entry.session)
        lock = TxnOperation("lock", key, text, session=mine)
        taken = await client.transact([unlock, lock])
        if taken.done:
            await client.destroy_session(entry.session)
        return taken.done

    async def _wait_for_news(self, longest_s: float) -> None:
        with trio.move_on_after(max(0.0, longest_s)):
            await self._news.wait()
        if self._news.is_set():
            self._news = trio.Event()
