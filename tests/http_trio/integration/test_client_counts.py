"""What a server counts of its clients: who is there, and how streams ended."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from http_trio import (
    Exchange,
    HttpServer,
    Limits,
    Response,
    Tls,
    error_response,
    forward,
    serve,
)
from http_trio.proxy.hooks import ForwardHooks
from http_trio.testing.peers import FakeUpstream, ReceivedRequest, fake_upstream
from tests.http_trio.support.certificates import Authority, tls_client
from tests.http_trio.support.http2_peer import (
    PING,
    frame,
    get,
    http2_client,
    port_of,
    serving_http2,
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def handle(exchange: Exchange) -> None:
    match exchange.path:
        case b"/park":
            exchange.park(60, lambda one: one.respond(Response(200, b"late")))
        case b"/crash":
            exchange.begin(Response(200, b""))
            exchange.send(b"some")
            raise RuntimeError("on purpose")
        case _:
            exchange.respond(Response(200, b"served"))


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


def is_open(server: HttpServer) -> dict[str, int]:
    return {protocol: n for protocol, n in server.counts.open.items() if n}


async def test_connections_are_counted_by_what_they_speak(authority: Authority) -> None:
    tls = Tls(*authority.issue())
    at = ["127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        start = partial(serve, handle, at, tls=tls, tls_binds=at, h2c_binds=at)
        server = await nursery.start(start)
        plain, h2c, secure = (int(one.rpartition(":")[2]) for one in server.addresses)
        async with AsyncExitStack() as stack:
            for port in (plain, h2c, secure):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stack.enter_async_context(stream)
            await until(lambda: server.connections == 3)
            assert is_open(server) == {"HTTP/1.1": 1, "": 2}

            for protocol in ("h2", "http/1.1", "h2"):
                context = authority.trusting(protocol)
                await stack.enter_async_context(tls_client(secure, context))
            stream = await trio.open_tcp_stream("127.0.0.1", h2c)
            await stack.enter_async_context(stream)
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await until(lambda: is_open(server) == {"HTTP/1.1": 3, "HTTP/2": 2, "": 2})

        await until(lambda: not is_open(server))
        assert server.counts.connections == {"HTTP/1.1": 3, "HTTP/2": 2}
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_fails_is_no_connection(authority: Authority) -> None:
    async with serving_http2(handle, authority) as server:
        with pytest.raises((ssl.SSLError, trio.BrokenResourceError)):
            async with tls_client(port_of(server), ssl.create_default_context()):
                pass  # it does not trust us
        await until(lambda: not is_open(server))
        assert not server.counts.connections


async def test_streams_and_who_reset_them(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving_http2(handle, authority) as server,
        http2_client(server, authority) as client,
    ):
        counts = server.counts
        await client.fetch()
        parked = await client.ask("/park")
        await until(lambda: counts.open_streams == 1)
        assert counts.streams == 2
        await client.reset(parked, code=8)
        crashed = await client.ask("/crash")
        assert (await client.wait_over(crashed)).reset == 2
        bad = [*get("/"), ("connection", "close")]
        await client.send(client.head(bad))
        await client.wait_over(client.last)
        await until(lambda: not counts.open_streams)

        assert counts.resets == {
            ("client", "CANCEL"): 1,
            ("proxy", "INTERNAL_ERROR"): 1,
            ("proxy", "PROTOCOL_ERROR"): 1,
        }
        assert not counts.goaways


async def cut(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    )
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.05)
    await asked.stream.aclose()


async def test_a_server_that_cuts_its_response_is_blamed(authority: Authority) -> None:
    async with fake_upstream(cut) as upstream:
        async with serving_http2(passing(upstream), authority) as server:
            async with http2_client(server, authority) as client:
                assert (await client.fetch()).reset == 2
        assert server.counts.resets == {("upstream", "INTERNAL_ERROR"): 1}


def passing(upstream: FakeUpstream) -> Callable[[Exchange], None]:
    to = upstream.upstream
    return lambda exchange: forward(exchange, to, ForwardHooks())


async def test_goaways_say_why(authority: Authority) -> None:
    limits = Limits(idle_s=0.2, linger_s=0.05)
    async with serving_http2(handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as idle:
            await idle.fetch()
            assert await idle.wait_closed() == 0
        async with http2_client(server, authority) as faulty:
            await faulty.send(frame(PING, 0, 0, bytes(7)))
            assert await faulty.wait_closed() == 6
        assert server.counts.goaways == {
            ("idle", "NO_ERROR"): 1,
            ("fault", "FRAME_SIZE_ERROR"): 1,
        }
        assert server.connection_errors == {"FRAME_SIZE_ERROR": 1}


async def test_draining_and_being_full_are_reasons(authority: Authority) -> None:
    more: Any = {"limits": Limits(connections=1), "overload": error_response(503, "")}
    tls = Tls(*authority.issue())
    async with trio.open_nursery() as nursery:
        start = partial(serve, handle, ["127.0.0.1:0"], tls=tls, **more)
        server = await nursery.start(start)
        async with http2_client(server, authority) as first:
            parked = await first.ask("/park")
            await until(lambda: server.counts.open_streams)
            async with http2_client(server, authority) as late:
                assert (await late.fetch()).status == 503
                await late.wait_closed()
            server.drain(10)
            await first.wait_over(parked)
            await first.wait_closed()
        assert server.counts.goaways == {
            ("full", "NO_ERROR"): 1,
            ("draining", "NO_ERROR"): 1,
        }
