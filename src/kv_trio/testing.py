"""A store for tests: in memory, on a free port, gone at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from kv_trio.client.client import Client
from kv_trio.serving import serve


@asynccontextmanager
async def in_memory_store() -> AsyncIterator[Client]:
    """Serve an empty store and give a client of it."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"]))
        async with Client(server.url) as client:
            yield client
        nursery.cancel_scope.cancel()
