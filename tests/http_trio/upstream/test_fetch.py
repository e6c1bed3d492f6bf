"""One request over a connection of its own, or of the pool: every way that it can end."""

from __future__ import annotations

import errno
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from http_trio import (
    Exchange,
    FailureReason,
    FetchResult,
    Http2Upstream,
    Limits,
    NoResponse,
    Response,
    Tls,
    Upstream,
    client_context,
    fetch,
    fetch_pooled,
    serve,
)
from http_trio.testing.peers import (
    FakeUpstream,
    ReceivedRequest,
    connected,
    fake_upstream,
    serving,
)
from http_trio.upstream.fetch import BODY
from tests.http_trio.proxy.test_hooks import nobody, silent
from tests.http_trio.support.certificates import Authority

REQUEST = b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


CHUNKED_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)


async def ask(
    upstream: Upstream,
    limits: Limits | None = None,
    *,
    body_limit: int = BODY,
    keep_body: bool = False,
) -> FetchResult:
    with trio.fail_after(30):
        return await fetch(
            upstream,
            REQUEST,
            method=b"GET",
            limits=limits or Limits(),
            body_limit=body_limit,
            keep_body=keep_body,
        )


def saying(data: bytes, *, close: bool = True) -> FakeUpstream:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(data)
        if close:
            await asked.stream.aclose()

    return FakeUpstream(script)


@pytest.mark.parametrize(
    ("data", "status", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, 0),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, 0),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, 13),
        (CHUNKED_RESPONSE, 200, 5),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\n\r\nbusy", 503, 4),
    ],
    ids=["length", "empty", "bodiless", "until close", "chunked", "interim"],
)
async def test_a_response_is_read_to_its_end(
    data: bytes, status: int, size: int
) -> None:
    async with fake_upstream(saying(data).script) as fake:
        found = await ask(fake.upstream)

    assert (found.status, found.size, found.whole) == (status, size, True)
    assert fake.asked[0].path == b"/ready"


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", FailureReason.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Le", FailureReason.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", FailureReason.CLOSED),
        (b"SSH-2.0-x\r\n\r\n", FailureReason.BAD_RESPONSE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000, FailureReason.BAD_RESPONSE),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            FailureReason.BAD_RESPONSE,
        ),
    ],
    ids=["nothing", "half a head", "half a body", "not HTTP", "endless head", "chunk"],
)
async def test_what_is_no_response_is_said_so(
    data: bytes, condition: FailureReason
) -> None:
    async with fake_upstream(saying(data).script) as fake:
        with pytest.raises(NoResponse) as caught:
            await ask(fake.upstream)

    assert caught.value.failure.condition is condition


async def test_who_does_not_listen_is_unreachable() -> None:
    with pytest.raises(NoResponse, match="refused") as caught:
        await ask(nobody())
    assert caught.value.failure.condition is FailureReason.UNREACHABLE
    assert not caught.value.failure.sent
    with pytest.raises(NoResponse, match="does not resolve"):
        await ask(Upstream("nowhere", [], b"nowhere"))


@pytest.mark.parametrize(
    ("begun", "condition"),
    [
        (b"", FailureReason.RESPONSE_TIMEOUT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", FailureReason.STALLED),
    ],
    ids=["head", "body"],
)
async def test_a_slow_server_is_not_waited_for(
    begun: bytes, condition: FailureReason
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(begun)
        await silent(asked)

    async with fake_upstream(script) as fake:
        with pytest.raises(NoResponse) as caught:
            await ask(fake.upstream, Limits(response_s=0.05, stream_idle_s=0.05))

    assert caught.value.failure.condition is condition


async def test_of_a_large_body_only_a_part_is_read() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 5000
    async with fake_upstream(saying(data, close=False).script) as fake:
        found = await ask(fake.upstream, body_limit=1000)

    assert (found.size, found.whole) == (1000, False)


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PACKED = gzip.compress(b"hello" * 100)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (HELLO, b"hello"),
        (CHUNKED_RESPONSE, b"abcde"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO, b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(PACKED), PACKED),
            PACKED,
        ),
    ],
    ids=["length", "chunked", "until close", "bodiless", "interim", "gzip"],
)
async def test_a_body_is_given_as_it_was_sent(data: bytes, body: bytes) -> None:
    async with fake_upstream(saying(data).script) as fake:
        found = await ask(fake.upstream, keep_body=True)

    assert (found.body, found.size, found.whole) == (body, len(body), True)


async def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    async def script(asked: ReceivedRequest) -> None:
        for at in range(len(CHUNKED_RESPONSE)):
            await asked.stream.send_all(CHUNKED_RESPONSE[at : at + 1])
        await asked.stream.aclose()

    async with fake_upstream(script) as fake:
        assert (await ask(fake.upstream, keep_body=True)).body == b"abcde"


async def test_a_body_is_only_kept_for_who_asks() -> None:
    async with fake_upstream(saying(HELLO).script) as fake:
        found = await ask(fake.upstream)

    assert (found.body, found.size, found.whole) == (b"", 5, True)


@pytest.mark.parametrize(
    ("body_limit", "body", "whole"), [(5, b"hello", True), (4, b"", False)]
)
@pytest.mark.parametrize(
    "data",
    [
        HELLO,
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        ),
    ],
    ids=["length", "until close", "chunked"],
)
async def test_nothing_is_kept_of_a_body_beyond_the_limit(
    data: bytes, body_limit: int, body: bytes, whole: bool
) -> None:
    async with fake_upstream(saying(data).script) as fake:
        found = await ask(fake.upstream, body_limit=body_limit, keep_body=True)

    assert (found.body, found.size, found.whole) == (body, body_limit, whole)


@pytest.mark.parametrize(
    "data", [HELLO[:-1], CHUNKED_RESPONSE[:-2]], ids=["length", "chunked"]
)
async def test_a_body_that_is_cut_is_no_response(data: bytes) -> None:
    async with fake_upstream(saying(data).script) as fake:
        with pytest.raises(NoResponse, match="inside a body") as caught:
            await ask(fake.upstream, keep_body=True)

    assert caught.value.failure.condition is FailureReason.CLOSED


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with fake_upstream(saying(b"HTTP/1.1 204 No\r\n\r\n").script) as fake:
        refusing = nobody().addresses[0]
        upstream = Upstream("both", [refusing, fake.upstream.addresses[0]], b"both")

        assert (await ask(upstream)).status == 204


async def test_a_unix_socket_is_talked_to(tmp_path: Path) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, exchange.path))

    path = str(tmp_path / "s")
    async with serving(handle, bind=f"unix:{path}"):
        found = await ask(Upstream("unix", [(socket.AF_UNIX, path)], b"localhost"))

    assert (found.status, found.size) == (200, 6)


async def test_a_cancelled_fetch_closes_its_connection() -> None:
    closed = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        assert await asked.stream.receive_some() == b""
        closed.set()

    async with fake_upstream(script) as fake:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, fake.upstream)
            while not fake.asked:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            await closed.wait()


async def test_tls_is_spoken_and_the_certificate_looked_at(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, exchange.path))

    async with trio.open_nursery() as nursery:
        tls = Tls(*authority.issue())
        start = partial(serve, handler=handle, binds=["127.0.0.1:0"], tls=tls)
        server = await nursery.start(start)
        address = (socket.AF_INET, ("127.0.0.1", int(server.url.rpartition(":")[2])))
        trusting = client_context(ca=authority.ca_file)
        found = await ask(Upstream("tls", [address], b"localhost", tls=trusting))
        with pytest.raises(NoResponse, match="certificate") as caught:
            await ask(Upstream("tls", [address], b"example.org", tls=trusting))
        nursery.cancel_scope.cancel()

    assert found.status == 200
    assert caught.value.failure.condition is FailureReason.UNTRUSTED


async def test_without_descriptors_it_is_not_the_servers_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("http_trio.net.connect.open_socket", none_left)
    with pytest.raises(NoResponse) as caught:
        await ask(nobody())
    assert caught.value.failure.condition is FailureReason.FULL


# === over a connection of the pool ===


@asynccontextmanager
async def asking_by_pool(
    upstream: Upstream, limits: Limits | None = None, *, body_limit: int = BODY
) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Give what asks the upstream from within a server, and gives the words of it."""

    async def answer(exchange: Exchange) -> None:
        try:
            found = await fetch_pooled(
                upstream,
                exchange.loop,
                b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n",
                method=b"GET",
                limits=limits or Limits(),
                body_limit=body_limit,
                keep_body=True,
            )
        except NoResponse as exc:
            exchange.respond(Response(502, exc.failure.condition.value.encode()))
        else:
            exchange.respond(Response(found.status, found.body))

    async with serving(lambda exchange: exchange.spawn(answer)) as server:

        async def ask_once() -> bytes:
            async with connected(server) as client:
                return (await client.ask())[1]

        yield ask_once


async def test_a_pooled_connection_is_used_again() -> None:
    async with fake_upstream(saying(HELLO, close=False).script) as fake:
        upstream = fake.upstream
        async with asking_by_pool(upstream) as ask_once:
            assert [await ask_once() for _ in range(3)] == [b"hello"] * 3
            assert (fake.connections, len(upstream.idle), upstream.open) == (1, 1, 1)


@pytest.mark.parametrize(
    ("data", "body_limit"),
    [
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            100,
        ),
        (HELLO + b"more than was asked", 100),
        (HELLO, 4),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 100),
    ],
    ids=["close", "more", "beyond the limit", "cut"],
)
async def test_what_cannot_be_used_again_is_closed(
    data: bytes, body_limit: int
) -> None:
    async with fake_upstream(saying(data).script) as fake:
        upstream = fake.upstream
        async with asking_by_pool(upstream, body_limit=body_limit) as ask_once:
            await ask_once()
            await ask_once()

            assert (fake.connections, len(upstream.idle), upstream.open) == (2, 0, 0)


async def test_a_kept_connection_that_ends_is_not_the_servers_failure() -> None:
    async def script(asked: ReceivedRequest) -> None:
        if asked.connection == 1 and len(fake.asked) > 1:
            await asked.stream.aclose()  # it had waited long enough
        else:
            await asked.response(b"hello")

    async with fake_upstream(script) as fake:
        async with asking_by_pool(fake.upstream) as ask_once:
            assert [await ask_once() for _ in range(2)] == [b"hello"] * 2
            assert (len(fake.asked), fake.connections) == (3, 2)


async def test_a_new_connection_that_ends_is() -> None:
    async with fake_upstream(saying(b"").script) as fake:
        async with asking_by_pool(fake.upstream) as ask_once:
            assert await ask_once() == b"closed"
            assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("limits", "condition"),
    [
        (Limits(response_s=0.05), b"response timeout"),
        (Limits(response_s=5, stream_idle_s=0.05), b"stalled"),
    ],
    ids=["head", "body"],
)
async def test_a_slow_server_of_the_pool_is_not_waited_for(
    limits: Limits, condition: bytes
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        if condition == b"stalled":
            await asked.stream.send_all(HELLO[:-1])
        await silent(asked)

    async with fake_upstream(script) as fake:
        upstream = fake.upstream
        async with asking_by_pool(upstream, limits) as ask_once:
            assert await ask_once() == condition
            assert upstream.open == 0


async def test_the_pool_says_who_does_not_listen() -> None:
    for upstream in (nobody(), Upstream("nowhere", [], b"nowhere")):
        async with asking_by_pool(upstream) as ask_once:
            assert await ask_once() == b"unreachable"
            assert upstream.open == 0


async def test_http2_of_the_pool_shares_one_connection() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, exchange.protocol.encode()))

    async with trio.open_nursery() as nursery:
        start = partial(serve, handler=handle, binds=(), h2c_binds=["127.0.0.1:0"])
        server = await nursery.start(start)
        port = int(server.addresses[0].rpartition(":")[2])
        address = (socket.AF_INET, ("127.0.0.1", port))
        upstream = Http2Upstream("h2", [address], b"h2")
        async with asking_by_pool(upstream) as ask_once:
            assert [await ask_once() for _ in range(3)] == [b"HTTP/2"] * 3
            assert server.counts.connections["HTTP/2"] == 1
        nursery.cancel_scope.cancel()


async def test_a_cancelled_question_closes_its_connection() -> None:
    upstream: Upstream
    closed, asked_by = trio.Event(), trio.CancelScope()

    async def answer(exchange: Exchange) -> None:
        with asked_by:
            await fetch_pooled(upstream, exchange.loop, REQUEST, method=b"GET")
        exchange.respond(Response(200, b"cancelled"))

    async def script(asked: ReceivedRequest) -> None:
        asked_by.cancel()
        assert await asked.stream.receive_some() == b""
        closed.set()

    async with fake_upstream(script) as fake:
        upstream = fake.upstream
        async with serving(lambda exchange: exchange.spawn(answer)) as server:
            async with connected(server) as client:
                assert (await client.ask())[1] == b"cancelled"
                await closed.wait()
                assert upstream.open == 0
