"""One stream's end is one stream's end: whoever ends it, others go on.

And whoever hooks into a request is told of its end once, whatever path it took.
"""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio

from http_trio import Exchange, Limits, Response, respond_all
from http_trio.http2.connection import Http2Connection
from http_trio.http2.stream import Http2Stream
from http_trio.testing.peers import ReceivedRequest
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import (
    GOAWAY,
    Http2Client,
    frame,
    get,
    http2_client,
    serving_http2,
    watched_http2,
)
from tests.http_trio.support.watched import reset_stream

INTERNAL, CANCEL = 2, 8
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def serve_moods(asked: ReceivedRequest) -> None:
    """Do what the path says."""
    send, path = asked.stream.send_all, asked.path
    if path == b"/wait":
        await asked.stream.receive_some()  # until it is released
        raise trio.ClosedResourceError
    if path == b"/cut-length":
        await send(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc")
    elif path == b"/cut-large":
        await send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(300_000)
        )
    elif path == b"/cut-chunks":
        await send(CHUNKED + b"3\r\nabc\r\n")
    elif path == b"/bad-chunks":
        await send(CHUNKED + b"3\r\nabc\r\nxyz\r\n")
    elif path == b"/cut-head":
        await send(b"HTTP/1.1 200 OK\r\nX-Be")
    elif path == b"/no-http":
        await send(b"\0\1\2\r\n\r\n")
    elif path == b"/until-reset":
        await send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await trio.sleep(0.05)
        await reset_stream(asked.stream)
        raise trio.ClosedResourceError
    elif path == b"/until-close":
        await send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    else:
        await asked.response(asked.body or b"good")
        return
    await trio.sleep(0.05)
    await trio.aclose_forcefully(asked.stream)
    raise trio.ClosedResourceError


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/cut-length", 200, INTERNAL),
        ("/cut-large", 200, INTERNAL),
        ("/cut-chunks", 200, INTERNAL),
        ("/bad-chunks", 502, None),
        ("/until-reset", 200, INTERNAL),
        ("/until-close", 200, None),
        ("/cut-head", 502, None),
        ("/no-http", 502, None),
    ],
)
async def test_what_a_server_cuts_ends_its_stream_only(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    path: str,
    status: int,
    code: int | None,
) -> None:
    async with watched_http2(serve_moods, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            beside = await client.ask("/wait")
            stream = await client.fetch(path)
            assert (stream.status, stream.reset) == (status, code)
            assert (await client.fetch("/good")).body == b"good"
            await client.reset(beside)
            await client.idle(0.05)
            assert not client.goaways
    assert len(one.books.ends) == 3


async def _short(client: Http2Client) -> int:
    return await client.ask("/wait")


async def _collected(client: Http2Client) -> int:
    length = ("content-length", "100")
    stream = await client.ask("/wait", length, method="PUT", ends=False)
    await client.data(stream, b"x" * 50)
    return stream


async def _streamed(client: Http2Client) -> int:
    length = ("content-length", "900000")
    stream = await client.ask("/wait", length, method="PUT", ends=False)
    await client.data(stream, b"x" * 50_000)
    return stream


async def _of_no_length(client: Http2Client) -> int:
    stream = await client.ask("/wait", method="POST", ends=False)
    await client.data(stream, b"x" * 50_000)
    return stream


async def _expecting(client: Http2Client) -> int:
    more = ("content-length", "900000"), ("expect", "100-continue")
    return await client.ask("/wait", *more, method="PUT", ends=False)


async def _in_its_response(client: Http2Client) -> int:
    client.reads = False
    stream = await client.ask("/cut-large")
    await client.wait(lambda: client.streams[stream].status)
    return stream


WAYS = [_short, _collected, _streamed, _of_no_length, _expecting, _in_its_response]


@pytest.mark.parametrize("begin", WAYS)
@pytest.mark.parametrize("code", [0, 8])
async def test_a_reset_releases_the_server_and_is_told_once(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    begin: Callable[[Http2Client], Awaitable[int]],
    code: int,
) -> None:
    async with watched_http2(serve_moods, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            stream = await begin(client)
            await client.idle(0.05)
            await client.reset(stream, code)
            with trio.fail_after(30):
                while len(one.books.ends) < 1 or one.upstream.open != len(
                    one.upstream.idle
                ):
                    await client.idle(0.01)
            client.reads = True
            await client.open_window(0, 65_535)
            assert (await client.fetch("/good")).body == b"good"
        await one.wait_settled()
    assert len(one.books.ends) == one.books.begun == 2


@pytest.mark.parametrize("begin", WAYS)
async def test_a_lost_connection_ends_all_its_streams(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    begin: Callable[[Http2Client], Awaitable[int]],
) -> None:
    async with watched_http2(serve_moods, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            for _ in range(5):
                await begin(client)
            await client.idle(0.05)
        await one.wait_settled()
    assert len(one.books.ends) == one.books.begun == 5


async def test_a_handlers_error_ends_its_stream_only(authority: Authority) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.path == b"/raise":
            raise ValueError("as a handler's fault")
        if exchange.path == b"/begin":
            exchange.begin(Response(200))
            exchange.send(b"abc")
            raise ValueError("as a handler's fault")
        if exchange.path == b"/collect":
            exchange.collect(100, lambda ex, body: handle_body(body))
        elif exchange.path == b"/spawn":
            exchange.spawn(fail)
        elif exchange.path == b"/park":
            exchange.park(0.02, lambda ex: handle_body(b""))
        else:
            exchange.respond(Response(200, b"good"))

    def handle_body(body: bytes) -> None:
        raise ValueError(body)

    async def fail(exchange: Exchange) -> None:
        await trio.sleep(0.01)
        raise ValueError(exchange.path)

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority) as client:
            for path in ("/raise", "/collect", "/spawn", "/park"):
                assert (await client.fetch(path)).status == 500
            stream = await client.fetch("/begin")
            assert stream.reset == INTERNAL
            assert (await client.fetch("/")).body == b"good"


@pytest.mark.parametrize("path", ["/park", "/collect", "/spawn", "/begin"])
async def test_who_waits_is_told_once_that_the_client_is_gone(
    authority: Authority, path: str
) -> None:
    told: list[str] = []
    asked = trio.Event()

    async def wait(exchange: Exchange) -> None:
        while not exchange.gone:
            await trio.sleep(0.005)
        told.append("spawn")
        exchange.respond(Response(200, b"nobody hears that"))

    def handle(exchange: Exchange) -> None:
        asked.set()
        if exchange.path == b"/park":
            exchange.park(60, lambda ex: None, lambda ex: told.append("park"))
        elif exchange.path == b"/collect":
            exchange.collect(100, lambda ex, body: told.append("wrong"))
        elif exchange.path == b"/spawn":
            exchange.spawn(wait)
        elif exchange.path == b"/begin":
            exchange.begin(Response(200))
            exchange.park(60, lambda ex: None, lambda ex: told.append("begin"))
        else:
            exchange.respond(Response(200, b"good"))

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority) as client:
            stream = await client.ask(path, method="POST", ends=False)
            await asked.wait()
            await client.reset(stream)
            assert (await client.fetch("/")).body == b"good"
            with trio.fail_after(30):
                while server.exchanges:
                    await client.idle(0.01)
            await client.idle(0.03)
    assert told == ([] if path == "/collect" else [path[1:]])


async def test_a_body_that_comes_too_slowly_is_a_408_of_its_stream(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(body_s=0.3)
    async with watched_http2(serve_moods, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority) as client:
            streams = [await _collected(client), await _streamed(client)]
            await client.wait_over(*streams)
            for stream in streams:
                assert client.streams[stream].status == 408
            await client.wait(
                lambda: all(client.streams[s].reset == 0 for s in streams)
            )
            assert (await client.fetch("/good")).body == b"good"


async def test_a_long_response_keeps_the_servers_connection(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        if asked.path == b"/chunks":
            part = b"10000\r\n" + bytes(65_536) + b"\r\n"
            await asked.stream.send_all(CHUNKED + part * 10 + b"0\r\n\r\n")
        else:
            await asked.response(asked.body or bytes(700_000))

    async with watched_http2(script, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            for path in ["/", "/chunks"] * 5:
                assert len((await client.fetch(path)).body) > 600_000
            length = ("content-length", "200000")
            for _ in range(5):
                stream = await client.ask("/", length, method="PUT", ends=False)
                await client.send_all_of({stream: bytes(200_000)})
                assert len((await client.wait_over(stream)).body) == 200_000
        assert one.fake.connections == 1
    assert set(one.books.ends) == {(200, None)}


async def test_a_clients_goaway_lets_its_streams_go_on(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9113 section 6.8: it says that it begins no more, and reads on."""

    async def script(asked: ReceivedRequest) -> None:
        await trio.sleep(0.1)
        await asked.response(b"later")

    async with watched_http2(script, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            stream = await client.ask()
            await client.send(frame(GOAWAY, 0, 0, struct.pack("!II", 0, 0)))
            assert (await client.wait_over(stream)).body == b"later"


async def test_a_malformed_request_is_its_streams_error_only(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(serve_moods, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            beside = await client.ask("/wait")
            for _ in range(50):
                stream = await client.fetch("/", raw=True, method="bad method")
                assert stream.reset == 1
            assert (await client.fetch("/good")).body == b"good"
            await client.reset(beside)
            await client.idle(0.02)
    assert one.books.begun == 2


async def test_one_response_goes_to_streams_and_connections_alike(
    authority: Authority,
) -> None:
    waiting: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        exchange.park(60, lambda ex: None)
        waiting.append(exchange)
        if len(waiting) == 100:
            respond_all(waiting, Response(200, b"all"))

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority) as one:
            async with http2_client(server, authority) as other:
                mine = [await one.ask() for _ in range(50)]
                others = [await other.ask() for _ in range(50)]
                await one.wait_over(*mine)
                await other.wait_over(*others)
                assert {bytes(s.body) for s in one.streams.values()} == {b"all"}
                assert {bytes(s.body) for s in other.streams.values()} == {b"all"}


async def test_a_handler_that_decides_nothing_is_answered_for(
    authority: Authority,
) -> None:
    """And one that holds its exchange is not, nor one that collects a body."""
    held: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        if exchange.path == b"/hold":
            exchange.hold()
            held.append(exchange)
        elif exchange.path == b"/collect":
            exchange.collect(10, lambda one, body: None)
        elif exchange.path == b"/release":
            respond_all([exchange, *held], Response(200, b"released"))

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority) as client:
            waits = await client.ask("/hold")
            assert (await client.fetch("/")).status == 500
            number = await client.ask("/collect", method="POST", ends=False)
            await client.send_all_of({number: b"body"})
            assert (await client.wait_over(number)).status == 500
            assert (await client.fetch("/release")).status == 200
            assert bytes((await client.wait_over(waits)).body) == b"released"


async def test_too_many_clients_are_told_so(authority: Authority) -> None:
    limits, overload = Limits(connections=1), Response(503, b"full")

    def handle(exchange: Exchange) -> None:
        exchange.park(60, lambda ex: None)

    async with serving_http2(
        handle, authority, limits=limits, overload=overload
    ) as server:
        async with http2_client(server, authority) as first:
            await first.ask()
            await first.idle(0.05)
            async with http2_client(server, authority) as second:
                stream = await second.fetch()
                assert (stream.status, bytes(stream.body)) == (503, b"full")
                assert await second.wait_closed() == 0
    assert server.refused[503] == 1


async def test_what_is_closed_is_freed_without_a_collection(
    authority: Authority,
) -> None:
    """A cycle would hold some 20 KiB of each connection until the collector runs."""
    seen: list[weakref.ref[object]] = []

    def handle(exchange: Exchange) -> None:
        stream = exchange.connection
        assert isinstance(stream, Http2Stream)
        connection = stream._owner
        assert isinstance(connection, Http2Connection)
        seen.extend([weakref.ref(connection.session)])
        if exchange.path == b"/wait":
            exchange.park(60, lambda ex: None)
        else:
            exchange.respond(Response(200, b"x"))

    async with serving_http2(handle, authority) as server:
        gc.collect()
        gc.disable()
        try:
            async with http2_client(server, authority) as client:
                await client.send(client.head(get("/wait")) + client.head(get("/")))
                await client.wait_over(3)
                assert all(one() is not None for one in seen)
            with trio.fail_after(30):
                while server.connections:
                    await trio.sleep(0.01)
            await trio.sleep(0.02)
            left = [one() for one in seen if one() is not None]
            assert not left, gc.get_referrers(left[0])
        finally:
            gc.enable()
