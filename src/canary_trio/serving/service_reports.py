"""What a gateway runs of each of its services, told to their fleets.

The reports are keys as those of a proxy of one service, `canary/SERVICE/proxies/ID`, so
whoever waits for a change of a service waits for gateways, too. All are held by the one
session of the gateway, which its `Acknowledger` keeps: they go away with it. Many are
written in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

import trio

from canary_trio.control.fleet.report import Report
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import proxies_prefix
from kv_trio import Backoff, KvError, StoreRefused, TxnOperation

_log = logging.getLogger(__name__)

BATCH = 64
"""Reports in one transaction at most: what every Consul takes."""

BATCH_BYTES = 128 * 1024
"""Bytes of the reports in one transaction, about."""


class ServiceReports:
    """Writes the reports of a gateway's services."""

    def __init__(
        self,
        proxy_id: str,
        session: Callable[[], str],
        report: Callable[[str], Report | None],
    ) -> None:
        """Begin with nothing written.

        Args:
            proxy_id: the gateway's name in the fleets.
            session: gives the session that holds the reports; empty if there is none.
            report: gives the report of a service; None if it is served no more.
        """
        self._id = proxy_id
        self._session = session
        self._report = report
        self._written: dict[str, Report] = {}
        self._written_under = ""
        self._due: set[str] = set()
        self._refused: set[str] = set()  # which another one's key keeps out
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<ServiceReports {len(self._written)} written, {len(self._due)} due>"

    def tell(self, services: Iterable[str] = ()) -> None:
        """Write the reports of these services soon, and what the session lacks."""
        self._due.update(services)
        self._news.set()

    def forget(self) -> None:
        """Write all reports anew: the store may have older ones."""
        self._due |= self._written.keys()
        self._written = {}
        self._news.set()

    async def run(self, client: KeyStore) -> None:
        """Write until cancelled; what cannot be written is tried again."""
        backoff = Backoff()
        while True:
            await self._news.wait()
            self._news = trio.Event()
            session = self._session()
            if not session:
                continue  # who begins it tells
            if session != self._written_under:
                self._due |= self._written.keys()
                self._written, self._written_under = {}, session
            try:
                await self._write_all(client, session)
                backoff.reset()
            except KvError as exc:
                if isinstance(exc, StoreRefused):
                    _log.warning("services are not acknowledged: %s", exc)
            if self._due:
                self._news.set()
                await backoff.pause()

    async def _write_all(self, client: KeyStore, session: str) -> None:
        left: set[str] = set()
        while self._due:
            batch = self._take_batch()
            if not batch:
                continue
            try:
                done = await self._write(client, session, batch)
            except KvError:
                self._due.update(service for service, _ in batch)
                raise
            left |= {service for service, _ in batch if service not in done}
        self._due |= left

    def _take_batch(self) -> list[tuple[str, Report | None]]:
        batch: list[tuple[str, Report | None]] = []
        size = 0
        while self._due and len(batch) < BATCH and size < BATCH_BYTES:
            service = self._due.pop()
            report = self._report(service)
            if report != self._written.get(service):
                batch.append((service, report))
                size += 0 if report is None else len(report.dump())
        return batch

    async def _write(
        self, client: KeyStore, session: str, batch: Sequence[tuple[str, Report | None]]
    ) -> set[str]:
        """Write reports together, or else one by one; give which are written."""
        operations = [
            TxnOperation("delete", self._key(service))
            if report is None
            else TxnOperation(
                "lock", self._key(service), report.dump(), session=session
            )
            for service, report in batch
        ]
        done: set[str] = set()
        if not await _why_not(client, operations):
            done = {service for service, _ in batch}
        else:
            for (service, _), operation in zip(batch, operations, strict=True):
                reason = await _why_not(client, [operation])
                if not reason:
                    done.add(service)
                elif service not in self._refused:
                    self._refused.add(service)
                    _log.warning("%s is not acknowledged: %s", service, reason)
        self._refused -= done
        for service, report in batch:
            if service in done:
                self._written.pop(service, None)
                if report is not None:
                    self._written[service] = report
        return done

    def _key(self, service: str) -> str:
        return proxies_prefix(service) + self._id


async def _why_not(client: KeyStore, operations: Sequence[TxnOperation]) -> str:
    """Write reports together; say why that is not done, empty if it is."""
    try:
        if (await client.transact(operations)).done:
            return ""
    except StoreRefused as exc:
        if exc.status != HTTPStatus.FORBIDDEN:
            raise
        return str(exc)
    return f"{operations[0].key.decode()} is held by another proxy's session"
