"""The end of a server: drained, or cancelled."""

from __future__ import annotations

import contextlib
import os
from functools import partial

import trio

from http_trio import Exchange, Response, serve
from http_trio.testing.peers import connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


async def test_draining_answers_the_parked_and_ends() -> None:
    parked = trio.Event()

    def handler(exchange: Exchange) -> None:
        parked.set()
        exchange.park(60, lambda ex: ex.respond(Response(200, b"drained")))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, ["127.0.0.1:0"]))
        async with connected(server) as idle, connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await parked.wait()
            server.drain(5)
            head, body = await client.response()
            assert body == b"drained"
            assert b"Connection: close" in head
            assert await idle.to_end() == b""


async def test_draining_cancels_at_its_deadline() -> None:
    asked = trio.Event()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, lambda _: asked.set(), ["127.0.0.1:0"])
        )
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked.wait()
            server.drain(0.05)
            assert await client.to_end() == b""


async def test_cancelling_closes_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(hello))
        for _ in range(10):
            await (await stack.enter_async_context(connected(server))).ask()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
