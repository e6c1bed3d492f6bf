"""A proxy that is served with TLS and without, as one server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.testing import PATIENCE_S, Proxied
from http_trio import Tls, serve


@asynccontextmanager
async def proxied_securely(
    tls: Tls, arms: dict[str, Any], **document: Any
) -> AsyncIterator[Proxied]:
    """Run it; its first address is plain, its second one has TLS."""
    runtime = Runtime("web")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(
                serve,
                ProxyHandler(runtime),
                ["127.0.0.1:0"],
                tls=tls,
                tls_binds=["127.0.0.1:0"],
            )
        )
        proxy = Proxied(server, runtime)
        await proxy.install({"ratio": 1, "arms": arms, **document})
        with trio.fail_after(PATIENCE_S):  # noqa: ASYNC100  # it bounds the test
            yield proxy
        nursery.cancel_scope.cancel()


def url_of(proxy: Proxied, *, secure: bool) -> str:
    """Give the URL of one of both addresses, by a name that certificates have."""
    port = proxy.server.addresses[secure].rpartition(":")[2]
    return f"{'https' if secure else 'http'}://localhost:{port}"
