"""Bodies that are gathered, refused for their size, or passed over."""

from __future__ import annotations

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.limits import BUFFER
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


LENGTH = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
IN_CHUNKS = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
TRAILS = b"4\r\nbody\r\n0\r\nX-A: b\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "first", "rest"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"", b""),
        (LENGTH % 4, b"", b"body"),
        (LENGTH % 4, b"bo", b"dy"),
        (LENGTH % 4, b"bo", b"dy" + NEXT),
        (IN_CHUNKS, b"2\r\nbo\r", b"\n2\r\ndy\r\n0\r\n\r\n" + NEXT),
        (IN_CHUNKS, TRAILS[:-3], TRAILS[-3:] + NEXT),
    ],
)
async def test_an_awaited_body_is_still_there_to_be_taken(
    head: bytes, first: bytes, rest: bytes
) -> None:
    ready: list[Exchange] = []

    def then(exchange: Exchange) -> None:
        ready.append(exchange)
        exchange.collect(99, lambda ex, body: ex.respond(Response(200, body)))

    async with serving(lambda ex: ex.await_body(then)) as server:
        async with connected(server) as client:
            await client.send(head + first)
            await trio.sleep(0.03)
            assert bool(ready) == (not rest)
            await client.send(rest)
            expected = b"body" if rest else b""
            assert (await client.response())[1] == expected
            if rest.endswith(NEXT):
                assert (await client.response())[1] == b""
    assert len(ready) == 1 + rest.endswith(NEXT)


@pytest.mark.parametrize("head", [LENGTH % 10_000_000, IN_CHUNKS + b"ffffff\r\n"])
async def test_of_a_large_body_the_beginning_is_awaited(head: bytes) -> None:
    ready = trio.Event()
    async with serving(lambda ex: ex.await_body(lambda _: ready.set())) as server:
        async with connected(server) as client:
            await client.send(head + b"x" * (BUFFER - 100))
            await trio.sleep(0.03)
            assert not ready.is_set()
            await client.send(b"x" * 100)
            await ready.wait()


@pytest.mark.parametrize(
    ("rest", "status"), [(b"", b"408"), (b"no size\r\n", b"400"), (None, b"")]
)
async def test_who_awaits_a_body_hears_that_none_comes(
    rest: bytes | None, status: bytes
) -> None:
    gone: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        exchange.await_body(lambda _: None, gone.append)

    async with serving(handler, Limits(body_s=0.2)) as server:
        async with connected(server) as client:
            await client.send(IN_CHUNKS + b"1\r\nx\r\n")
            await trio.sleep(0.03)
            if rest is None:
                await client.stream.send_eof()
            elif rest:
                await client.send(rest)
            assert (await client.to_end())[9:12] == status
    assert len(gone) == 1


async def test_who_expects_100_is_told_to_send_what_is_awaited() -> None:
    def then(exchange: Exchange) -> None:
        exchange.collect(99, lambda ex, body: ex.respond(Response(200, body)))

    async with serving(lambda ex: ex.await_body(then)) as server:
        async with connected(server) as client:
            head = LENGTH % 4
            await client.send(head[:-2] + b"Expect: 100-continue\r\n\r\n")
            assert await client.head() == b"HTTP/1.1 100 Continue"
            await client.send(b"body")
            assert (await client.response())[1] == b"body"
