"""Requests over one connection: how they come, in which order they are answered, who is late."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.testing.peers import connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


def echo(exchange: Exchange) -> None:
    exchange.collect(1000, lambda ex, body: ex.respond(Response(200, body)))


async def test_requests_over_one_connection() -> None:
    async with serving(hello) as server, connected(server) as client:
        for path in (b"/a", b"/b?c"):
            head, body = await client.ask(path)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert body == b"hello " + path


async def test_pipelined_requests_are_answered_in_order() -> None:
    later: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/slow":
            exchange.hold()
            later.append(exchange)
        else:
            for waiting in later:
                waiting.respond(Response(200, b"slow"))
            hello(exchange)

    async with serving(handler) as server:
        async with connected(server) as client, connected(server) as other:
            await client.send(
                b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
            )
            while not later:
                await other.ask(b"/poke")
            await other.ask(b"/poke")

            assert (await client.response())[1] == b"slow"
            assert (await client.response())[1] == b"hello /1"


async def test_any_split_of_the_bytes_is_the_same_request() -> None:
    raw = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(echo) as server, connected(server) as client:
        client.stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in (1, 2, 7, 31):
            for at in range(0, len(raw), size):
                await client.send(raw[at : at + size])
                await trio.testing.wait_all_tasks_blocked()
            assert (await client.response())[1] == b"abc"


async def test_head_has_the_length_and_no_body() -> None:
    async with serving(hello) as server, connected(server) as client:
        head, _ = await client.ask(b"/a", method=b"HEAD")
        assert b"Content-Length: 8" in head
        assert (await client.ask(b"/b"))[1] == b"hello /b"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_refused_is_answered_once_and_closed(
    raw: bytes, status: int
) -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(raw)
        response = await client.to_end()

    assert response.count(b"HTTP/1.1 ") == 1
    assert int(response[9:12]) == status
    assert server.refused == {status: 1}


async def test_http10_closes_unless_asked_to_keep() -> None:
    async with serving(hello) as server:
        async with connected(server) as client:
            await client.send(b"GET /a HTTP/1.0\r\n\r\n")
            assert b"Connection: close" in await client.to_end()
        async with connected(server) as client:
            for _ in range(2):
                await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                head, body = await client.response()
                assert b"Connection: keep-alive" in head
                assert body == b"hello /a"


async def test_a_half_closed_client_gets_all_its_responses() -> None:
    async with serving(hello) as server, connected(server) as client:
        await client.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        await client.stream.send_eof()

        assert (await client.to_end()).count(b"hello /a") == 3


async def test_an_error_in_a_handler_ends_that_exchange_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/bad":
            raise ValueError("a bug")
        hello(exchange)

    async with serving(handler) as server, connected(server) as client:
        head, _ = await client.ask(b"/bad")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert (await client.ask(b"/good"))[1] == b"hello /good"
    assert "a bug" in caplog.text


async def test_a_client_that_reads_slowly_gets_all_of_a_large_response() -> None:
    body = os.urandom(3_000_000)
    async with serving(lambda ex: ex.respond(Response(200, body))) as server:
        async with connected(server) as client:
            for _ in range(2):
                assert (await client.ask())[1] == body


@pytest.mark.parametrize(
    ("limits", "raw", "status"),
    [
        (Limits(head_s=0.1), b"GET / HTT", 408),
        (
            Limits(body_s=0.1),
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na",
            408,
        ),
        (Limits(head_s=0.1), b"", 0),
        (Limits(idle_s=0.1), b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ],
    ids=["head", "body", "nothing", "idle"],
)
async def test_a_slow_client_is_let_go(limits: Limits, raw: bytes, status: int) -> None:
    def handler(exchange: Exchange) -> None:
        (hello if exchange.path == b"/a" else echo)(exchange)

    async with serving(handler, limits) as server, connected(server) as client:
        if raw:
            await client.send(raw)
        response = await client.to_end()

    assert response[9:12] == (b"%d" % status if status else b"")


@pytest.mark.parametrize("piece", [b"\r\n", b"\r\n\r\n", b"\r", b"G"], ids=repr)
async def test_no_byte_lengthens_the_time_of_a_head(piece: bytes) -> None:
    limits = Limits(head_s=0.2, idle_s=0.2, linger_s=0.05)
    async with serving(hello, limits) as server, connected(server) as client:
        with trio.move_on_after(5) as waiting:
            while True:
                try:
                    await client.send(piece)
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.05)
    assert not waiting.cancelled_caught
