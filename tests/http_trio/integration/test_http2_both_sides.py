"""HTTP/2 at the client's side and at the server's: what HTTP/1.1 in between must not cost.

Frames that a test writes itself on one side, `h2` as the server on the other.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h2.errors
import h2.settings
import pytest
import trio

from http_trio import Exchange, Failure, ForwardedRequest, ForwardHooks, forward
from http_trio.http1.response_head import ResponseHead
from http_trio.proxy.codings.compression import Compression
from http_trio.testing.peers import connected, fake_upstream, proxying
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.h2_server import H2Request, H2Server, Script, h2_server
from tests.http_trio.support.http2_peer import (
    ClientStream,
    Http2Client,
    get,
    http2_client,
    serving_http2,
)

WEBSOCKETS = int(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
CANCEL = int(h2.errors.ErrorCodes.CANCEL)
OPEN = [
    *get("/chat?a=b", method="CONNECT"),
    (":protocol", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "a, b"),
    ("sec-websocket-extensions", "permessage-deflate"),
    ("cookie", "c=d"),
]
ACCEPTED = [
    (b":status", b"200"),
    (b"sec-websocket-protocol", b"b"),
    (b"sec-websocket-extensions", b"permessage-deflate"),
]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def between(
    script: Script,
    authority: Authority,
    settings: dict[int, int] | None = None,
    hooks: ForwardHooks | None = None,
) -> AsyncIterator[tuple[Http2Client, H2Server]]:
    """Give a client of a proxy that stands in front of a server; both speak HTTP/2."""
    allowed = {WEBSOCKETS: 1} if settings is None else settings
    async with h2_server(script, settings=allowed) as server:
        upstream, told = server.upstream(), hooks or ForwardHooks()

        def handler(exchange: Exchange) -> None:
            forward(exchange, upstream, told)

        async with serving_http2(handler, authority) as proxy:
            async with http2_client(proxy, authority) as client:
                yield client, server
    assert not server.faults


async def open_websocket(client: Http2Client) -> tuple[int, ClientStream]:
    await client.send(client.head(OPEN, ends=False))
    number = client.last
    stream = client.streams[number]
    await client.wait(lambda: stream.has_head or stream.over)
    return number, stream


async def ask_beside(client: Http2Client) -> None:
    """See that the connection lives."""
    found = await client.fetch("/beside")
    assert (found.status, bytes(found.body)) == (200, b"beside")


def beside(script: Script) -> Script:
    """Give a script that answers other requests, too."""

    async def run(request: H2Request) -> None:
        if request.get(b":path") == b"/beside":
            await request.answer(b"beside")
        else:
            await script(request)

    return run


async def test_a_websocket_passes_as_it_is(authority: Authority) -> None:
    """Its fields, frames of any kind, whatever an extension makes of them, and pings."""
    up = b"\xc1\x83\1\2\3\4abc" + b"\x89\x81\0\0\0\0p" + b"\x02\x80\0\0\0\0"
    down = b"\xc1\x03abc" + b"\x89\x01p" + b"\x8a\x00" + b"\x02\x00"

    async def script(request: H2Request) -> None:
        await request.head(ACCEPTED)
        await request.wait(lambda request: len(request.body) >= len(up))
        await request.data(down)
        await request.whole()
        await request.data(b"\x88\x00", ended=True)

    async with between(beside(script), authority) as (client, server):
        number, stream = await open_websocket(client)
        await client.data(number, up)
        await client.wait(lambda: len(stream.body) >= len(down))
        await ask_beside(client)
        await client.data(number, b"", ends=True)
        await client.wait_over(number)
        await ask_beside(client)
    (head,) = stream.heads
    asked = dict(server.asked[0].fields)
    assert stream.body == down + b"\x88\x00"
    assert server.asked[0].body == up
    assert stream.ended
    assert head[b":status"] == b"200"
    assert head[b"sec-websocket-protocol"] == b"b"
    assert head[b"sec-websocket-extensions"] == b"permessage-deflate"
    assert b"sec-websocket-accept" not in head
    assert asked[b":method"] == b"CONNECT"
    assert asked[b":protocol"] == b"websocket"
    assert (asked[b":path"], asked[b":authority"]) == (b"/chat?a=b", b"a.test")
    assert (asked[b"sec-websocket-protocol"], asked[b"cookie"]) == (b"a, b", b"c=d")
    assert asked[b"sec-websocket-extensions"] == b"permessage-deflate"
    assert not {b"sec-websocket-key", b"connection", b"upgrade"} & {*asked}
    assert len(server.talks) == 1


End = Callable[[Http2Client, int, H2Request], Awaitable[None]]


async def client_ends(client: Http2Client, number: int, _: H2Request) -> None:
    await client.data(number, b"", ends=True)


async def client_resets(client: Http2Client, number: int, _: H2Request) -> None:
    await client.reset(number, CANCEL)


async def server_ends(_: Http2Client, __: int, request: H2Request) -> None:
    await request.data(b"\x88\x00", ended=True)


async def server_resets(_: Http2Client, __: int, request: H2Request) -> None:
    await request.cancel(CANCEL)


@pytest.mark.parametrize("end", [client_ends, client_resets])
async def test_a_client_that_leaves_its_websocket_lets_the_server_go(
    authority: Authority, end: End
) -> None:
    async def script(request: H2Request) -> None:
        await request.head(ACCEPTED)

    async with between(beside(script), authority) as (client, server):
        number, _ = await open_websocket(client)
        request = server.asked[0]
        await end(client, number, request)
        with trio.fail_after(30):
            await request.wait(lambda one: one.ended or one.reset is not None)
        await ask_beside(client)
        assert len(server.talks) == 1


@pytest.mark.parametrize("end", [server_ends, server_resets])
async def test_a_server_that_ends_a_websocket_ends_it_alone(
    authority: Authority, end: End
) -> None:
    async def script(request: H2Request) -> None:
        await request.head(ACCEPTED)

    async with between(beside(script), authority) as (client, server):
        number, stream = await open_websocket(client)
        await end(client, number, server.asked[0])
        if end is server_ends:  # half of it: the client may say its own goodbye
            await client.wait(lambda: bytes(stream.body) == b"\x88\x00")
            await client.data(number, b"\x88\x80\0\0\0\0", ends=True)
        await client.wait_over(number)
        assert stream.reset == (None if end is server_ends else CANCEL)
        await ask_beside(client)
        assert len(server.talks) == 1


async def test_much_passes_both_ways_at_once(authority: Authority) -> None:
    """More than any window, so that each side waits for the other's reading."""
    size = 400_000
    up = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + b"u" * size
    down = b"\x82\x7f" + size.to_bytes(8, "big") + b"d" * size

    async def script(request: H2Request) -> None:
        await request.head(ACCEPTED)
        await request.data(down)
        await request.whole()
        request.talk.h2.end_stream(request.stream_id)
        await request.talk.flush()

    async with between(script, authority) as (client, server):
        number, stream = await open_websocket(client)
        await client.send_all_of({number: up})
        await client.wait_over(number)
    assert bytes(stream.body) == down
    assert server.asked[0].body == up


async def test_a_server_may_refuse_a_websocket(authority: Authority) -> None:
    async def script(request: H2Request) -> None:
        await request.answer(b"no", [(b":status", b"403"), (b"content-length", b"2")])

    async with between(beside(script), authority) as (client, _):
        number, stream = await open_websocket(client)
        await client.wait_over(number)
        assert (stream.status, bytes(stream.body)) == (403, b"no")
        await ask_beside(client)


async def test_a_server_without_extended_connect_is_not_asked(
    authority: Authority,
) -> None:
    async def script(request: H2Request) -> None:
        await request.answer(b"beside")

    async with between(script, authority, settings={}) as (client, server):
        number, stream = await open_websocket(client)
        await client.wait_over(number)
        assert stream.status == 502
        await ask_beside(client)
    assert [one.get(b":method") for one in server.asked] == [b"GET"]


# === trailers behind a body that states its length (RFC 9113 section 8.1) ===

SIZES = [1, 1_000, 16_384, 65_536, 70_000, 400_000]
TE = ("te", "trailers")
SUM = [(b"x-sum", b"9"), (b"x-more", b"a:b")]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("size", SIZES)
async def test_trailers_of_a_response_with_a_length_pass(
    authority: Authority, size: int, *, late: bool
) -> None:
    body = b"r" * size

    async def script(request: H2Request) -> None:
        length = (b"content-length", b"%d" % size)
        await request.head([(b":status", b"200"), length])
        await request.data(body)
        if late:
            await trio.sleep(0.05)
        await request.end(SUM)

    async with between(beside(script), authority) as (client, _):
        for _ in range(2):
            found = await client.fetch_of(TE)
            assert found.heads[-1][b"content-length"] == b"%d" % size
            assert bytes(found.body) == body
            assert found.trailers == dict(SUM)
            assert found.ended
        await ask_beside(client)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_what_is_behind_a_length_of_zero_disturbs_nobody(
    authority: Authority, *, late: bool
) -> None:
    """A message without content goes on at once; what comes later is dropped."""

    async def script(request: H2Request) -> None:
        await request.head([(b":status", b"200"), (b"content-length", b"0")])
        if late:
            await trio.sleep(0.05)
        await request.end(SUM)

    async with between(beside(script), authority) as (client, server):
        for at in range(2):
            number = await client.ask(
                "/", ("content-length", "0"), TE, method="POST", ends=False
            )
            if late:
                await client.idle(0.05)
            await client.trailers(number, SUM)
            found = await client.wait_over(number)
            assert (found.status, bytes(found.body)) == (200, b"")
            assert found.heads[-1][b"content-length"] == b"0"
            assert not late or found.trailers is None
            assert server.asked[at].get(b"content-length") == b"0"
        await ask_beside(client)


async def test_trailers_of_a_response_go_to_who_takes_them(
    authority: Authority,
) -> None:
    """And none goes on that may not stand there (RFC 9110 section 6.5.1)."""

    async def script(request: H2Request) -> None:
        length = (b"content-length", b"2")
        await request.head([(b":status", b"200"), length])
        await request.data(b"ok")
        path = request.get(b":path")
        await request.end([*SUM[:1], (b"via", b"x")] if path == b"/" else SUM)

    async with between(script, authority) as (client, _):
        assert (await client.fetch_of(TE)).trailers == dict(SUM[:1])
        plain = await client.fetch("/other")
    assert (bytes(plain.body), plain.trailers) == (b"ok", None)
    assert plain.ended


class Compressing(ForwardHooks):
    """Compresses what is text."""

    reads_responses = True

    def on_response(self, request: ForwardedRequest, head: ResponseHead) -> None:
        rules = Compression(frozenset({b"text/plain"}))
        self.encoder = rules.begin(request.exchange.head, head)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_of_an_encoded_body_no_digest_passes(
    authority: Authority, *, late: bool
) -> None:
    body = b"r" * 5_000

    async def script(request: H2Request) -> None:
        kind, length = (b"content-type", b"text/plain"), (b"content-length", b"5000")
        await request.head([(b":status", b"200"), kind, length])
        await request.data(body)
        if late:
            await trio.sleep(0.05)
        await request.end([*SUM, (b"content-digest", b"sha-256=:eA==:")])

    async with between(script, authority, hooks=Compressing()) as (client, _):
        found = await client.fetch_of(TE, ("accept-encoding", "gzip"))
    assert gzip.decompress(bytes(found.body)) == body
    assert found.trailers == dict(SUM)


class Statuses(ForwardHooks):
    """Remembers what calls of gRPC came to."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int | None] = []

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        self.seen.append(request.grpc_status)


@pytest.mark.parametrize("size", [5, 70_000])
async def test_what_a_call_with_a_length_came_to_is_known(
    authority: Authority, size: int
) -> None:
    kind = (b"content-type", b"application/grpc")

    async def script(request: H2Request) -> None:
        await request.whole()
        length = (b"content-length", b"%d" % size)
        await request.head([(b":status", b"200"), kind, length])
        await request.data(b"r" * size)
        await request.end([(b"grpc-status", b"14"), (b"grpc-message", b"no")])

    hooks = Statuses()
    async with between(script, authority, hooks=hooks) as (client, _):
        number = await client.ask("/", kind, TE, method="POST")
        found = await client.wait_over(number)
    assert found.trailers == {b"grpc-status": b"14", b"grpc-message": b"no"}
    assert hooks.seen == [14]


@pytest.mark.parametrize("size", [2, 70_000])
async def test_a_response_that_breaks_off_before_its_trailers_is_cut(
    authority: Authority, size: int
) -> None:
    async def script(request: H2Request) -> None:
        length = (b"content-length", b"%d" % size)
        await request.head([(b":status", b"200"), length])
        await request.data(b"r" * size)
        await trio.sleep(0.02)
        await request.cancel(CANCEL)

    async with between(beside(script), authority) as (client, _):
        for _ in range(20):  # what is held of a window is given back
            found = await client.fetch_of(TE)
            assert found.reset is not None or found.status == 502
            assert len(found.body) < size
        await ask_beside(client)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("size", SIZES)
async def test_trailers_of_a_request_with_a_length_pass(
    authority: Authority, size: int, *, late: bool
) -> None:
    body = b"q" * size

    async def script(request: H2Request) -> None:
        await request.whole()
        await request.answer(b"ok")

    async with between(beside(script), authority) as (client, server):
        for at in range(2):
            length = ("content-length", str(size))
            number = await client.ask("/", length, method="POST", ends=False)
            await client.send_all_of({number: body}, ends=False)
            if late:
                await client.idle(0.05)
            await client.trailers(number, [*SUM, (b"via", b"evil")])
            found = await client.wait_over(number)
            assert bytes(found.body) == b"ok"
            asked = server.asked[at]
            assert asked.body == body
            assert asked.get(b"content-length") == b"%d" % size
            assert asked.trailers == SUM
        await ask_beside(client)


LARGE = [(b"x-large", b"l" * 9_000)]  # Limits.trailers is 8 KiB


@pytest.mark.parametrize("length", [True, False])
async def test_trailers_beyond_the_limit_are_an_error_of_their_stream(
    authority: Authority, *, length: bool
) -> None:
    lengths = [(b"content-length", b"2")] if length else []

    async def script(request: H2Request) -> None:
        if request.get(b":method") == b"GET":
            await request.head([(b":status", b"200"), *lengths])
            await request.data(b"ok")
            await request.end(LARGE)

    async with between(beside(script), authority) as (client, _):
        found = await client.fetch_of(TE)
        assert found.reset is not None or found.status == 502
        number = await client.ask("/", *lengths, method="POST", ends=False)
        await client.data(number, b"ok")
        await client.trailers(number, LARGE)
        found = await client.wait_over(number)
        assert found.reset is not None or found.status == 400
        await ask_beside(client)


class Strict(ForwardHooks):
    """Lets a client say only some things behind a body."""

    def passes_trailer(self, line: bytes) -> bool:
        return not line.startswith(b"x-more:")


@pytest.mark.parametrize("size", [10, 400_000])
async def test_who_forwards_decides_on_each_trailer_of_a_request(
    authority: Authority, size: int
) -> None:
    async def script(request: H2Request) -> None:
        await request.whole()
        await request.answer(b"ok")

    async with between(script, authority, hooks=Strict()) as (client, server):
        length = ("content-length", str(size))
        number = await client.ask("/", length, method="POST", ends=False)
        await client.send_all_of({number: b"q" * size}, ends=False)
        await client.trailers(number, SUM)
        await client.wait_over(number)
    assert server.asked[0].trailers == SUM[:1]


@pytest.mark.parametrize("size", [1, 70_000])
async def test_a_server_of_http1_gets_the_body_without_trailers(
    authority: Authority, size: int
) -> None:
    """A body that states its length has none there; the length is kept."""
    body = b"q" * size
    async with fake_upstream(lambda asked: asked.response(b"ok")) as fake:
        upstream, hooks = fake.upstream, ForwardHooks()

        def handler(exchange: Exchange) -> None:
            forward(exchange, upstream, hooks)

        async with serving_http2(handler, authority) as proxy:
            async with http2_client(proxy, authority) as client:
                for _ in range(2):
                    length = ("content-length", str(size))
                    number = await client.ask("/", length, method="POST", ends=False)
                    await client.send_all_of({number: body}, ends=False)
                    await client.trailers(number, SUM)
                    found = await client.wait_over(number)
                    assert bytes(found.body) == b"ok"
    assert [asked.body for asked in fake.asked] == [body] * 2
    assert all(b"x-sum" not in asked.head for asked in fake.asked)


@pytest.mark.parametrize("size", [1, 70_000, 400_000])
async def test_a_client_of_http1_gets_the_body_without_trailers(size: int) -> None:
    async def script(request: H2Request) -> None:
        length = (b"content-length", b"%d" % size)
        await request.head([(b":status", b"200"), length])
        await request.data(b"r" * size)
        await request.end(SUM)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            for _ in range(2):
                _, body = await client.ask(b"/", b"TE: trailers", b"Connection: TE")
                assert body == b"r" * size
    assert not server.faults
