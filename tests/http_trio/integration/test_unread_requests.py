"""Connections that end while requests are unread: the last response arrives whole.

A socket that is closed with something unread resets its connection, and the reset takes
along what the client has not read yet (RFC 9112 section 9.6). So however a connection
ends, a client that has pipelined more gets its response to the last byte, then an end and
no reset; and what was not read was not done, so that it may be sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from http_trio import (
    Exchange,
    ForwardHooks,
    HttpServer,
    Limits,
    Response,
    Tls,
    forward,
    serve,
)
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from tests.http_trio.support.certificates import Authority

SIZE = 400_000  # more than the buffers of both sides take at once
MORE = b"GET /more HTTP/1.1\r\nHost: a\r\n\r\n"
PIPELINED = MORE * 8_000  # 250 KB: far from all of it is read ahead
GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n"


@attrs.define
class Seen:
    """What the handler was asked for."""

    paths: list[bytes] = attrs.field(factory=list)
    server: HttpServer | None = None

    def answer(self, exchange: Exchange) -> None:
        self.paths.append(exchange.path)
        if exchange.path == b"/drains":
            assert self.server is not None
            self.server.drain(5)
            exchange.park(0.1, lambda ex: ex.respond(Response(200, b"x" * SIZE)))
            return
        if exchange.path == b"/body":
            exchange.collect(10, lambda ex, _: ex.respond(Response(200, b"x" * SIZE)))
            return
        if exchange.path == b"/more":
            exchange.respond(Response(200, b"more"))
            return
        exchange.respond(Response(200, b"x" * SIZE))


@asynccontextmanager
async def served(
    seen: Seen, handler: Callable[[Exchange], None], tls: Tls | None
) -> AsyncIterator[int]:
    start: Any = partial(serve, handler, ["127.0.0.1:0"], limits=Limits(linger_s=10))
    if tls is not None:
        start = partial(start, tls=tls)
    async with trio.open_nursery() as nursery:
        seen.server = server = await nursery.start(start)
        yield int(server.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def exchange_bytes(
    port: int, sent: bytes, authority: Authority | None
) -> tuple[bytes, bool]:
    """Send, read late and slowly; give what came, and whether it ended as it should."""
    stream: Any = await trio.open_tcp_stream("127.0.0.1", port)
    if authority is not None:
        stream = trio.SSLStream(
            stream, authority.trusting(), server_hostname="localhost"
        )
    got = bytearray()
    orderly = False
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await stream.send_all(sent)  # who has answered may take no more

            nursery.start_soon(send)
            await trio.sleep(0.1)
            try:
                while data := await stream.receive_some(50_000):
                    got += data
                    await trio.sleep(0.002)
                orderly = True
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
    return bytes(got), orderly


def whole(size: int) -> Callable[[bytes], bool]:
    return lambda got: got.endswith(b"\r\n\r\n" + b"x" * size) and b" 200 " in got[:20]


def refused(status: int) -> Callable[[bytes], bool]:
    def is_it(got: bytes) -> bool:
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        return head.startswith(b"HTTP/1.1 %d " % status) and len(body) == length

    return is_it


ENDS = [
    pytest.param(GET % (b"large", b"Connection: close\r\n"), whole(SIZE), id="close"),
    pytest.param(b"GET /large HTTP/1.0\r\n\r\n", whole(SIZE), id="HTTP/1.0"),
    pytest.param(GET % (b"drains", b""), whole(SIZE), id="drain"),
    pytest.param(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", refused(400), id="malformed"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", refused(400), id="no Host"),
    pytest.param(
        GET % (b"", b"X: " + b"y" * 100_000 + b"\r\n"), refused(431), id="large head"
    ),
    pytest.param(
        b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n",
        refused(413),
        id="large body",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        refused(400),
        id="coding",
    ),
    pytest.param(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", refused(400), id="version"),
]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize(("first", "right"), ENDS)
async def test_a_server_ends_in_order(
    authority: Authority, first: bytes, right: Callable[[bytes], bool], *, secure: bool
) -> None:
    seen = Seen()
    tls = Tls(*authority.issue()) if secure else None
    trusted = authority if secure else None
    async with served(seen, seen.answer, tls) as port:
        got, orderly = await exchange_bytes(port, first + PIPELINED, trusted)
    assert right(got), got[:200]
    assert orderly
    assert b"/more" not in seen.paths, "it may be sent again"


UPSTREAM_ENDS = [
    pytest.param(GET % (b"large", b"Connection: close\r\n"), id="close"),
    pytest.param(b"GET /large HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
    pytest.param(
        b"POST /large HTTP/1.0\r\nContent-Length: 100000\r\n\r\n" + b"u" * 100_000,
        id="after an upload",
    ),
]


async def large(asked: ReceivedRequest) -> None:
    await asked.response(b"x" * SIZE)


async def until_close(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * SIZE)
    await asked.stream.aclose()


@pytest.mark.parametrize("script", [large, until_close])
@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("first", UPSTREAM_ENDS)
async def test_a_proxy_ends_in_order(
    authority: Authority,
    first: bytes,
    script: Callable[[ReceivedRequest], Awaitable[None]],
    *,
    secure: bool,
) -> None:
    seen = Seen()
    tls = Tls(*authority.issue()) if secure else None
    async with fake_upstream(script) as fake:
        upstream, hooks = fake.upstream, ForwardHooks()

        def handler(exchange: Exchange) -> None:
            forward(exchange, upstream, hooks)

        async with served(seen, handler, tls) as port:
            got, orderly = await exchange_bytes(
                port, first + PIPELINED, authority if secure else None
            )
    body = got.partition(b"\r\n\r\n")[2]
    if b"\r\nTransfer-Encoding: chunked" in got[:400]:
        assert got.endswith(b"\r\n0\r\n\r\n")
    else:
        assert body == b"x" * SIZE
    assert orderly
    assert [asked.path for asked in fake.asked] == [b"/large"]
