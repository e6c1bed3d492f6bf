"""A WebSocket through a handler that a user mounts in hypercorn, over HTTP/2 (RFC 8441)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from wsproto import ConnectionType
from wsproto.connection import Connection as Frames
from wsproto.events import CloseConnection, Event, TextMessage

from tests.http_trio.asgi.test_app import echo_websocket, raw_upstream
from tests.http_trio.integration.test_tls_server import Http2Peer
from tests.http_trio.support.certificates import (
    Authority,
    hypercorn_serving,
    tls_client,
)


@pytest.mark.parametrize("code", [1000, 4711])
async def test_a_websocket_passes_over_http2(tmp_path: Path, code: int) -> None:
    authority, ended = Authority(tmp_path), trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await echo_websocket(stream)
        ended.set()

    async with raw_upstream(script) as app:
        async with hypercorn_serving(app, authority) as port:
            async with tls_client(port, authority.trusting("h2")) as client:
                two = Http2Peer(client)
                await two.open(
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", "https"),
                    (":path", "/"),
                    (":authority", "localhost"),
                    ("sec-websocket-version", "13"),
                )
                assert dict(await two.head())[b":status"] == b"200"
                frames, events = Frames(ConnectionType.CLIENT), list[Event]()
                await two.send(frames.send(TextMessage("hello")))
                while not events:
                    frames.receive_data(await two.data())
                    events += frames.events()
                assert events == [TextMessage("HELLO")]
                await two.send(frames.send(CloseConnection(code)))
                await ended.wait()
                frames.receive_data(await two.data())
                (closed,) = frames.events()
                assert isinstance(closed, CloseConnection)
                assert closed.code == code
