"""Bodies that are gathered, refused for their size, or passed over."""

from __future__ import annotations

import pytest

from http_trio import Exchange, Response
from http_trio.testing.peers import connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


def echo(exchange: Exchange) -> None:
    exchange.collect(1000, lambda ex, body: ex.respond(Response(200, body)))


async def test_a_chunked_body_is_collected_and_the_next_request_follows() -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
        )
        assert (await client.response())[1] == b"abcde"
        assert (await client.response())[1] == b"x"


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert await client.head() == b"HTTP/1.1 100 Continue"
        await client.send(b"abc")
        assert (await client.response())[1] == b"abc"


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"]
)
async def test_a_body_beyond_its_limit_is_413(framing: bytes) -> None:
    body = b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n"
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n" + body
        )
        response = await client.to_end()

    assert response.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in response


async def test_a_body_that_nobody_wanted_is_passed_over() -> None:
    async with serving(hello) as server, connected(server) as client:
        head, _ = await client.ask(
            b"/a", method=b"POST", body=b"GET /evil HTTP/1.1\r\n"
        )
        assert b"Connection" not in head
        assert (await client.ask(b"/b"))[1] == b"hello /b"
