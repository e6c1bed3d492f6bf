"""What a request came by is known to handlers, and said to servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from http_trio import (
    Exchange,
    ForwardHooks,
    Handler,
    Response,
    Tls,
    as_asgi,
    forward,
    serve,
)
from http_trio.testing.peers import (
    ReceivedRequest,
    connected,
    fake_upstream,
    proxying,
    serving,
)
from tests.http_trio.support.certificates import Authority, hypercorn_serving

BOTH = pytest.mark.parametrize(
    ("http2", "name", "via"),
    [(False, "HTTP/1.1", b"1.1"), (True, "HTTP/2", b"2.0")],
    ids=["HTTP/1.1", "HTTP/2"],
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def ours(handler: Handler, authority: Authority) -> AsyncIterator[int]:
    """Serve it by our own listener."""
    async with trio.open_nursery() as nursery:
        tls = Tls(*authority.issue())
        start = partial(serve, handler, ["127.0.0.1:0"], tls=tls)
        server = await nursery.start(start)
        yield int(server.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def asgi(handler: Handler, authority: Authority) -> AsyncIterator[int]:
    """Serve it as an ASGI application, by hypercorn."""
    async with hypercorn_serving(as_asgi(handler), authority) as port:
        yield port


async def nothing(asked: ReceivedRequest) -> None:
    await asked.response(b"")


@BOTH
@pytest.mark.parametrize("running", [ours, asgi])
async def test_handlers_and_servers_know_the_protocol(
    authority: Authority, running: object, http2: bool, name: str, via: bytes
) -> None:
    async with fake_upstream(nothing) as upstream:

        def handle(exchange: Exchange) -> None:
            if exchange.path == b"/forward":
                forward(exchange, upstream.upstream, ForwardHooks())
            else:
                exchange.respond(Response(200, exchange.protocol.encode()))

        with trio.fail_after(30):
            async with (
                running(handle, authority) as port,  # type: ignore[operator]
                httpx.AsyncClient(
                    verify=authority.trusting(), http1=not http2, http2=http2
                ) as client,
            ):
                url = f"https://localhost:{port}"
                assert (await client.get(url)).text == name
                await client.get(f"{url}/forward")

    assert b"\r\nVia: %b canary-trio" % via in upstream.asked[0].head


async def test_both_versions_of_http1_may_share_a_connection() -> None:
    async with fake_upstream(nothing) as upstream:
        async with proxying(upstream.upstream) as server, connected(server) as client:
            for version in (b"1.1", b"1.0", b"1.1", b"1.0"):
                await client.send(
                    b"GET / HTTP/%b\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
                    % version
                )
                await client.response()

        said = [asked.head.partition(b"\r\nVia: ")[2][:3] for asked in upstream.asked]
        assert said == [b"1.1", b"1.0", b"1.1", b"1.0"]


async def test_an_exchange_that_is_over_still_names_it() -> None:
    """The access log asks then."""
    seen: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        seen.append(exchange)
        exchange.respond(Response(200, b""))

    async with serving(handle) as server, connected(server) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.to_end()

    assert seen[0].gone
    assert seen[0].protocol == "HTTP/1.0"
