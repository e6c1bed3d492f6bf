"""A listener at its limits: it waits, and accepts again."""

from __future__ import annotations

import contextlib
import os
import resource

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.testing.peers import RawClient, connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


async def test_above_the_connection_limit_nobody_is_accepted_until_one_ends() -> None:
    async with serving(hello, Limits(connections=2)) as server:
        async with connected(server) as third_to_come:
            async with connected(server) as first, connected(server) as second:
                await third_to_come.ask()
                await first.ask()
                await second.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
                assert server.connections == 2
            assert server.connections <= 2
        async with connected(server) as client:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


async def test_running_out_of_descriptors_costs_no_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(hello) as server, contextlib.AsyncExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        try:
            streams: list[RawClient] = []
            with contextlib.suppress(OSError):
                for _ in range(30):
                    client = await stack.enter_async_context(connected(server))
                    streams.append(client)
            while "accepts nothing" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in streams:
            assert (await client.ask(b"/a"))[1] == b"hello /a"
