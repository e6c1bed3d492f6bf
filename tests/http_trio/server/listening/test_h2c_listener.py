"""A listener without TLS whose clients speak HTTP/2 by prior knowledge, or HTTP/1.1."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio

from http_trio import (
    Exchange,
    HttpServer,
    Limits,
    Response,
    Tls,
    error_response,
    serve,
)
from http_trio.server.listening.h2c_listener import PREFACE
from http_trio.testing.peers import RawClient, connected, serving
from tests.http_trio.support.certificates import Authority, tls_client


def told(exchange: Exchange) -> None:
    """Say by what it came, and what was sent."""
    said = f"{exchange.protocol} {exchange.method} {exchange.secure} ".encode()
    exchange.collect(1000, lambda one, body: one.respond(Response(200, said + body)))


@asynccontextmanager
async def either(
    limits: Limits | None = None, **more: Any
) -> AsyncIterator[HttpServer]:
    """Serve both on one address."""
    async with trio.open_nursery() as nursery:
        start = partial(serve, told, [], h2c_binds=["127.0.0.1:0"], limits=limits)
        server = await nursery.start(partial(start, **more))
        yield server
        nursery.cancel_scope.cancel()


class Http2Peer:
    """A strict client of HTTP/2."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()

    def request(self, stream_id: int = 1) -> bytes:
        """Give what there is to send, with a request at its end."""
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
        fields.append((":authority", "localhost"))
        self.h2.send_headers(stream_id, fields, end_stream=True)
        return self.h2.data_to_send()

    async def body(self, client: RawClient) -> bytes:
        """Read the response."""
        body = b""
        while True:
            data = await client.stream.receive_some()
            assert data, "closed without a response"
            for event in self.h2.receive_data(data):
                assert not isinstance(event, h2.events.ConnectionTerminated), event
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return body


def cut_at(data: bytes, ends: Iterable[int]) -> list[bytes]:
    starts = [0, *ends]
    return [
        data[at:to]
        for at, to in zip(starts, [*starts[1:], len(data)], strict=True)
        if data[at:to]
    ]


async def send_pieces(client: RawClient, pieces: Sequence[bytes]) -> None:
    """Send them so that each is read alone."""
    for piece in pieces:
        await client.send(piece)
        await trio.sleep(0.003)


@pytest.mark.parametrize(
    "ends",
    [(), (1,), (3, 4), (16, 18), (23,), (24,), (25,), (24, 33), range(1, 60)],
    ids=["one packet", "1", "3 4", "16 18", "23", "24", "25", "24 33", "each byte"],
)
async def test_the_preface_may_come_in_any_pieces(ends: Sequence[int]) -> None:
    peer = Http2Peer()
    async with either() as server, connected(server) as client:
        await send_pieces(client, cut_at(peer.request(), ends))
        assert await peer.body(client) == b"HTTP/2 GET False "
        await client.send(peer.request(3))
        assert await peer.body(client) == b"HTTP/2 GET False "


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"PRIME"])
@pytest.mark.parametrize("ends", [(), (1,), (2,), (1, 2, 3, 4, 5)])
async def test_anything_else_is_http1(method: bytes, ends: Sequence[int]) -> None:
    request = method + b" / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
    async with either() as server, connected(server) as client:
        for _ in range(2):
            await send_pieces(client, cut_at(request, ends))
            _, body = await client.response()
            assert body == b"HTTP/1.1 %b False hi" % method


async def test_requests_that_come_at_once_are_all_answered() -> None:
    async with either() as server, connected(server) as client:
        await client.send(b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        for _ in range(3):
            assert (await client.response())[1] == b"HTTP/1.1 GET False "


async def test_an_upgrade_to_h2c_is_passed_over() -> None:
    """RFC 9113 section 3.1: it is no more; RFC 9110 section 7.8: it may be ignored."""
    async with either() as server, connected(server) as client:
        head, body = await client.ask(
            b"/",
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
        )
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b"HTTP/1.1 GET False "


async def test_what_is_almost_a_preface_is_no_http1_either() -> None:
    async with either() as server, connected(server) as client:
        await client.send(PREFACE[:18] + b"XX\r\n\r\n")
        assert (await client.response())[0].startswith(b"HTTP/1.1 505 ")
        assert await client.to_end() == b""


SHORT = Limits(head_s=0.2, idle_s=20)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"P", b"HTTP/1.1 408 "), (PREFACE[:20], b"HTTP/1.1 408 ")],
    ids=["nothing", "a letter", "part of a preface"],
)
async def test_who_never_says_what_it_speaks_is_closed(
    sent: bytes, answer: bytes
) -> None:
    async with either(SHORT) as server, connected(server) as client:
        await client.send(sent)
        said = await client.to_end()
        assert said.startswith(answer)
        assert bool(said) is bool(answer)


async def test_a_slow_preface_has_one_time_for_all_of_it() -> None:
    async with either(SHORT) as server, connected(server) as client:
        for at in range(len(PREFACE) - 1):  # a byte now and then earns nothing
            with contextlib.suppress(trio.BrokenResourceError):
                await client.send(PREFACE[at : at + 1])
            await trio.sleep(0.05)
        assert (await client.to_end()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("data", [b"", PREFACE[:5]])
async def test_a_client_that_leaves_undecided_is_forgotten(data: bytes) -> None:
    async with either() as server:
        async with connected(server) as client:
            await client.send(data)
        with trio.fail_after(30):
            while server.connections:
                await trio.sleep(0.005)


@pytest.mark.parametrize("data", [b"", PREFACE[:5]])
async def test_draining_waits_for_nobody_undecided(data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        start = partial(serve, told, [], h2c_binds=["127.0.0.1:0"])
        server = await nursery.start(start)
        async with connected(server) as client:
            await client.send(data)
            while not server.connections:
                await trio.sleep(0.005)
            server.drain(20)
            assert await client.to_end() == b""


async def test_one_beyond_the_limit_is_told_in_its_protocol() -> None:
    limits, overload = Limits(connections=1), error_response(503, "full")
    async with (
        either(limits, overload=overload) as server,
        connected(server) as first,
        connected(server) as second,
    ):
        await first.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        await second.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await second.response())[0].startswith(b"HTTP/1.1 503 ")


WORDS = (
    b"505 HTTP Version Not Supported: HTTP/2 by prior knowledge is not served at this"
)


async def test_a_plain_listener_refuses_a_preface_with_words() -> None:
    async with serving(told) as server, connected(server) as client:
        await client.send(Http2Peer().request())
        head, body = await client.response()

    assert head.startswith(b"HTTP/1.1 505 ")
    assert body.startswith(WORDS)


async def test_so_does_one_with_tls_where_it_was_not_agreed_on(tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    async with trio.open_nursery() as nursery:
        tls = Tls(*authority.issue())
        server = await nursery.start(partial(serve, told, ["127.0.0.1:0"], tls=tls))
        port = int(server.addresses[0].rpartition(":")[2])
        async with tls_client(port, authority.trusting()) as client:
            await client.send(Http2Peer().request())
            head, body = await client.response()
        nursery.cancel_scope.cancel()

    assert head.startswith(b"HTTP/1.1 505 ")
    assert body.startswith(WORDS)


async def test_plain_secure_and_either_may_be_served_side_by_side(
    tmp_path: Any,
) -> None:
    tls = Tls(*Authority(tmp_path).issue())
    at = "127.0.0.1:0"
    async with trio.open_nursery() as nursery:
        start = partial(serve, told, [at], tls=tls, tls_binds=[at], h2c_binds=[at])
        server = await nursery.start(start)
        plain, h2c, _ = (int(one.rpartition(":")[2]) for one in server.addresses)
        async with await trio.open_tcp_stream("127.0.0.1", h2c) as stream:
            peer = Http2Peer()
            await stream.send_all(peer.request())
            assert await peer.body(RawClient(stream)) == b"HTTP/2 GET False "
        async with await trio.open_tcp_stream("127.0.0.1", plain) as stream:
            await stream.send_all(Http2Peer().request())
            assert (await RawClient(stream).response())[1].startswith(WORDS)
        nursery.cancel_scope.cancel()
