"""A proxy without a store: a document, upstreams that a test plays, real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from canary_trio.config.document import load
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.upstream.server import ServerState
from http_trio import ForwardedPolicy, HttpServer
from http_trio.testing.peers import FakeUpstream, ReceivedRequest, serving
from http_trio.testing.ports import free_port

PATIENCE_S = 30.0


async def says_stable(request: ReceivedRequest) -> None:
    await request.response(b"stable")


async def says_canary(request: ReceivedRequest) -> None:
    await request.response(b"canary")


async def hangs_up(request: ReceivedRequest) -> None:
    """Close without a response."""
    await request.stream.aclose()
    raise trio.ClosedResourceError


def closed_url() -> str:
    """Give a URL at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def url_of(fake: FakeUpstream) -> str:
    return f"http://127.0.0.1:{fake.port}"


def arm(*servers: FakeUpstream | str, **settings: Any) -> dict[str, Any]:
    urls = [server if isinstance(server, str) else url_of(server) for server in servers]
    return {"servers": urls, **settings}


@attrs.define
class Proxied:
    """A proxy that serves, with its state."""

    server: HttpServer
    runtime: Runtime
    revision: int = 1

    async def install(self, document: dict[str, Any]) -> None:
        self.revision += 1
        config = load(json.dumps(document))
        live = await self.runtime.build(config, self.revision, b"secret")
        self.runtime.install(live)

    def server_state(self, name: str, number: int = 0) -> ServerState:
        live = self.runtime.live
        assert live is not None
        return live.arms[name].servers[number]

    @property
    def in_flight(self) -> int:
        servers = [s for a in self.runtime.arms.values() for s in a.server_set.servers]
        return sum(server.in_flight for server in servers)

    def counts(self, name: str) -> tuple[int, int, int, int, int]:
        """Requests, errors, saved, fallbacks and taken over."""
        a = self.runtime.arms[name]
        return a.requests, a.errors, a.saved, a.fallbacks, a.taken_over


@asynccontextmanager
async def proxied(
    arms: dict[str, Any], *, clients: ForwardedPolicy | None = None, **document: Any
) -> AsyncIterator[Proxied]:
    """Run a proxy; all requests go to the canary unless the document says otherwise."""
    runtime = Runtime("web")
    async with serving(ProxyHandler(runtime), clients=clients) as server:
        proxy = Proxied(server, runtime)
        await proxy.install({"ratio": 1, "arms": arms, **document})
        with trio.fail_after(PATIENCE_S):  # noqa: ASYNC100  # it bounds the test
            yield proxy
