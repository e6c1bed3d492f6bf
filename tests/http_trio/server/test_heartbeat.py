"""Only an event loop that serves gives a sign of life."""

from __future__ import annotations

import itertools
import time

import trio

from http_trio import Exchange, Response
from http_trio.testing.peers import connected, serving


async def test_a_loop_that_stalls_gives_none() -> None:
    beats: list[float] = []

    def handler(exchange: Exchange) -> None:
        time.sleep(0.3)  # noqa: ASYNC251  # the fault that is to be noticed
        exchange.respond(Response(200, b"%d" % len(beats)))

    async with serving(handler) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.beat, lambda: beats.append(time.monotonic()), 0.02)
        while len(beats) < 3:
            await trio.sleep(0.01)
        async with connected(server) as client:
            await client.ask()
        after = len(beats)
        while len(beats) < after + 2:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    gaps = [late - early for early, late in itertools.pairwise(beats)]
    assert max(gaps) > 0.25


async def test_it_ends_with_the_loop() -> None:
    async with trio.open_nursery() as nursery:
        async with serving(lambda ex: ex.respond(Response(200))) as server:
            nursery.start_soon(server.beat, lambda: None, 0.001)
            await trio.sleep(0.01)
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
