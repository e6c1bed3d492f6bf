"""Both ends of HTTP/2 as a load plays them: bodies, trailers, and requests nobody looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from http_trio import HttpServer, Response, serve
from http_trio.http2.session import REFUSED_STREAM
from http_trio.testing.http2_peer import (
    Http2Peer,
    PeerStream,
    ServeStream,
    StreamLost,
    http2_connection,
    serve_http2,
)

GET = [
    *((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")),
    (b":authority", b"h"),
]
LARGE = 300_000


@asynccontextmanager
async def talking(serve_stream: ServeStream) -> AsyncIterator[Http2Peer]:
    """Let a server of ours and a client of ours talk, for ten seconds at most."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            served = partial(serve_http2, serve=serve_stream)
            start = partial(trio.serve_tcp, served, 0, host="127.0.0.1")
            (listener,) = await nursery.start(start)
            port = listener.socket.getsockname()[1]
            async with http2_connection("127.0.0.1", port) as peer:
                yield peer
            nursery.cancel_scope.cancel()


async def echo(stream: PeerStream) -> None:
    await stream.send_head([(b":status", b"200")])
    while piece := await stream.receive():
        await stream.send(piece)
    await stream.send_trailers([(b"x-end", b"yes")])


async def test_a_large_body_goes_both_ways_and_ends_with_trailers() -> None:
    async with talking(echo) as peer:
        stream = await peer.request(GET, ended=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stream.send, bytes(LARGE), ended=True))
            head = await stream.wait_head()
            body = await stream.receive_all()

        assert (head[b":status"], len(body)) == (b"200", LARGE)
        assert stream.trailers == {b"x-end": b"yes"}


async def test_who_does_not_read_holds_the_other_side_back() -> None:
    sent = trio.Event()

    async def large(stream: PeerStream) -> None:
        await stream.send_head([(b":status", b"200")])
        await stream.send(bytes(LARGE), ended=True)
        sent.set()

    async with talking(large) as peer:
        stream = await peer.request(GET)
        await stream.wait_head()
        await trio.sleep(0.05)
        assert not sent.is_set()

        assert len(await stream.receive_all()) == LARGE
        await sent.wait()


async def test_a_refused_stream_was_never_looked_at() -> None:
    async def refuse(stream: PeerStream) -> None:
        await stream.reset(REFUSED_STREAM)

    async with talking(refuse) as peer:
        stream = await peer.request(GET)
        with pytest.raises(StreamLost, match="REFUSED_STREAM") as caught:
            await stream.wait_head()

    assert caught.value.unprocessed


async def test_a_stream_that_is_reset_was_looked_at() -> None:
    async def reset(stream: PeerStream) -> None:
        await stream.reset()

    async with talking(reset) as peer:
        stream = await peer.request(GET)
        with pytest.raises(StreamLost, match="CANCEL") as caught:
            await stream.wait_head()

    assert not caught.value.unprocessed


async def test_a_connection_that_breaks_ends_its_streams() -> None:
    async def leave(stream: PeerStream) -> None:
        await stream._peer._stream.aclose()

    async with talking(leave) as peer:
        stream = await peer.request(GET)
        with pytest.raises(StreamLost) as caught:
            await stream.wait_head()
        await peer.wait_closed()

        assert not caught.value.unprocessed
        with pytest.raises(StreamLost) as caught:
            await peer.request(GET)
        assert caught.value.unprocessed


async def test_a_server_of_the_engine_that_drains_lets_end_what_it_has() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            asked = trio.Event()

            def handler(exchange) -> None:
                asked.set()
                exchange.park(0.2, lambda one: one.respond(Response(200, b"late")))

            start = partial(serve, handler, [], h2c_binds=["127.0.0.1:0"])
            server: HttpServer = await nursery.start(start)
            host, _, port = server.addresses[0].removeprefix("h2c://").rpartition(":")
            async with http2_connection(host, int(port)) as peer:
                stream = await peer.request(GET)
                await asked.wait()
                server.drain(5)
                assert await stream.receive_all() == b"late"
                await peer.wait_closed()
                with pytest.raises(StreamLost) as caught:
                    await peer.request(GET)
            nursery.cancel_scope.cancel()

    assert caught.value.unprocessed
