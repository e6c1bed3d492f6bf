"""What a hostile or broken client does to a proxy, and what it must not get by it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from http_trio import Exchange, ForwardedPolicy, Limits, Response
from http_trio.server.connection import Connection
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    connected,
    proxying,
    scripted,
    serving,
)
from tests.http_trio.support.h11_peers import judging_upstream
from tests.http_trio.support.watched import reset, watched

H = b"Host: h\r\n"
GET = b"GET / HTTP/1.1\r\n" + H
POST = b"POST / HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(autouse=True)
def _swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("http_trio.net.event_loop._SWEEP_S", 0.02)


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok")


def small(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"small"))


# === what is refused, and never reaches the upstream ===


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", (400,)),
        (GET + H + b"\r\n", (400,)),
        (GET + b"X: a\0b\r\n\r\n", (400,)),
        (GET + b"X: a\rb\r\n\r\n", (400,)),
        (GET + b"X: a\r\n b\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\nHost: h\n\n", (400,)),
        (b"GET / HTTP/1.1\r\nHost: h\nX: b\r\n\r\n", (400,)),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", (400,)),
        (b"GET /\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\nX: " + b"b" * 40_000 + b"\r\n\r\n", (431,)),
        (GET + b"X: b\r\n" * 200 + b"\r\n", (431,)),
        (b"GET /" + b"b" * 20_000 + b" HTTP/1.1\r\n\r\n", (414,)),
        (b"b" * 100_000, (414, 431)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
        (b"CONNECT h:443 HTTP/1.1\r\n" + H + b"\r\n", (501,)),
        (b"GET h:80 HTTP/1.1\r\n" + H + b"\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, (400,)),
        (POST + b"Content-Length: 3, 3\r\n\r\nabc", (400,)),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", (400,)),
        (POST + b"Content-Length: 0x3\r\n\r\nabc", (400,)),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
        (
            POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
            (400, 501),
        ),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", (400, 501)),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
        (CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n", (400,)),
        (CHUNKED + b"\r\n3\nabc\n0\n\n", (400,)),
        (CHUNKED + b"\r\n3;\nabc\r\n0\r\n\r\n", (400,)),
        (CHUNKED + b"\r\nffffffffffffffff\r\nabc", (400,)),
        (CHUNKED + b"\r\n0\r\nX: y\n\r\n", (400,)),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_what_is_refused_does_not_reach_the_upstream(
    raw: bytes, statuses: tuple[int, ...]
) -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(raw)
            if raw.startswith(b"\x16"):  # not a line: only its end shows what it is
                await client.stream.send_eof()
            response = await client.to_end()
        assert response.count(b"HTTP/1.1 ") <= 1
        if response:
            assert int(response[9:12]) in statuses
            assert b"Connection: close" in response
        assert not judge.asked


@pytest.mark.parametrize(
    ("raw", "target", "host"),
    [
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"*", b"h"),
        (b"TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n", b"/a", b"h"),
        (b"GET http://a:81/b?c HTTP/1.1\r\nHost: h\r\n\r\n", b"/b?c", b"a:81"),
        (b"GET HTTPS://a HTTP/1.1\r\nHost: h\r\n\r\n", b"/", b"a"),
        (
            b"GET /%00%0d%0a?%e9{|} HTTP/1.1\r\nHost: h\r\n\r\n",
            b"/%00%0d%0a?%e9{|}",
            b"h",
        ),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost:\th \r\n\r\n", b"/", b"h"),
        (b"GET / HTTP/1.0\r\n\r\n", b"/", b"judge"),
        (b"GET //a/../b HTTP/1.1\r\nHost: h\r\n\r\n", b"//a/../b", b"h"),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_target_goes_on_in_its_form(
    raw: bytes, target: bytes, host: bytes
) -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(raw)
            assert (await client.response())[1] == b"ok"
    (asked,) = judge.asked
    assert (asked.target, asked.values(b"host")) == (target, [host])


@pytest.mark.parametrize(
    "lines",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: x-forwarded-for, host, content-length, via\r\n",
    ],
)
async def test_no_other_protocol_is_let_through(lines: bytes) -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(GET + lines + b"\r\n")
            assert (await client.response())[1] == b"ok"
    (asked,) = judge.asked
    for name in (b"upgrade", b"connection", b"http2-settings"):
        assert not asked.values(name)
    assert asked.values(b"host") == [b"h"]
    assert asked.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert asked.values(b"via") == [b"1.1 canary-trio"]


async def test_what_follows_a_close_is_no_request() -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            last = GET + b"Connection: close\r\n\r\n"
            await client.send(last + b"GET /hidden HTTP/1.1\r\n" + H + b"\r\n")
            assert (await client.to_end()).count(b"HTTP/1.1 200 ") == 1
        assert [asked.target for asked in judge.asked] == [b"/"]


async def test_garbage_after_a_body_is_a_bad_request_of_its_own() -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(POST + b"Content-Length: 3\r\n\r\nabcGET garbage\r\n\r\n")
            assert (await client.response())[1] == b"ok"
            assert (await client.head()).startswith(b"HTTP/1.1 400 ")
        assert [asked.body for asked in judge.asked] == [b"abc"]


# === slowness and floods ===


async def test_a_head_in_drops_has_one_deadline_for_all_of_it() -> None:
    limits = Limits(head_s=0.2)
    async with serving(small, limits) as server, connected(server) as client:
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drip, client)
                assert (await client.head()).startswith(b"HTTP/1.1 408 ")
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught


async def _drip(client: RawClient) -> None:
    for byte in GET + b"X: y\r\n" * 10_000:
        await client.send(bytes([byte]))
        await trio.sleep(0.01)


async def test_a_request_byte_by_byte_is_served() -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            for byte in (
                CHUNKED + b"\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n" + GET + b"\r\n"
            ):
                await client.send(bytes([byte]))
                await wait_all_tasks_blocked()
            for _ in range(2):
                assert (await client.response())[1] == b"ok"
    assert [asked.body for asked in judge.asked] == [b"abc", b""]


async def test_a_flood_of_pipelined_requests_waits_in_the_kernel() -> None:
    count = 5_000
    async with serving(small) as server, connected(server) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, (GET + b"\r\n") * count)
            for _ in range(20):
                await wait_all_tasks_blocked(0.001)
            (connection,) = server._listeners[0].connections
            assert isinstance(connection, Connection)
            assert len(connection.buffer) <= 200_000
            assert connection.behind <= 200_000
            for _ in range(count):
                assert (await client.response())[1] == b"small"


async def test_a_flood_of_empty_lines_is_read_over_at_once() -> None:
    async with serving(small) as server, connected(server) as client:
        for _ in range(100):
            await client.send(b"\r\n" * 30_000)
        await client.send(GET + b"\r\n")
        assert (await client.response())[1] == b"small"


@pytest.mark.parametrize("size", [100_000, 8_000_000], ids=["fast", "slow"])
async def test_a_client_that_never_reads_is_let_go(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def large(asked: ReceivedRequest) -> None:
        await asked.response(b"x" * size)

    limits = Limits(write_s=0.1)
    async with watched(large, caplog, limits) as one, connected(one.proxy) as client:
        for _ in range(60 if size < 1_000_000 else 1):
            await client.send(GET + b"\r\n")
        with trio.fail_after(30):
            while one.proxy.connections:
                await trio.sleep(0.01)
        await trio.aclose_forcefully(client.stream)


# === going away ===

_PHASES = {
    "before a request": b"",
    "in a head": b"GET / HT",
    "in a short body": POST + b"Content-Length: 9\r\n\r\nabc",
    "in a long body": POST + b"Content-Length: 999999\r\n\r\nabc",
    "in a chunk": CHUNKED + b"\r\n9\r\nabc",
    "awaiting a response": GET + b"\r\n",
    "awaiting a response to chunks": CHUNKED + b"\r\n0\r\n\r\n",
    "awaiting 100": POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    "in a long response": b"GET /long HTTP/1.1\r\n" + H + b"\r\n",
    "in a chunked response": b"GET /chunks HTTP/1.1\r\n" + H + b"\r\n",
    "in a tunnel": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "after a refusal": b"GARBAGE\r\n\r\n",
    "with another request ahead": GET + b"\r\n" + GET + b"\r\n",
}


async def _as_asked(asked: ReceivedRequest) -> None:
    """Answer in part, or not at all, then wait for the end."""
    send = asked.stream.send_all
    if asked.path == b"/long":
        await send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nabc")
    elif asked.path == b"/chunks":
        await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    elif b"pgrade: websocket" in asked.head:
        line = b"HTTP/1.1 101 Switching Protocols\r\n"
        await send(line + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    while await asked.stream.receive_some():
        pass


@pytest.mark.parametrize("phase", _PHASES)
@pytest.mark.parametrize("how", ["reset", "fin", "half-close"])
async def test_a_client_may_go_at_any_time(
    phase: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(
        half_closed_s=0.05, stream_idle_s=0.1, linger_s=0.05, response_s=0.1
    )
    clients = ForwardedPolicy(half_close=how == "half-close")
    async with watched(_as_asked, caplog, limits, clients=clients) as one:
        async with connected(one.proxy) as client:
            await client.send(_PHASES[phase])
            await wait_all_tasks_blocked(0.005)
            if how == "reset":
                await reset(client)
            else:
                await client.stream.send_eof()
                await client.to_end()


@pytest.mark.parametrize(
    "phase", [name for name in _PHASES if name.startswith(("awaiting", "in a", "with"))]
)
async def test_a_client_that_ends_has_left(
    phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(_as_asked, caplog) as one, connected(one.proxy) as client:
        await client.send(_PHASES[phase])
        await wait_all_tasks_blocked(0.005)
        await client.stream.send_eof()
        await client.to_end()
        await one.wait_settled()  # long before any wait of the defaults is over

        assert [failure for _, failure in one.books.ends] == [None] * one.books.begun
        assert not one.upstream.idle


async def test_a_half_closed_client_that_is_silent_is_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients = ForwardedPolicy(half_close=True)
    limits = Limits(half_closed_s=0.05)

    def parked(exchange: Exchange) -> None:
        exchange.park(60, lambda ex: ex.respond(Response(200)))

    async with serving(parked, limits, clients=clients) as server:
        async with connected(server) as client:
            await client.send(GET + b"\r\n")
            await client.stream.send_eof()

            assert await client.to_end() == b""


async def test_a_half_closed_client_gets_what_streams(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients = ForwardedPolicy(half_close=True)
    limits = Limits(half_closed_s=0.5)

    async def slowly(asked: ReceivedRequest) -> None:
        send = asked.stream.send_all
        await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):  # longer in all than half_closed_s
            await trio.sleep(0.1)
            await send(b"3\r\nabc\r\n")
        await send(b"0\r\n\r\n")

    async with (
        watched(slowly, caplog, limits, clients=clients) as one,
        connected(one.proxy) as client,
    ):
        await client.send(GET + b"\r\n")
        await client.stream.send_eof()

        assert (await client.to_end()).count(b"abc") == 8


@pytest.mark.parametrize("size", [100, 900_000], ids=["short", "long"])
async def test_a_half_closed_client_gets_its_response(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    gone = trio.Event()

    async def slowly(asked: ReceivedRequest) -> None:
        await gone.wait()
        await wait_all_tasks_blocked(0.002)
        await asked.response(asked.body)

    clients = ForwardedPolicy(half_close=True)
    async with (
        watched(slowly, caplog, clients=clients) as one,
        connected(one.proxy) as client,
    ):
        body = b"b" * size
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % size + body)
        await client.stream.send_eof()
        gone.set()
        assert (await client.response())[1] == body
        assert await client.to_end() == b""


# === Expect: 100-continue ===

EXPECT = POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n"


async def _with_continue(client: RawClient, *, at_once: bool) -> bytes:
    await client.send(EXPECT + b"\r\n" + (b"abc" if at_once else b""))
    interim = b""
    if not at_once:
        interim = await client.head()
        await client.send(b"abc")
    head = await client.head()
    while head.startswith(b"HTTP/1.1 100"):
        interim, head = head, await client.head()
    assert head.startswith(b"HTTP/1.1 200 ")
    return interim


@pytest.mark.parametrize("at_once", [False, True])
async def test_100_continue_comes_from_the_upstream(at_once: bool) -> None:
    async with scripted(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        3,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ) as (proxy, heads):
        async with connected(proxy) as client:
            interim = await _with_continue(client, at_once=at_once)
            assert interim.startswith(b"HTTP/1.1 100 ")
            assert b"\r\nExpect: 100-continue" in heads[0]


async def test_a_final_response_instead_of_100_is_passed_on_without_the_body() -> None:
    no = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
    async with scripted(no, 0, b"") as (proxy, _), connected(proxy) as client:
        await client.send(EXPECT + b"\r\n")
        head, body = await client.response()
        assert head.startswith(b"HTTP/1.1 417 ")
        assert b"Connection: close" in head
        assert body == b"no"
        assert await client.to_end() == b""


async def test_an_upstream_that_knows_no_100_gets_the_body_once_it_is_sent() -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with scripted(b"", 3, final) as (proxy, _), connected(proxy) as client:
        await client.send(EXPECT + b"\r\n")
        await wait_all_tasks_blocked(0.01)
        await client.send(b"abc")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")


async def test_expect_without_a_body_or_in_http10_is_no_matter() -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(GET + b"Expect: 100-continue\r\n\r\n")
            assert (await client.response())[1] == b"ok"
        async with connected(proxy) as client:
            await client.send(EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\nabc")
            assert (await client.response())[1] == b"ok"
        assert [asked.body for asked in judge.asked] == [b"", b"abc"]
        assert not judge.asked[1].values(b"expect")
