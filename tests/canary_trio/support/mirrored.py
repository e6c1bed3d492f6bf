"""A proxy with a stable and a canary server behind it, the canary for copies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from canary_trio.config.document import build
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from http_trio.testing.peers import (
    FakeUpstream,
    RawClient,
    ReceivedRequest,
    Script,
    connected,
    fake_upstream,
    serving,
)

Documents = Callable[[str, str], dict[str, Any]]
"""Gives a document, by the URLs of the stable server and of the canary."""


@attrs.define
class MirrorSite:
    client: RawClient
    runtime: Runtime
    stable: FakeUpstream
    canary: FakeUpstream


async def plain(asked: ReceivedRequest) -> None:
    """Respond with `v1`."""
    await asked.response(b"v1")


async def silent(_: ReceivedRequest) -> None:
    """Respond never."""
    await trio.sleep_forever()


@asynccontextmanager
async def mirror_site(
    old: Script, new: Script, document: Documents
) -> AsyncIterator[MirrorSite]:
    """Run a proxy whose servers play scripts, the canary's below `/base`."""
    async with fake_upstream(old) as stable, fake_upstream(new) as canary:
        urls = [f"http://127.0.0.1:{one.port}" for one in (stable, canary)]
        config = build(document(urls[0], urls[1] + "/base"))
        runtime = Runtime("web")
        runtime.install(await runtime.build(config, 57, b"secret"))
        async with serving(ProxyHandler(runtime)) as server:
            async with connected(server) as client:
                yield MirrorSite(client, runtime, stable, canary)
