"""A body that trickles ends with 408, however it is framed and whoever carries it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    connected,
    fake_upstream,
    proxying,
    serving,
)

LIMITS = Limits(body_s=0.3, body_rate=1000)
CHUNKED = b"Transfer-Encoding: chunked"


def then(first: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([first], itertools.repeat(piece))


# Each sends less than the rate of content, in pieces that come well within body_s.
TRICKLES: dict[str, tuple[bytes, Callable[[], Iterator[bytes]]]] = {
    "a small length": (b"Content-Length: 1000", then(b"", b"x")),
    "a large length": (b"Content-Length: 10000000", then(b"", b"x")),
    "chunks of one byte": (CHUNKED, then(b"", b"1\r\nx\r\n")),
    "a long chunk": (CHUNKED, then(b"ffffff\r\n", b"x")),
    "an endless size line": (CHUNKED, then(b"1", b";a=b")),
    "long size lines": (CHUNKED, then(b"", b"1" + b";a=b" * 500 + b"\r\nx\r\n")),
    "trailers": (CHUNKED, then(b"5\r\nhello\r\n0\r\n", b"X-A: b\r\n")),
    "a trailer by the byte": (CHUNKED, then(b"5\r\nhello\r\n0\r\nX:", b"y")),
    "fast, then trailers": (
        CHUNKED,
        then(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n0\r\nX:", b"y"),
    ),
}


async def trickle(client: RawClient, framing: bytes, pieces: Iterator[bytes]) -> bytes:
    """Send until the other side responds; give its status."""
    got = b""

    async def read(scope: trio.CancelScope) -> None:
        nonlocal got
        got = await client.to_end()
        scope.cancel()

    await client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, nursery.cancel_scope)
        for piece in pieces:
            try:
                await client.send(piece)
            except trio.BrokenResourceError:
                break
            await trio.sleep(0.03)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return got[9:12]


def echo(exchange: Exchange) -> None:
    exchange.collect(1 << 30, lambda ex, body: ex.respond(Response(200, body)))


async def swallow(asked: ReceivedRequest) -> None:
    await asked.response(b"ok")


@pytest.mark.parametrize("name", TRICKLES)
async def test_who_collects_a_trickling_body_gets_none(name: str) -> None:
    framing, pieces = TRICKLES[name]
    async with serving(echo, LIMITS) as server, connected(server) as client:
        with trio.fail_after(30):
            assert await trickle(client, framing, pieces()) == b"408"


async def drain(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("name", TRICKLES)
async def test_who_is_forwarded_a_trickling_body_is_let_go(name: str) -> None:
    framing, pieces = TRICKLES[name]
    async with fake_upstream(swallow) as fake:
        fake.raw = drain
        async with proxying(fake.upstream, limits=LIMITS) as proxy:
            async with connected(proxy) as client:
                with trio.fail_after(30):
                    assert await trickle(client, framing, pieces()) == b"408"
        assert not fake.upstream.open


@pytest.mark.parametrize("framing", [b"Content-Length: 400", CHUNKED])
async def test_a_body_as_fast_as_the_rate_comes_through(framing: bytes) -> None:
    """It takes longer than body_s, in pieces with pauses."""
    limits = Limits(body_s=0.4, body_rate=200)
    piece = b"x" * 40 if framing != CHUNKED else b"28\r\n" + b"x" * 40 + b"\r\n"
    async with fake_upstream(swallow) as fake:
        async with proxying(fake.upstream, limits=limits) as proxy:
            async with connected(proxy) as client:
                await client.send(
                    b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n"
                )
                for _ in range(10):
                    await client.send(piece)
                    await trio.sleep(0.1)
                if framing == CHUNKED:
                    await client.send(b"0\r\n\r\n")
                start, _ = await client.response()
    assert start.split()[1] == b"200"
