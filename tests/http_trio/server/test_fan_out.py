"""One response to many, over real sockets, with and without threads that help."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from http_trio import Exchange, HttpServer, Response, Tls, respond_all, serve
from http_trio.server import fan_out
from http_trio.testing.peers import RawClient, connected, serving
from tests.http_trio.support.certificates import Authority, tls_client

GET = b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"
OTHERS = [
    b"HEAD /wait HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /wait HTTP/1.0\r\nHost: h\r\n\r\n",
    b"GET /wait HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
]


class Herd:
    """A handler that lets everybody wait until it is told what to answer."""

    def __init__(self) -> None:
        self.waiting: list[Exchange] = []
        self.server: HttpServer | None = None

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path == b"/wait":
            self.waiting.append(exchange)
            exchange.park(60, lambda _: None)
        else:
            exchange.respond(Response(200, exchange.path))

    async def gather(self, count: int) -> None:
        with trio.fail_after(20):
            while len(self.waiting) < count:
                await trio.sleep(0.001)

    def response(self, response: Response) -> None:
        waiting, self.waiting = self.waiting, []
        respond_all(waiting, response)


@pytest.fixture(params=[0, 1, 3], ids="{} helpers".format)
def herd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Herd:
    monkeypatch.setattr(fan_out, "_count_helpers", lambda: request.param)
    return Herd()


@asynccontextmanager
async def clients(server: HttpServer, count: int) -> AsyncIterator[list[RawClient]]:
    async with contextlib.AsyncExitStack() as stack:
        entered = [connected(server) for _ in range(count)]
        yield [await stack.enter_async_context(one) for one in entered]


async def test_a_herd_is_answered_again_and_again(herd: Herd) -> None:
    async with serving(herd) as server, clients(server, 100) as all_of_them:
        for turn in range(5):
            for client in all_of_them:
                await client.send(GET)
            await herd.gather(100)
            herd.response(Response(200, b"turn %d" % turn))
            for client in all_of_them:
                assert (await client.response())[1] == b"turn %d" % turn
        assert server.connections == 100


async def test_those_that_want_another_form_get_it(herd: Herd) -> None:
    async with (
        serving(herd) as server,
        clients(server, 40) as plain,
        clients(server, len(OTHERS)) as others,
    ):
        for client in plain:
            await client.send(GET)
        for client, request in zip(others, OTHERS, strict=True):
            await client.send(request)
        await herd.gather(44)
        herd.response(Response(200, b"now"))

        for client in plain:
            assert (await client.response())[1] == b"now"
        head, old, last, posted = others
        assert (await head.response(bodiless=True))[1] == b""
        assert (await head.ask(b"/next"))[1] == b"/next"
        for one in (old, last):
            assert (await one.to_end()).endswith(b"close\r\n\r\nnow")
        assert (await posted.response())[1] == b"now"
        assert (await posted.ask(b"/next"))[1] == b"/next"


async def test_what_was_sent_ahead_follows(herd: Herd) -> None:
    async with serving(herd) as server, clients(server, 40) as ahead:
        for client in ahead:
            await client.send(GET + b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        await herd.gather(40)
        herd.response(Response(200, b"now"))
        for client in ahead:
            assert (await client.response())[1] == b"now"
            assert (await client.response())[1] == b"/next"


async def test_one_that_is_gone_or_slow_hinders_nobody(herd: Herd) -> None:
    body = os.urandom(8_000_000)
    async with serving(herd) as server, clients(server, 30) as quick:
        for client in quick:
            await client.send(GET)
        async with clients(server, 5) as gone, clients(server, 1) as slow:
            for client in [*gone, *slow]:
                await client.send(GET)
            await herd.gather(36)
            waiting = list(herd.waiting)
            for client in gone:
                reset = struct.pack("ii", 1, 0)
                client.stream.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, reset
                )
                client.stream.socket.close()
            herd.response(Response(200, body))  # before the event loop sees who is gone
            for client in quick:
                assert (await client.response())[1] == body
            assert (await slow[0].response())[1] == body
            assert (await slow[0].ask(b"/next"))[1] == b"/next"
        assert all(exchange.gone for exchange in waiting)
        respond_all(waiting, Response(200))  # they are over: nothing happens
        for client in quick:
            assert (await client.ask(b"/next"))[1] == b"/next"


async def test_a_server_that_drains_says_so(herd: Herd) -> None:
    async with serving(herd) as server, clients(server, 40) as parked:
        for client in parked:
            await client.send(GET)
        await herd.gather(40)
        server.loop.drain()
        herd.response(Response(200, b"now"))
        for client in parked:
            assert b"Connection: close" in (await client.response())[0]


async def test_a_herd_over_tls(herd: Herd, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
        tls = Tls(*authority.issue())
        server = await nursery.start(partial(serve, herd, ["127.0.0.1:0"], tls=tls))
        port = int(server.addresses[0].rpartition(":")[2])
        trusting = authority.trusting()
        entered = [tls_client(port, trusting) for _ in range(20)]
        secure = [await stack.enter_async_context(one) for one in entered]
        for turn in range(2):
            for client in secure:
                await client.send(GET)
            await herd.gather(20)
            herd.response(Response(200, b"turn %d" % turn))
            for client in secure:
                assert (await client.response())[1] == b"turn %d" % turn
        nursery.cancel_scope.cancel()


async def test_an_error_in_a_thread_is_not_lost(
    herd: Herd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("a bug")

    async with serving(herd) as server, clients(server, 40) as parked:
        for client in parked:
            await client.send(GET)
        await herd.gather(40)
        monkeypatch.setattr(fan_out, "_send", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            herd.response(Response(200, b"now"))


async def test_those_who_do_not_read_share_the_bytes_that_wait(herd: Herd) -> None:
    body = b"x" * 8 * 1024 * 1024  # more than the kernel takes
    async with serving(herd) as server, contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(server)) for _ in range(20)
        ]
        for client in clients:
            await client.stream.send_all(GET)
        await herd.gather(len(clients))
        connections = [exchange.connection for exchange in herd.waiting]
        herd.response(Response(200, body))
        waiting: list[memoryview] = [
            one._outbox  # type: ignore[union-attr]
            for one in connections
        ]
        assert all(len(one) > 0 for one in waiting)
        assert len({id(one.obj) for one in waiting}) == 1
        for client in clients[:2]:  # and who reads later gets all of it
            assert (await client.response())[1] == body
