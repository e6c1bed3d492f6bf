"""What clients over HTTP/2 may do to us, and do no more: attacks, each a table's row.

The connection ends with GOAWAY, the reason is counted, what we hold is bounded, and
everybody else is served meanwhile.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from http_trio import Exchange, HttpServer, Limits, Response
from http_trio.http2.overhead import BURST
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MORE,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    Http2Client,
    frame,
    get,
    http2_client,
    literal,
    serving_http2,
)

Flood = Callable[[Http2Client], Iterator[bytes]]
FLOODS: dict[str, Flood] = {}
FAULTS: dict[str, tuple[int, Flood]] = {}

PROTOCOL, INTERNAL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 1, 2, 3, 5, 6, 9, 11


def flood(found: Flood) -> Flood:
    """Note one that never ends."""
    FLOODS[found.__name__] = found
    return found


def fault(code: int) -> Callable[[Flood], Flood]:
    """Note one that is an error at once, with the code that it is answered with."""

    def note(found: Flood) -> Flood:
        FAULTS[found.__name__] = code, found
        return found

    return note


# === floods: each piece is allowed, and asks for nothing ===


@flood
def rapid_reset(client: Http2Client) -> Iterator[bytes]:
    """CVE-2023-44487."""
    while True:
        head = client.head(get("/park"))
        yield head + frame(RST_STREAM, 0, client.last, struct.pack("!I", 8))


@flood
def rapid_reset_of_large_heads(client: Http2Client) -> Iterator[bytes]:
    """They are a few bytes on the wire, and were budgeted as what they mean."""
    while True:
        head = client.head(get("/park", ("x-large", "l" * 3000)))
        yield head + frame(RST_STREAM, 0, client.last, struct.pack("!I", 8))


@flood
def rapid_reset_within_an_upload(client: Http2Client) -> Iterator[bytes]:
    while True:
        head = client.head(get("/body", method="PUT"), ends=False)
        yield (
            head
            + frame(DATA, 0, client.last, b"x" * 10)
            + frame(RST_STREAM, 0, client.last, struct.pack("!I", 8))
        )


@flood
def malformed_requests(client: Http2Client) -> Iterator[bytes]:
    """CVE-2025-8671: it is the server that resets."""
    while True:
        yield client.head(get("/", ("connection", "x")))


@flood
def requests_that_http1_cannot_say(client: Http2Client) -> Iterator[bytes]:
    while True:
        yield client.head(get("/", ("host", "other.test")))


@flood
def more_streams_than_there_may_be(client: Http2Client) -> Iterator[bytes]:
    while True:
        yield client.head(get("/park"))


@flood
def settings(client: Http2Client) -> Iterator[bytes]:
    while True:
        yield frame(SETTINGS, 0, 0)


@flood
def settings_that_change(client: Http2Client) -> Iterator[bytes]:
    for size in itertools.cycle([0, 65_535]):
        yield frame(SETTINGS, 0, 0, struct.pack("!HIHI", 4, size, 1, size))


@flood
def pings(client: Http2Client) -> Iterator[bytes]:
    """CVE-2019-9512."""
    while True:
        yield frame(PING, 0, 0, b"12345678")


@flood
def window_updates(client: Http2Client) -> Iterator[bytes]:
    while True:
        yield frame(WINDOW, 0, 0, struct.pack("!I", 1))


@flood
def window_updates_of_a_stream(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park"))
    while True:
        yield frame(WINDOW, 0, 1, struct.pack("!I", 1))


@flood
def empty_data(client: Http2Client) -> Iterator[bytes]:
    """CVE-2019-9518."""
    yield client.head(get("/body", method="PUT"), ends=False)
    while True:
        yield frame(DATA, 0, 1)


@flood
def nothing_but_padding(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/body", method="PUT"), ends=False)
    while True:
        yield frame(DATA, PADDED, 1, bytes([200]) + bytes(200))


@flood
def mostly_padding(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/body", method="PUT"), ends=False)
    while True:
        yield frame(DATA, PADDED, 1, bytes([250]) + b"x" + bytes(250))


@flood
def data_of_closed_streams(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/body", method="PUT"), ends=False)
    yield frame(RST_STREAM, 0, 1, struct.pack("!I", 8))
    while True:
        yield frame(DATA, 0, 1, b"x" * 50)


@flood
def priorities_in_circles(client: Http2Client) -> Iterator[bytes]:
    for number in itertools.cycle(range(1, 2000, 2)):
        yield frame(PRIORITY, 0, number, struct.pack("!IB", (number + 2) % 2000, 1))


@flood
def priorities_of_idle_streams(client: Http2Client) -> Iterator[bytes]:
    for number in itertools.count(1, 2):
        yield frame(PRIORITY, 0, number, struct.pack("!IB", 0, 255))


@flood
def priority_updates_of_idle_streams(client: Http2Client) -> Iterator[bytes]:
    """RFC 9218 section 7.1."""
    for number in itertools.count(1, 2):
        yield frame(0x10, 0, 0, struct.pack("!I", number) + b"u=1")


@flood
def unknown_frames(client: Http2Client) -> Iterator[bytes]:
    while True:
        yield frame(0x77, 0, 0, bytes(100))


@flood
def goaways(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park"))
    while True:
        yield frame(GOAWAY, 0, 0, bytes(8) + b"debug" * 10)


@flood
def interleaved(client: Http2Client) -> Iterator[bytes]:
    """Requests that are answered pay for no flood beside them."""
    while True:
        yield client.head(get("/", ("x", "y" * 30)))
        yield frame(PING, 0, 0, b"12345678") * 50


# === faults: the connection is over at once ===


@fault(PROTOCOL)
def no_window(client: Http2Client) -> Iterator[bytes]:
    yield frame(WINDOW, 0, 0, bytes(4))


@fault(PROTOCOL)
def no_window_of_a_stream(client: Http2Client) -> Iterator[bytes]:
    """CVE-2025-8671: were it the stream's error, it would be free."""
    yield client.head(get("/park"))
    yield frame(WINDOW, 0, 1, bytes(4))


@fault(FLOW)
def too_large_a_window(client: Http2Client) -> Iterator[bytes]:
    yield frame(WINDOW, 0, 0, struct.pack("!I", 2**31 - 1))


@fault(FLOW)
def too_large_a_window_of_a_stream(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park"))
    yield frame(WINDOW, 0, 1, struct.pack("!I", 2**31 - 1))


@fault(FLOW)
def a_window_beyond_all(client: Http2Client) -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 2**31))


@fault(FLOW)
def windows_that_grow_beyond_all(client: Http2Client) -> Iterator[bytes]:
    """A change of the initial size that makes one overflow (section 6.9.2)."""
    yield client.head(get("/park"))
    yield frame(WINDOW, 0, 1, struct.pack("!I", 2**31 - 1 - 65_535))
    yield frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65_536))


@fault(FLOW)
def more_than_the_window(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park", method="PUT"), ends=False)
    for _ in range(10):
        yield frame(DATA, 0, 1, bytes(16_384))


@fault(CLOSED)
def data_behind_the_end(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park"))
    yield frame(DATA, 0, 1, b"x")


@fault(CLOSED)
def a_head_behind_the_end(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park"))
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(get()))


@fault(PROTOCOL)
def data_of_an_idle_stream(client: Http2Client) -> Iterator[bytes]:
    yield frame(DATA, 0, 7, b"x")


@fault(PROTOCOL)
def reset_of_an_idle_stream(client: Http2Client) -> Iterator[bytes]:
    yield frame(RST_STREAM, 0, 7, bytes(4))


@fault(PROTOCOL)
def a_stream_of_the_servers(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_HEADERS | END_STREAM, 2, literal(get()))


@fault(PROTOCOL)
def a_pushed_stream(client: Http2Client) -> Iterator[bytes]:
    yield frame(PUSH, END_HEADERS, 1, struct.pack("!I", 2) + literal(get()))


@fault(PROTOCOL)
def a_stream_that_depends_on_itself(client: Http2Client) -> Iterator[bytes]:
    block = struct.pack("!IB", 1, 1) + literal(get())
    yield frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, block)


@fault(CALM)
def endless_continuations(client: Http2Client) -> Iterator[bytes]:
    """CVE-2024-27316 and its kin."""
    yield frame(HEADERS, END_STREAM, 1, literal(get()))
    while True:
        yield frame(MORE, 0, 1, literal([("a", "b")]))


@fault(CALM)
def endless_empty_continuations(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1)
    while True:
        yield frame(MORE, 0, 1)


@fault(PROTOCOL)
def something_between_continuations(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, literal(get()))
    yield frame(PING, 0, 0, bytes(8))


@fault(CALM)
def an_hpack_bomb(client: Http2Client) -> Iterator[bytes]:
    """One entry fills the table, and each byte after it is that entry again."""
    yield client.head(get("/", ("bomb", "b" * 4000)))
    yield frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xbe" * 16_000)


@fault(CALM)
def an_hpack_bomb_of_many_fields(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x90" * 16_000)


@fault(COMPRESSION)
def a_field_of_no_table(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\x0f")


@fault(COMPRESSION)
def a_table_beyond_its_limit(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x03\x82")


@fault(COMPRESSION)
def a_field_that_is_cut(client: Http2Client) -> Iterator[bytes]:
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(get())[:-3])


@fault(SIZE)
def a_frame_beyond_its_limit(client: Http2Client) -> Iterator[bytes]:
    yield frame(DATA, 0, 1, bytes(16_385))


@fault(SIZE)
def a_ping_of_another_size(client: Http2Client) -> Iterator[bytes]:
    yield frame(PING, 0, 0, b"1234567")


@fault(SIZE)
def settings_of_another_size(client: Http2Client) -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 0, b"1234567")


@fault(PROTOCOL)
def settings_of_a_stream(client: Http2Client) -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 1)


@fault(PROTOCOL)
def more_padding_than_there_is(client: Http2Client) -> Iterator[bytes]:
    yield client.head(get("/park", method="PUT"), ends=False)
    yield frame(DATA, PADDED, 1, bytes([200]) + b"x")


@fault(PROTOCOL)
def a_frame_size_below_the_least(client: Http2Client) -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 0, struct.pack("!HI", 5, 1))


# === the tests ===


@attrs.define
class Victim:
    """A server, what it does, and what was done to it."""

    begun: int = 0
    gone: int = 0

    def handle(self, exchange: Exchange) -> None:
        self.begun += 1
        if exchange.path == b"/park":
            exchange.park(60, lambda ex: None, lambda ex: self._left())
        elif exchange.path == b"/body":
            exchange.collect(1_000_000, lambda ex, body: ex.respond(Response(200)))
        else:
            exchange.respond(Response(200, b"served"))

    def _left(self) -> None:
        self.gone += 1


def resident() -> int:
    """Give this process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def attack(client: Http2Client, pieces: Iterator[bytes]) -> int:
    """Send until the server closes; give the code of its GOAWAY."""
    sent = 0
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            nonlocal sent
            try:
                while True:
                    batch = b"".join(itertools.islice(pieces, 200))
                    if not batch:
                        return
                    await client.send(batch)
                    sent += len(batch)
                    await trio.lowlevel.checkpoint()
                    assert sent < 20 * BURST, "it may go on for ever"
            except trio.BrokenResourceError:
                return

        nursery.start_soon(send)
        code = await client.wait_closed()
        nursery.cancel_scope.cancel()
    return code


async def settled(server: HttpServer, connections: int) -> None:
    with trio.fail_after(30):
        while server.connections > connections:
            await trio.sleep(0.01)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_connection_only(
    authority: Authority, name: str
) -> None:
    victim = Victim()
    limits = Limits(linger_s=0.05)
    async with serving_http2(victim.handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as other:
            await other.fetch()
            before = resident()
            async with http2_client(server, authority) as client:
                code = await attack(client, FLOODS[name](client))
            assert code in (CALM, INTERNAL, PROTOCOL), code
            assert sum(server.connection_errors.values()) == 1
            assert (await other.fetch()).body == b"served"
            await settled(server, 1)
            assert not server.exchanges
            assert resident() - before < 48 * 1024 * 1024
    if "reset" in name:
        assert victim.begun < 500
    assert victim.gone <= victim.begun


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_its_connection_with_its_code(
    authority: Authority, name: str
) -> None:
    victim = Victim()
    code, faulty = FAULTS[name]
    limits = Limits(linger_s=0.05)
    async with serving_http2(victim.handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as other:
            await other.fetch()
            async with http2_client(server, authority) as client:
                assert await attack(client, faulty(client)) == code
            assert sum(server.connection_errors.values()) == 1
            assert (await other.fetch()).body == b"served"
            await settled(server, 1)
            assert not server.exchanges
    assert victim.gone <= victim.begun


async def test_streams_beyond_the_limit_are_refused_alone(authority: Authority) -> None:
    victim = Victim()
    async with serving_http2(
        victim.handle, authority, limits=Limits(streams=5)
    ) as server:
        async with http2_client(server, authority) as client:
            await client.send(b"".join(client.head(get("/park")) for _ in range(8)))
            await client.wait_over(11, 13, 15)
            assert {client.streams[one].reset for one in (11, 13, 15)} == {7}
            await client.reset(1)
            assert (await client.fetch()).body == b"served"
    assert victim.begun == 6


async def test_a_busy_client_is_no_flood(authority: Authority) -> None:
    """Thousands of requests, windows opened in small steps, some pings, some resets."""
    victim = Victim()
    async with serving_http2(victim.handle, authority) as server:
        async with http2_client(server, authority) as client:
            for count in range(60):
                streams = [await client.ask() for _ in range(50)]
                await client.wait_over(*streams)
                await client.send(frame(PING, 0, 0, bytes(8)))
                if not count % 4:
                    await client.reset(await client.ask("/park"))
            await client.wait(lambda: client.pongs == 60)
    assert victim.begun == 3000 + 15
    assert victim.gone == 15


async def test_a_client_that_pings_is_idle_all_the_same(authority: Authority) -> None:
    limits = Limits(idle_s=0.3)
    async with serving_http2(Victim().handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as client:
            await client.fetch()

            async def ping() -> None:
                while True:
                    await client.send(frame(PING, 0, 0, bytes(8)))
                    await trio.sleep(0.02)

            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ping)
                    assert await client.wait_closed() == 0
                    nursery.cancel_scope.cancel()
        assert not server.connection_errors


@pytest.mark.parametrize("piece", [b"", frame(HEADERS, 0, 1, literal(get()))[:20]])
async def test_a_first_request_has_a_time(authority: Authority, piece: bytes) -> None:
    """Also one whose head is begun."""
    limits = Limits(head_s=0.2)
    async with serving_http2(Victim().handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as client:
            await client.send(piece)
            assert await client.wait_closed(within_s=5) == 0


HALVES: dict[str, Callable[[Http2Client], bytes]] = {
    "head": lambda client: client.head(get())[:12],
    "length": lambda client: client.head(get())[:2],
    "continuation": lambda client: frame(
        HEADERS, END_STREAM, client.last + 2, literal(get())
    ),
    "behind a ping": lambda client: (
        frame(PING, 0, 0, bytes(8)) + client.head(get())[:12]
    ),
}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("with_request", [False, True])
async def test_a_further_request_has_a_time_too(
    authority: Authority, kind: str, *, with_request: bool
) -> None:
    """What is half-sent on a used connection, behind a request or later, is no idleness."""
    limits = Limits(head_s=0.5, idle_s=60)
    async with serving_http2(Victim().handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as client:
            assert (await client.fetch()).status == 200
            client.reads = False  # a window that it opens would go on with the frame
            begin = client.head(get()) if with_request else b""
            await client.send(begin + HALVES[kind](client))
            assert await client.wait_closed(within_s=5) == 0


async def test_what_is_whole_again_may_be_idle(authority: Authority) -> None:
    limits = Limits(head_s=0.3, idle_s=60)
    async with serving_http2(Victim().handle, authority, limits=limits) as server:
        async with http2_client(server, authority) as client:
            assert (await client.fetch()).status == 200
            room = frame(WINDOW, 0, 0, struct.pack("!I", 100))
            await client.send(room[:5])
            await client.idle(0.1)
            await client.send(room[5:])
            await client.idle(1.0)
            assert not client.closed
            assert (await client.fetch()).status == 200


async def test_a_client_that_takes_nothing_of_the_connection_is_closed(
    authority: Authority,
) -> None:
    """Its socket is full, so no GOAWAY can be told; what was queued is dropped."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, bytes(8_000_000)))

    limits = Limits(write_s=0.3)
    async with serving_http2(handle, authority, limits=limits) as server:
        async with http2_client(server, authority, window=2**31 - 1) as client:
            await client.open_window(0, 2**31 - 1 - 65_535)
            for _ in range(4):
                await client.ask()
            await trio.sleep(0.2)
            await settled(server, 0)
