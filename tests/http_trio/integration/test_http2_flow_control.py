"""Back-pressure over HTTP/2: per stream and connection, both ways (RFC 9113 section 5.2).

The client of these tests fails at a byte that it did not allow.
"""

from __future__ import annotations

import itertools

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.http2.stream import LEAST_QUEUE, QUEUE, SHARED_QUEUE
from http_trio.testing.peers import RawClient, ReceivedRequest
from tests.http_trio.support.certificates import Authority, tls_client
from tests.http_trio.support.http2_peer import (
    DATA,
    PADDED,
    frame,
    http2_client,
    port_of,
    serving_http2,
    watched_http2,
)

MIB = 1024 * 1024
PATTERN = bytes(range(256)) * 4096


def body_of(size: int, seed: int) -> bytes:
    """Give a body that differs from others'."""
    return (PATTERN[seed:] + PATTERN[:seed]) * (size // MIB) + PATTERN[: size % MIB]


async def answer_sized(asked: ReceivedRequest) -> None:
    """Answer /SIZE with so many bytes, and what has a body with that."""
    await asked.response(asked.body or b"z" * int(asked.path[1:]))


async def echo(stream: trio.SocketStream) -> None:
    """Answer one large body with itself."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some(1)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    body = bytearray()
    while len(body) < length:
        body += await stream.receive_some(MIB)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
    await stream.send_all(body)


async def test_large_bodies_pass_both_ways_on_20_streams_at_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(answer_sized, authority, caplog) as one:
        one.fake.raw = echo
        async with http2_client(one.proxy, authority) as client:
            bodies = {}
            for seed in range(20):
                body = body_of(2 * MIB, seed)
                length = ("content-length", str(len(body)))
                stream = await client.ask("/", length, method="PUT", ends=False)
                bodies[stream] = body
            await client.send_all_of(bodies)
            await client.wait_over(*bodies, within_s=150)
            for stream, body in bodies.items():
                assert client.streams[stream].body == body


async def test_a_slow_reader_of_one_stream_holds_up_no_other(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Its server is read no further than what the stream may hold."""
    sent: list[int] = []

    async def script(asked: ReceivedRequest) -> None:
        if asked.path != b"/endless":
            await asked.response(b"quick")
            return
        await asked.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        for count in itertools.count(1):
            await asked.stream.send_all(bytes(64 * 1024))
            sent.append(count * 64 * 1024)

    async with watched_http2(script, authority, caplog) as one:
        async with http2_client(one.proxy, authority, window=1000) as client:
            await client.open_window(0, 100 * MIB)
            slow = await client.ask("/endless")
            client.reads = False
            await client.wait(lambda: len(client.streams[slow].body) == 1000)
            for _ in range(50):
                assert (await client.fetch("/quick")).body == b"quick"
            async with tls_client(port_of(one.proxy), authority.trusting()) as other:
                assert (await other.ask(b"/quick"))[1] == b"quick"
            before = -1
            while before != (before := len(sent)):
                await client.idle(0.1)
            assert len(client.streams[slow].body) == 1000
            assert (
                sent[-1] < QUEUE + 20 * MIB
            )  # the kernel's buffers on the way are large
            await client.open_window(slow, 5000)
            await client.wait(lambda: len(client.streams[slow].body) == 6000)
            await client.reset(slow)
            await client.idle(0.05)


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_a_small_window_is_obeyed_and_opened(
    authority: Authority, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    async with watched_http2(answer_sized, authority, caplog) as one:
        async with http2_client(one.proxy, authority, window=size) as client:
            client.reads = False
            stream = await client.ask("/3000")
            await client.wait(lambda: client.streams[stream].status)
            await client.idle(0.05)
            assert len(client.streams[stream].body) == size
            await client.open_window(stream, 1)
            await client.wait(lambda: len(client.streams[stream].body) == size + 1)
            await client.open_window(stream, 10_000)
            assert (await client.wait_over(stream)).body == b"z" * 3000


async def test_a_window_may_change_in_the_middle(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Also below what was sent already, which makes it negative (section 6.9.2)."""
    async with watched_http2(answer_sized, authority, caplog) as one:
        async with http2_client(one.proxy, authority, window=20_000) as client:
            client.reads = False
            stream = await client.ask("/60000")
            body = client.streams[stream].body
            await client.wait(lambda: len(body) == 20_000)
            await client.change_window(5_000)
            await client.open_window(stream, 10_000)
            await client.idle(0.05)
            assert len(body) == 20_000
            await client.open_window(stream, 6_000)
            await client.wait(lambda: len(body) == 21_000)
            await client.change_window(65_000)
            assert (await client.wait_over(stream)).body == b"z" * 60_000
            assert (await client.fetch("/1")).body == b"z"


async def test_no_window_of_the_connection_stops_all_and_breaks_none(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(answer_sized, authority, caplog) as one:
        async with http2_client(one.proxy, authority, window=MIB) as client:
            client.reads = False
            streams = [await client.ask("/40000") for _ in range(5)]

            def came() -> int:
                return sum(len(one.body) for one in client.streams.values())

            await client.wait(lambda: came() == 65_535)
            await client.idle(0.05)
            empty = await client.ask("/0")
            assert (await client.wait_over(empty)).status == 200
            await client.open_window(0, MIB)
            await client.wait_over(*streams)
            assert came() == 200_000


async def test_who_opens_no_window_is_cut_as_who_reads_nothing(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether its response is short, or long, or still comes; and so is its connection."""
    limits = Limits(write_s=0.3)
    async with watched_http2(answer_sized, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority, window=0) as client:
            streams = [
                await client.ask(f"/{size}") for size in (1, 70_000, 400_000, 3_000_000)
            ]
            await client.wait_over(*streams)
            assert {client.streams[one].reset for one in streams} <= {2, 8}
            assert await client.wait_closed() == 0
    assert {end[0] for end in one.books.ends} == {200}


@pytest.mark.parametrize("served", [True, False])
async def test_who_takes_nothing_is_not_held_for_ever(
    authority: Authority, caplog: pytest.LogCaptureFixture, served: bool
) -> None:
    """It neither says anything nor closes, once its last stream was ended for it."""
    limits = Limits(write_s=0.3, idle_s=0.3, linger_s=0.3)
    async with watched_http2(answer_sized, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority, window=0) as client:
            if served:
                await client.fetch("/0")
            stream = await client.ask("/1")
            await client.wait_over(stream)
            with trio.fail_after(30):
                while one.proxy.connections:
                    await trio.sleep(0.01)


async def test_of_a_stream_that_is_not_read_the_others_know_nothing(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(write_s=0.3)
    async with watched_http2(answer_sized, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority) as client:
            client.reads = False
            stream = await client.ask("/400000")
            await client.wait(lambda: len(client.streams[stream].body) == 65_535)
            client.reads = True
            await client.open_window(0, 65_535)
            with trio.fail_after(30):
                while not client.streams[stream].over:
                    assert (await client.fetch("/5")).body == b"z" * 5
            assert client.streams[stream].reset in (2, 8)


async def test_who_sends_but_does_not_read_is_cut_too(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """What it sends is no sign that it takes anything."""

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 * MIB))

    limits = Limits(write_s=0.5)
    async with watched_http2(script, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority, window=0) as client:
            stream = await client.ask("/", method="POST", ends=False)
            with trio.fail_after(30):
                while not client.streams[stream].over:
                    await client.data(stream, b"x" * 100)
                    await client.idle(0.1)
            assert client.streams[stream].reset in (2, 8)


async def test_a_client_that_takes_a_little_is_not_cut(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(write_s=0.4)
    async with watched_http2(answer_sized, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority, window=0) as client:
            client.reads = False
            streams = [await client.ask("/1500"), await client.ask("/600000")]
            for _ in range(14):  # far longer than write_s
                for stream in streams:
                    await client.open_window(stream, 100)
                await client.idle(0.1)
            assert not any(client.streams[one].over for one in streams)
            await client.open_window(streams[0], 100)
            await client.wait_over(streams[0])
            await client.reset(streams[1])
            await client.idle(0.05)


async def test_windows_come_back_from_streams_that_end_early(
    authority: Authority,
) -> None:
    """Reset by either side with a body that nobody read: else all uploads stop."""
    seen: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        if exchange.path == b"/keep":
            exchange.park(60, lambda ex: None)
            seen.append(exchange)
        elif exchange.path == b"/refuse":
            exchange.call_later(0.0, lambda: exchange.respond(Response(403, b"no")))
        else:
            exchange.collect(100_000, lambda ex, body: ex.respond(Response(200, body)))

    async with serving_http2(handle, authority, limits=Limits(streams=4)) as server:
        async with http2_client(server, authority) as client:
            for path in ["/keep"] * 20 + ["/refuse"] * 20:
                stream = await client.ask(path, method="PUT", ends=False)
                await client.data(stream, bytes(60_000))
                if path == "/keep":
                    await client.wait(lambda: seen)
                    await client.reset(stream)
                    seen.clear()
                else:
                    await client.wait_over(stream)
            stream = await client.ask("/", method="PUT", ends=False)
            await client.data(stream, b"y" * 50_000, ends=True)
            assert (await client.wait_over(stream)).body == b"y" * 50_000


async def test_padding_uses_windows_and_comes_back(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(answer_sized, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            length = ("content-length", "150000")
            stream = await client.ask("/", length, method="PUT", ends=False)
            piece = bytes([99]) + b"p" * 1000 + bytes(99)
            state = client.streams[stream]
            for count in range(150):
                await client.wait(
                    lambda: min(state.credit, client.credit) >= len(piece)
                )
                flags = PADDED | (count == 149)
                state.credit -= len(piece)
                client.credit -= len(piece)
                await client.send(frame(DATA, flags, stream, piece))
            assert (await client.wait_over(stream)).body == b"p" * 150_000


async def test_an_upload_that_nobody_reads_is_stopped_by_its_window(
    authority: Authority,
) -> None:
    """And holds up no other upload."""

    def handle(exchange: Exchange) -> None:
        if exchange.path == b"/wait":
            exchange.park(60, lambda ex: None)
        else:
            exchange.collect(MIB, lambda ex, body: ex.respond(Response(200, body)))

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority) as client:
            for _ in range(50):
                stream = await client.ask("/wait", method="PUT", ends=False)
                await client.data(stream, bytes(65_535))
            stream = await client.ask("/", method="PUT", ends=False)
            await client.send_all_of({stream: b"a" * 500_000})
            assert (await client.wait_over(stream)).body == b"a" * 500_000


async def test_what_waits_for_a_client_is_bounded(authority: Authority) -> None:
    """Of one stream, and of all of a connection together."""
    parts: list[tuple[Exchange, int]] = []

    def handle(exchange: Exchange) -> None:
        exchange.begin(Response(200))
        parts.append((exchange, exchange.send(b"x")))

    async with serving_http2(handle, authority) as server:
        async with http2_client(server, authority, window=0) as client:
            for _ in range(40):
                await client.ask("/")
            await client.wait(lambda: len(parts) == 40)
            taken = 0
            for exchange, _ in parts:
                connection = exchange.connection
                assert connection is not None
                while not connection.send_part(b"%x\r\n%b\r\n" % (4096, bytes(4096))):
                    taken += 4096
            assert QUEUE < taken < SHARED_QUEUE + QUEUE + 40 * (LEAST_QUEUE + 8192)


async def test_one_connection_with_100_busy_streams_leaves_others_their_turn(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(answer_sized, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as busy:
            async with tls_client(port_of(one.proxy), authority.trusting()) as other:
                quick: list[float] = []

                async def ask_often(client: RawClient) -> None:
                    while True:
                        began = trio.current_time()
                        await client.ask(b"/10")
                        quick.append(trio.current_time() - began)
                        await trio.lowlevel.checkpoint()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask_often, other)
                    streams = [await busy.ask("/150000") for _ in range(100)]
                    await busy.wait_over(*streams, within_s=150)
                    nursery.cancel_scope.cancel()
    assert len(quick) > 2  # while 15 MB passed
