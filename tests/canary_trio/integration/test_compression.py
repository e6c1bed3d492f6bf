"""Compressed responses over real sockets: whole, large, slow, cut, and to HTTP/2."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.mirror_counters import MirrorOutcome
from canary_trio.telemetry.observer import Observer
from canary_trio.testing import Proxied, arm, proxied
from http_trio import serve
from http_trio.http1.chunked import ChunkedReader
from http_trio.http1.fields import find_value
from http_trio.proxy.codings.coders import CODINGS
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    Script,
    connected,
    fake_upstream,
)
from tests.http_trio.support.h2_server import H2Request, h2_server

TEXT = b"Content-Type: text/plain"
ACCEPT = b"Accept-Encoding: gzip"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
)
LARGE = b"".join(b"%d and some words\n" % n for n in range(200_000))  # 4 MB
EVENTS = {"types": ["text/event-stream", "text/plain"], "codings": ["gzip"]}


def sends(body: bytes, *lines: bytes) -> Script:
    async def script(asked: ReceivedRequest) -> None:
        await asked.response(body, TEXT, *lines)

    return script


async def read_coded(client: RawClient) -> tuple[bytes, bytes]:
    """Read a chunked response to its end; give its head, and its content decoded."""
    head = await client.head()
    reader, decode = ChunkedReader(10_000), zlib.decompressobj(31)
    content = b""
    while not reader.done:
        line = await client.until(b"\r\n")
        data = await client.exactly(int(line, 16) + 2)
        content += decode.decompress(reader.feed(line + b"\r\n" + data))
    assert decode.eof
    return head, content


async def ask(client: RawClient, *lines: bytes) -> None:
    fields = b"\r\n".join([b"GET / HTTP/1.1", b"Host: h", ACCEPT, *lines])
    await client.send(fields + b"\r\n\r\n")


@pytest.mark.parametrize("size", [2000, 17_000, 70_000, len(LARGE)])
async def test_what_is_asked_for_is_compressed(size: int) -> None:
    async with fake_upstream(sends(LARGE[:size], b'ETag: "a"')) as fake:
        async with proxied(
            {"canary": arm(fake, compress=True), "stable": arm(fake)}
        ) as p:
            async with connected(p.server) as client:
                for _ in range(2):  # both connections live on
                    await ask(client)
                    head, content = await read_coded(client)
                    assert content == LARGE[:size]
                    assert find_value(head, b"content-encoding") == b"gzip"
                    assert find_value(head, b"content-length") is None
                    assert find_value(head, b"etag") == b'W/"a"'
    assert fake.connections == 1


async def test_without_being_asked_nothing_changes() -> None:
    async with fake_upstream(sends(LARGE[:5000])) as fake:
        arms = {"canary": arm(fake, compress=True), "stable": arm(fake)}
        async with proxied(arms) as p, connected(p.server) as client:
            head, body = await client.ask()
            assert body == LARGE[:5000]
            assert find_value(head, b"vary") == b"Accept-Encoding"
            await p.install({"ratio": 0, "arms": arms})
            await ask(client)
            head, body = await client.response()
            assert body == LARGE[:5000]
            assert find_value(head, b"vary") is None


@pytest.mark.parametrize("size", [1, 20_000], ids=["event loop", "slow path"])
async def test_each_part_of_a_slow_stream_comes_at_once(size: int) -> None:
    go_on = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(CHUNKED + b"Trailer: X-Sum\r\n\r\n")
        for _ in range(3):
            await asked.stream.send_all(b"%x\r\n%b\r\n" % (size, b"a" * size))
            await go_on.wait()
        await asked.stream.send_all(b"0\r\nX-Sum: 1\r\n\r\n")

    async with fake_upstream(script) as fake:
        arms = {"stable": arm(fake, compress=EVENTS)}
        async with proxied(arms, ratio=0) as p, connected(p.server) as client:
            await ask(client, b"TE: trailers")
            await client.head()
            reader, decode = ChunkedReader(10_000), zlib.decompressobj(31)
            content = b""
            while len(content) < size:  # while nothing more is sent
                line = await client.until(b"\r\n")
                data = await client.exactly(int(line, 16) + 2)
                content += decode.decompress(reader.feed(line + b"\r\n" + data))
            assert content == b"a" * size
            go_on.set()
            end = b"0\r\nX-Sum: 1\r\n\r\n"
            rest = await client.until(end)
            content += decode.decompress(reader.feed(rest + end))
            assert content == b"a" * 3 * size
            assert reader.trailers == [b"X-Sum: 1"]


@pytest.mark.parametrize("size", [100, 100_000], ids=["event loop", "slow path"])
async def test_what_the_server_cuts_is_cut(size: int) -> None:
    async def script(asked: ReceivedRequest) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n" + TEXT
        await asked.stream.send_all(head + b"\r\n\r\n" + b"a" * size)
        await asked.stream.aclose()
        raise trio.ClosedResourceError

    async with fake_upstream(script) as fake:
        arms = {"stable": arm(fake, compress=EVENTS)}
        async with proxied(arms, ratio=0) as p, connected(p.server) as client:
            await ask(client)
            data = await client.to_end()
    reader, decode = ChunkedReader(10_000), zlib.decompressobj(31)
    decode.decompress(reader.feed(data.partition(b"\r\n\r\n")[2]))
    assert not reader.done
    assert not decode.eof


async def test_a_client_that_reads_nothing_holds_the_server_up() -> None:
    sent = 0

    async def script(asked: ReceivedRequest) -> None:
        nonlocal sent
        await asked.stream.send_all(CHUNKED + b"\r\n")
        while sent < 200:
            noise = os.urandom(100_000)  # which does not get smaller
            await asked.stream.send_all(b"%x\r\n%b\r\n" % (len(noise), noise))
            sent += 1
        await asked.stream.send_all(b"0\r\n\r\n")

    async with fake_upstream(script) as fake:
        arms = {"stable": arm(fake, compress=EVENTS)}
        async with proxied(arms, ratio=0) as p, connected(p.server) as client:
            await ask(client)
            before = -1
            while before != sent:
                before = sent
                await trio.sleep(0.3)
            assert 0 < sent < 200
            _, content = await read_coded(client)
            assert len(content) == 200 * 100_000


@pytest.mark.parametrize("size", [3000, 300_000])
async def test_what_comes_over_http2_is_compressed_too(size: int) -> None:
    async def script(asked: H2Request) -> None:
        head = [(b":status", b"200"), (b"content-type", b"text/plain")]
        await asked.answer(LARGE[:size], head)

    async with h2_server(script) as server:
        arms = {"stable": arm(f"h2c://127.0.0.1:{server.port}", compress=EVENTS)}
        async with proxied(arms, ratio=0) as p, connected(p.server) as client:
            for _ in range(2):
                await ask(client)
                assert (await read_coded(client))[1] == LARGE[:size]


async def test_the_log_has_the_bytes_that_went_out(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    runtime = Runtime("web", observer=Observer(log))
    async with fake_upstream(sends(LARGE[:50_000])) as fake, trio.open_nursery() as n:
        n.start_soon(log.run)
        server = await n.start(partial(serve, ProxyHandler(runtime), ["127.0.0.1:0"]))
        arms = {"stable": arm(fake, compress=EVENTS)}
        await Proxied(server, runtime).install({"arms": arms})
        async with connected(server) as client:
            await ask(client, b"Connection: close")
            went_out = (await client.to_end()).partition(b"\r\n\r\n")[2]
        n.cancel_scope.cancel()
    (line,) = (tmp_path / "log").read_text().splitlines()
    reader = ChunkedReader(10_000)
    assert json.loads(line)["bytes"] == len(reader.feed(went_out)) < 25_000


async def test_copies_are_compared_by_what_servers_sent() -> None:
    sends_it = sends(LARGE[:5000])
    async with fake_upstream(sends_it) as fake, fake_upstream(sends_it) as other:
        arms = {"stable": arm(fake, compress=EVENTS), "canary": arm(other)}
        mirror = {"arm": "canary"}
        async with proxied(arms, ratio=0, mirror=mirror) as p:
            async with connected(p.server) as client:
                await ask(client)
                await read_coded(client)
            learnt = p.runtime.observer.mirror_counters.of_arm("canary")
            while not sum(learnt.outcomes.values()):
                await trio.sleep(0.01)
            assert {one: n for one, n in learnt.outcomes.items() if n} == {
                MirrorOutcome.SAME: 1
            }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("how", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("size", [3000, len(LARGE)])
async def test_curl_reads_it(tmp_path: Path, size: int, how: str) -> None:
    runtime = Runtime("web")
    async with (
        fake_upstream(sends(LARGE[:size])) as fake,
        trio.open_nursery() as nursery,
    ):
        start = partial(serve, ProxyHandler(runtime), [], h2c_binds=["127.0.0.1:0"])
        server = await nursery.start(start)
        await Proxied(server, runtime).install(
            {"arms": {"stable": arm(fake, compress=True)}}
        )
        port = server.addresses[0].rpartition(":")[2]
        ran = await trio.run_process(
            [
                *("curl", "-s", "--compressed", how, "-o", str(tmp_path / "body")),
                *("-w", "%{size_download} %header{content-encoding}"),
                f"http://127.0.0.1:{port}/",
            ],
            capture_stdout=True,
        )
        nursery.cancel_scope.cancel()
    count, coding = ran.stdout.decode().split()
    assert (tmp_path / "body").read_bytes() == LARGE[:size]
    assert int(count) < size / 2
    assert coding.encode() in CODINGS
