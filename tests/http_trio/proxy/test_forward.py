"""Which path carries a forwarded request, and how the fast path goes on where it must."""

from __future__ import annotations

import pytest
import trio

from http_trio import (
    Exchange,
    ForwardHooks,
    Response,
    forward,
    upstream_request_of,
)
from http_trio.limits import BUFFER
from http_trio.testing.peers import (
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
    serving,
)
from tests.http_trio.proxy.test_hooks import nobody, ok, silent

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n"
UPGRADING = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "fast"),
    [
        (GET + b"\r\n", True),
        (GET + b"Content-Length: 2\r\n\r\nhi", True),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", True),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", False),
        (GET + b"Content-Length: %d\r\n\r\nhi" % (BUFFER * 4), False),
        (GET + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi", False),
        (UPGRADING, False),
    ],
    ids=[
        "none",
        "short",
        "chunks that are here",
        "chunks",
        "long",
        "expect",
        "upgrade",
    ],
)
async def test_what_fits_a_buffer_goes_the_fast_path(
    request_bytes: bytes, fast: bool
) -> None:
    took: list[bool] = []

    async with fake_upstream(silent) as fake:
        upstream = fake.upstream

        def handle(exchange: Exchange) -> None:
            forward(exchange, upstream, ForwardHooks())
            request = upstream_request_of(exchange)
            assert request is not None
            took.append(request.carrier is None)

        async with serving(handle) as server, connected(server) as client:
            await client.send(request_bytes)
            while not took:
                await trio.sleep(0.01)

    assert took == [fast]


async def test_after_a_long_response_its_connection_is_used_again() -> None:
    async def long(asked: ReceivedRequest) -> None:
        await asked.response(b"x" * (BUFFER * 8))

    async with fake_upstream(long) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(2):
                _, body = await client.ask(b"/x")
                assert len(body) == BUFFER * 8

    assert fake.connections == 1  # it came back from the task that had it


async def test_an_exchange_that_is_over_is_not_forwarded() -> None:
    hooks = RecordingHooks()

    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, b"here"))
        forward(exchange, nobody(), hooks)
        assert upstream_request_of(exchange) is None

    async with serving(handle) as server, connected(server) as client:
        assert (await client.ask())[1] == b"here"

    assert not hooks.ends


async def test_the_hooks_are_told_of_one_end() -> None:
    hooks = RecordingHooks()
    async with fake_upstream(ok) as fake:
        async with proxying(fake.upstream, hooks) as proxy:
            async with connected(proxy) as client:
                assert (await client.ask(b"/x"))[1] == b"ok /x"

    assert hooks.ends == [(200, None)]
