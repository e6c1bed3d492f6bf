"""`/v1/snapshot`: a copy of the database, made while it is written to."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from http_trio import Exchange, Response
from kv_trio.consul.encode import failed
from kv_trio.errors import StorageError
from kv_trio.limits import StoreLimits
from kv_trio.storage.directory import UNFINISHED
from kv_trio.storage.engine import StorageEngine
from kv_trio.watch.large_responses import LEAST_RATE, Places, wait_taken

_CHUNK = 256 * 1024  # bytes that are read, and may wait for the client, at a time


class SnapshotEndpoint:
    """Answers the requests to `/v1/snapshot`."""

    def __init__(
        self,
        engine: StorageEngine,
        run: Callable[[Callable[[], None]], Awaitable[None]],
        limits: StoreLimits,
    ) -> None:
        """Copy from a storage engine.

        Args:
            engine: whose database is copied.
            run: calls what may wait for the disk.
            limits: say how many are made at a time.
        """
        self._places = Places(limits.backups)
        self._engine = engine
        self._run = run

    def __repr__(self) -> str:
        return "<SnapshotEndpoint>"

    async def handle(self, exchange: Exchange) -> None:
        """Send a copy that is of one consistent state; a slow client slows the reading."""
        try:
            async with self._places.take(exchange.client):
                await self._copy(exchange)
        except trio.TooSlowError:
            exchange.respond(_too_many())

    async def _copy(self, exchange: Exchange) -> None:
        directory = self._engine.directory
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=directory) as temporary:
            path = Path(temporary) / "kv.sqlite"
            try:
                await self._run(lambda: self._engine.back_up(path))
            except StorageError as exc:
                exchange.respond(failed(exc))
                return
            exchange.begin(Response(200, b"", b"application/vnd.sqlite3"))
            began, sent = trio.current_time() + exchange.limits.write_s, 0
            async with await trio.open_file(path, "rb") as file:
                while not exchange.gone and (chunk := await file.read(_CHUNK)):
                    exchange.send(chunk)
                    sent += len(chunk)
                    until = began + sent / LEAST_RATE
                    if not await wait_taken(exchange, _CHUNK, until):
                        exchange.cut()
            exchange.finish()


def _too_many() -> Response:
    text = (
        b"other backups are being made; try again later, or raise the store's limit:"
        b" --limit backups=NUMBER\n"
    )
    return Response(429, text, headers=((b"Retry-After", b"10"),))
