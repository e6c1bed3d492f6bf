"""A proxy whose document is in a store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from canary_trio import Proxy, ProxyOptions, serve
from canary_trio.control.sources.source import KeyStore

DOCUMENT = {
    "arms": {
        "stable": {"servers": ["http://127.0.0.1:9"]},
        "canary": {"servers": ["http://127.0.0.1:9"]},
    }
}

DEFAULTS = {
    "admin": "127.0.0.1:0",
    "binds": ["127.0.0.1:0"],
    "bootstrap": json.dumps(DOCUMENT).encode(),
    "remember": False,
}


@asynccontextmanager
async def proxy_on(client: KeyStore, **options: object) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        chosen = ProxyOptions(
            config_server=client.url,
            **{**DEFAULTS, **options},  # type: ignore[arg-type]
        )
        with trio.fail_after(30):
            proxy: Proxy = await nursery.start(serve, "web", chosen)
        yield proxy
        nursery.cancel_scope.cancel()
