"""`/v1/snapshot`: a copy of the database, made while it is written to."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from http_trio import Exchange, Response
from kv_trio.consul.encode import failed
from kv_trio.errors import StorageError
from kv_trio.storage.directory import UNFINISHED
from kv_trio.storage.engine import StorageEngine

_CHUNK = 256 * 1024  # bytes that are read, and may wait for the client, at a time
_PACE_S = 0.005  # how often it is looked whether the client has taken them


class SnapshotEndpoint:
    """Answers the requests to `/v1/snapshot`."""

    def __init__(
        self,
        engine: StorageEngine,
        run: Callable[[Callable[[], None]], Awaitable[None]],
    ) -> None:
        """Copy from a storage engine.

        Args:
            engine: whose database is copied.
            run: calls what may wait for the disk.
        """
        self._engine = engine
        self._run = run

    def __repr__(self) -> str:
        return "<SnapshotEndpoint>"

    async def handle(self, exchange: Exchange) -> None:
        """Send a copy that is of one consistent state; a slow client slows the reading."""
        directory = self._engine.directory
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=directory) as temporary:
            path = Path(temporary) / "kv.sqlite"
            try:
                await self._run(lambda: self._engine.back_up(path))
            except StorageError as exc:
                exchange.respond(failed(exc))
                return
            exchange.begin(Response(200, b"", b"application/vnd.sqlite3"))
            async with await trio.open_file(path, "rb") as file:
                while not exchange.gone and (chunk := await file.read(_CHUNK)):
                    behind = exchange.send(chunk)
                    while behind > _CHUNK and not exchange.gone:
                        await trio.sleep(_PACE_S)
                        behind = exchange.behind
            exchange.finish()
