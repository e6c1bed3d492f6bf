"""Exchanges that are not decided at once: by a task, parked, many with one response."""

from __future__ import annotations

import contextlib

import trio

from http_trio import Exchange, Response
from http_trio.testing.peers import connected, serving


async def test_a_handler_may_await_in_a_task() -> None:
    async def slowly(exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()
        exchange.respond(Response(200, b"from a task"))

    async with serving(lambda ex: ex.spawn(slowly)) as server:
        async with connected(server) as client:
            assert (await client.ask())[1] == b"from a task"


async def test_the_parked_are_answered_when_their_time_comes() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.park(0.02, lambda ex: ex.respond(Response(200, b"due")))

    async with serving(handler) as server, connected(server) as client:
        assert (await client.ask())[1] == b"due"


async def test_a_parked_exchange_hears_at_once_that_its_client_is_gone() -> None:
    parked: list[Exchange] = []
    gone = trio.Event()

    def handler(exchange: Exchange) -> None:
        exchange.park(60, lambda _: None, lambda _: gone.set())
        parked.append(exchange)

    async with serving(handler) as server:
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            while not parked:
                await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(30):
            await gone.wait()
        assert parked[0].gone
        parked[0].respond(Response(200))
        assert server.connections == 0


async def test_one_rendered_response_goes_to_a_herd() -> None:
    parked: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/go":
            response = Response(200, b"now")
            for waiting in parked:
                waiting.respond(response)
            exchange.respond(Response(200, b"%d" % len(parked)))
        else:
            parked.append(exchange)
            exchange.park(60, lambda _: None)

    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(handler))
        herd = [await stack.enter_async_context(connected(server)) for _ in range(50)]
        for client in herd:
            await client.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        async with connected(server) as other:
            while len(parked) < len(herd):
                await trio.testing.wait_all_tasks_blocked()
            await other.ask(b"/go")
        for client in herd:
            assert (await client.response())[1] == b"now"
