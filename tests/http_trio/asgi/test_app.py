"""as_asgi in a real ASGI server, as a user would mount it: hypercorn on trio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import httpx
import pytest
import trio
from h2.exceptions import InvalidBodyLengthError
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    RejectConnection,
    Request,
    TextMessage,
)

from http_trio import (
    AsgiApp,
    Exchange,
    ForwardHooks,
    Response,
    Upstream,
    as_asgi,
    forward,
)
from http_trio.testing.peers import RawClient, ReceivedRequest, fake_upstream
from tests.http_trio.support.certificates import (
    Authority,
    hypercorn_serving,
    tls_client,
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def asking(port: int, authority: Authority, *, http2: bool) -> AsyncIterator[Any]:
    """An HTTP client of either version."""
    async with httpx.AsyncClient(
        http1=not http2,
        http2=http2,
        verify=authority.trusting(),
        base_url=f"https://localhost:{port}",
        trust_env=False,
    ) as client:
        with trio.fail_after(30):
            yield client


both_versions = pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])


@both_versions
async def test_a_handler_answers(authority: Authority, http2: bool) -> None:
    seen: list[tuple[str, bytes, str]] = []

    def handle(exchange: Exchange) -> None:
        seen.append((exchange.method, exchange.target, exchange.client))
        headers = ((b"X-Mixed-Case", b"kept"),)
        exchange.respond(Response(201, b"made", headers=headers))

    async with hypercorn_serving(as_asgi(handle), authority) as port:
        async with asking(port, authority, http2=http2) as client:
            for _ in range(2):
                await client.delete("/a%20b?c=%2F")
            response = await client.delete("/a%20b?c=%2F")
    assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert (response.status_code, response.text) == (201, "made")
    assert response.headers["x-mixed-case"] == "kept"
    assert response.headers["content-length"] == "4"
    assert seen == [("DELETE", b"/a%20b?c=%2F", "127.0.0.1")] * 3


@both_versions
async def test_a_request_is_forwarded_as_its_client_sent_it(
    authority: Authority, http2: bool
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.response(asked.body[::-1], b"X-Up: yes")

    async with fake_upstream(script) as fake:
        app = as_asgi(lambda ex: forward(ex, fake.upstream, ForwardHooks()))
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=http2) as client:
                response = await client.post(
                    "/p", content=b"body", headers={"X-Forwarded-For": "6.6.6.6"}
                )
    assert (response.text, response.headers["x-up"]) == ("ydob", "yes")
    head = fake.asked[0].head
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head
    assert b"6.6.6.6" not in head
    assert b"proto=https" in head


@both_versions
async def test_bodies_stream_both_ways_without_a_length(
    authority: Authority, http2: bool
) -> None:
    size = 3 * 1024 * 1024

    async def script(stream: trio.SocketStream) -> None:
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(48):
            await stream.send_all(b"10000\r\n" + bytes(65536) + b"\r\n")
        await stream.send_all(b"0\r\n\r\n")

    async def body() -> AsyncIterator[bytes]:
        for _ in range(48):
            yield bytes(65536)

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=http2) as client:
                response = await client.post("/", content=body())
    assert len(response.content) == size


@both_versions
async def test_what_is_sent_arrives_before_the_end(
    authority: Authority, http2: bool
) -> None:
    seen = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"5\r\nfirst\r\n")
        await seen.wait()
        await stream.send_all(b"4\r\nlast\r\n0\r\n\r\n")

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=http2) as client:
                async with client.stream("GET", "/") as response:
                    parts = []
                    async for part in response.aiter_raw():
                        parts.append(part)
                        seen.set()
    assert parts == [b"first", b"last"]


@both_versions
async def test_a_client_that_leaves_releases_the_upstream(
    authority: Authority, http2: bool
) -> None:
    asked, released = trio.Event(), trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        assert await stream.receive_some() == b""
        released.set()

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=http2) as client:
                async with trio.open_nursery() as nursery:

                    async def ask() -> None:
                        with contextlib.suppress(httpx.HTTPError):
                            await client.get("/")

                    nursery.start_soon(ask)
                    await asked.wait()
                    nursery.cancel_scope.cancel()
            with trio.fail_after(30):
                await released.wait()


async def test_a_client_that_leaves_ends_a_large_upload(authority: Authority) -> None:
    begun, released = trio.Event(), trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        begun.set()
        while await stream.receive_some():
            pass
        released.set()

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with tls_client(port, authority.trusting()) as client:
                await client.send(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx"
                )
                await begun.wait()
            with trio.fail_after(30):
                await released.wait()


async def test_a_cut_response_is_cut_for_an_http1_client(authority: Authority) -> None:
    async with raw_upstream(cut_chunked) as app:
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=False) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/")


@both_versions
async def test_a_response_shorter_than_its_length_is_seen(
    authority: Authority, http2: bool
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with asking(port, authority, http2=http2) as client:
                with pytest.raises((httpx.RemoteProtocolError, InvalidBodyLengthError)):
                    await client.get("/")


async def test_trailers_pass_where_the_server_has_them(authority: Authority) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\nX-Sum: 42\r\nHost: evil\r\n\r\n"
        )

    got: list[Any] = []
    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with tls_client(port, authority.trusting("h2")) as client:
                h2c = h2.connection.H2Connection()
                h2c.initiate_connection()
                h2c.send_headers(
                    1,
                    [
                        (":method", "GET"),
                        (":path", "/"),
                        (":scheme", "https"),
                        (":authority", "a"),
                        ("te", "trailers"),
                    ],
                    end_stream=True,
                )
                await client.send(h2c.data_to_send())
                while not any(isinstance(e, h2.events.StreamEnded) for e in got):
                    got += h2c.receive_data(await client.stream.receive_some())
    trailers = [e.headers for e in got if isinstance(e, h2.events.TrailersReceived)]
    assert trailers == [[(b"x-sum", b"42")]]


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: +1",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    ],
)
async def test_a_body_of_two_minds_is_refused(
    authority: Authority, lines: bytes
) -> None:
    asked: list[Exchange] = []
    async with hypercorn_serving(as_asgi(asked.append), authority) as port:
        async with tls_client(port, authority.trusting()) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n")
            assert b"400" in (await client.head()).splitlines()[0]
    assert not asked


# === WebSockets ===


async def echo_websocket(stream: trio.SocketStream) -> None:
    """An upstream's end of a WebSocket: it says back what it hears."""
    ws = WSConnection(ConnectionType.SERVER)
    while True:
        ws.receive_data(await stream.receive_some() or None)
        for event in ws.events():
            match event:
                case Request():
                    chosen = event.subprotocols[0] if event.subprotocols else None
                    await stream.send_all(ws.send(AcceptConnection(subprotocol=chosen)))
                case TextMessage():
                    await stream.send_all(ws.send(TextMessage(event.data.upper())))
                case CloseConnection():
                    if event.code != 1006:  # it did say goodbye
                        await stream.send_all(ws.send(event.response()))
                    return


async def converse(client: RawClient) -> tuple[list[Event], str | None]:
    """Open a WebSocket, say one thing, close; give what came."""
    ws = WSConnection(ConnectionType.CLIENT)
    await client.send(ws.send(Request("localhost", "/", subprotocols=["chat"])))
    events: list[Event] = []
    while True:
        ws.receive_data(await client.stream.receive_some() or None)
        for event in ws.events():
            events.append(event)
            match event:
                case AcceptConnection():
                    await client.send(ws.send(TextMessage("hello")))
                case TextMessage():
                    await client.send(ws.send(CloseConnection(1000)))
                case CloseConnection() | RejectConnection():
                    accepted = events[0]
                    assert isinstance(accepted, AcceptConnection | RejectConnection)
                    return events, getattr(accepted, "subprotocol", None)


async def test_a_websocket_is_tunneled(authority: Authority) -> None:
    async with raw_upstream(echo_websocket) as app:
        async with hypercorn_serving(app, authority) as port:
            async with tls_client(port, authority.trusting()) as client:
                events, subprotocol = await converse(client)
    assert [e.data for e in events if isinstance(e, TextMessage)] == ["HELLO"]
    assert subprotocol == "chat"


async def test_a_refused_websocket_gets_the_response(authority: Authority) -> None:
    app = as_asgi(lambda ex: ex.respond(Response(418, b"no")))
    async with hypercorn_serving(app, authority) as port:
        async with tls_client(port, authority.trusting()) as client:
            events, _ = await converse(client)
    assert isinstance(events[0], RejectConnection)
    assert events[0].status_code == 418


# === the lifespan ===


async def test_it_says_what_server_it_needs() -> None:
    async def unused(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="lifespan"):
        await as_asgi(lambda ex: None)({"type": "http"}, unused, unused)


async def test_draining_answers_the_parked(authority: Authority) -> None:
    parked = trio.Event()

    def handle(exchange: Exchange) -> None:
        exchange.park(60, lambda ex: ex.respond(Response(200, b"drained")))
        parked.set()

    app = as_asgi(handle)
    async with hypercorn_serving(app, authority) as port:
        async with asking(port, authority, http2=False) as client:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    assert (await client.get("/")).text == "drained"

                nursery.start_soon(ask)
                await parked.wait()
                app.drain()


# === peers ===


@asynccontextmanager
async def raw_upstream(script: Any) -> AsyncIterator[AsgiApp]:
    """An application in front of an upstream that a test plays byte by byte."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, script, 0, host="127.0.0.1")
        )
        address = listeners[0].socket.getsockname()
        upstream = Upstream("raw", [(trio.socket.AF_INET, address)], b"raw")
        yield as_asgi(lambda ex: forward(ex, upstream, ForwardHooks()))
        nursery.cancel_scope.cancel()


async def cut_chunked(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    )
