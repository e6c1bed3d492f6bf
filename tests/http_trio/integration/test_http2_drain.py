"""Draining over HTTP/2: what was taken is answered, and what was not may be sent again.

RFC 9113 section 6.8: GOAWAY names the last stream that will be served. None below it is
lost, whatever crossed it on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from http_trio import Exchange, HttpServer, Response, Tls, serve
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import Http2Client, get, http2_client


@attrs.define
class Slow:
    """A handler that answers each request a little later, and counts them."""

    after_s: float = 0.01
    begun: int = 0

    def __call__(self, exchange: Exchange) -> None:
        self.begun += 1
        exchange.call_later(
            self.after_s, lambda: exchange.respond(Response(200, b"served"))
        )


@asynccontextmanager
async def draining(handler: Slow, authority: Authority) -> AsyncIterator[HttpServer]:
    """Run a server; at the end of the block it must have ended by its drain."""
    async with trio.open_nursery() as nursery:
        tls = Tls(*authority.issue())
        yield await nursery.start(partial(serve, handler, ["127.0.0.1:0"], tls=tls))
        nursery.cancel_scope.deadline = trio.current_time() + 10
    assert not nursery.cancel_scope.cancelled_caught


async def ask_until_told(client: Http2Client) -> None:
    """Ask as fast as can be until a GOAWAY says that no more is taken."""
    while not client.closed and not (
        client.goaways and client.goaways[-1][0] < 2**31 - 1
    ):
        under_way = sum(not stream.over for stream in client.streams.values())
        try:
            if under_way < 90:
                await client.send(b"".join(client.head(get()) for _ in range(5)))
        except trio.BrokenResourceError:
            break
        await client.idle(0.002)
    while not client.closed:
        await client.idle(1)


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.2])
async def test_no_stream_below_the_last_is_lost(
    authority: Authority, after_s: float
) -> None:
    slow = Slow(after_s)
    with trio.fail_after(20):
        async with draining(slow, authority) as server:
            async with (
                http2_client(server, authority) as one,
                http2_client(server, authority) as other,
            ):
                async with trio.open_nursery() as asking:
                    asking.start_soon(ask_until_told, one)
                    asking.start_soon(ask_until_told, other)
                    await trio.sleep(0.1)
                    server.drain(8)
    taken = 0
    for client in (one, other):
        (first, _), (last, code) = client.goaways[0], client.goaways[-1]
        assert first == 2**31 - 1
        assert code == 0
        below = [s for number, s in client.streams.items() if number <= last]
        taken += sum(stream.status == 200 for stream in below)
        for stream in below:
            assert (stream.status == 200 and stream.ended) or stream.reset == 7
        beyond = [s for number, s in client.streams.items() if number > last]
        assert not any(stream.heads for stream in beyond)
    assert taken == slow.begun


async def test_an_idle_client_is_told_and_closed(authority: Authority) -> None:
    with trio.fail_after(20):
        async with draining(Slow(), authority) as server:
            async with http2_client(server, authority) as client:
                await client.fetch()
                server.drain(8)
                assert await client.wait_closed() == 0
    assert client.goaways == [(2**31 - 1, 0), (1, 0)]


async def test_a_client_that_never_answers_the_ping_is_closed_too(
    authority: Authority,
) -> None:
    with trio.fail_after(20):
        async with draining(Slow(), authority) as server:
            async with http2_client(server, authority) as client:
                await client.fetch()
                server.drain(8)
                await trio.sleep(1.5)  # longer than the notice
                assert await client.wait_closed() == 0


async def test_what_does_not_end_is_cut_at_the_deadline(authority: Authority) -> None:
    with trio.fail_after(20):
        async with draining(Slow(60), authority) as server:
            async with http2_client(server, authority) as client:
                stream = await client.ask()
                await client.idle(0.05)
                server.drain(0.3)
                await client.idle(5)
                assert client.closed
                assert not client.streams[stream].ended
