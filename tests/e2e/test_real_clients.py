"""Clients that others wrote, through the proxy: curl, wrk and the websockets package."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from http_trio import (
    Exchange,
    ForwardHooks,
    HttpServer,
    Response,
    Upstream,
    forward,
    serve,
)
from http_trio.testing.peers import proxying, serving

LARGE = os.urandom(3_000_000)


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


# === the versions behind the proxy ===


def origin(exchange: Exchange) -> None:
    if exchange.path == b"/large":
        _large(exchange)
    elif exchange.path == b"/agent":
        exchange.respond(Response(200, exchange.header(b"user-agent") or b"none"))
    else:
        exchange.collect(10_000_000, _digest)


def _large(exchange: Exchange) -> None:
    match = re.fullmatch(rb"bytes=(\d+)-(\d+)", exchange.header(b"range") or b"")
    if match is None:
        exchange.respond(Response(200, LARGE, b"application/octet-stream"))
        return
    first, last = int(match[1]), int(match[2])
    extent = b"bytes %d-%d/%d" % (first, last, len(LARGE))
    part = LARGE[first : last + 1]
    exchange.respond(Response(206, part, headers=((b"Content-Range", extent),)))


def _digest(exchange: Exchange, body: bytes) -> None:
    told = f"{exchange.method} {len(body)} {hashlib.sha256(body).hexdigest()}"
    exchange.respond(Response(200, told.encode()))


def told(method: str, body: bytes) -> str:
    return f"{method} {len(body)} {hashlib.sha256(body).hexdigest()}"


def upstream_at(address: str) -> Upstream:
    host, _, port = address.rpartition(":")
    return Upstream(address, [(trio.socket.AF_INET, (host, int(port)))], b"origin")


@asynccontextmanager
async def proxied() -> AsyncIterator[HttpServer]:
    async with serving(origin) as behind:
        async with proxying(upstream_at(behind.addresses[0])) as proxy:
            yield proxy


async def run(*words: object, stdin: bytes = b"") -> str:
    with trio.fail_after(30):
        done = await trio.run_process(
            [str(word) for word in words], capture_stdout=True, stdin=stdin
        )
    return done.stdout.decode("latin-1")


curl = partial(run, "curl", "--silent", "--show-error", "--max-time", "20")


# === curl ===


@needs("curl")
async def test_curl_keeps_its_connection() -> None:
    async with proxied() as proxy:
        urls = [f"{proxy.url}/{n}" for n in range(3)]
        out = await curl(
            "-o/dev/null", "-o/dev/null", "-o/dev/null", *urls, "-w%{num_connects} "
        )
        assert out.split() == ["1", "0", "0"]


@needs("curl")
async def test_curl_in_http10_gets_its_response_and_a_close() -> None:
    async with proxied() as proxy:
        out = await curl("--http1.0", "-i", f"{proxy.url}/agent")
        head, _, body = out.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 ")
        assert "\r\nConnection: close" in head
        assert body.startswith("curl/")


@needs("curl")
async def test_curl_asks_for_the_head() -> None:
    async with proxied() as proxy:
        out = await curl("--head", f"{proxy.url}/large")
        assert f"\r\nContent-Length: {len(LARGE)}\r\n" in out


@needs("curl")
async def test_curl_uploads_in_chunks() -> None:
    body = os.urandom(300_000)
    async with proxied() as proxy:
        out = await curl("--upload-file", "-", f"{proxy.url}/up", stdin=body)
        assert out == told("PUT", body)


@needs("curl")
@pytest.mark.parametrize("size", [10, 2_000_000])
async def test_curl_awaits_100_before_it_uploads(size: int, tmp_path: Path) -> None:
    body = os.urandom(size)
    file = tmp_path / "body"
    file.write_bytes(body)
    words = ("--data-binary", f"@{file}", "-H", "Expect: 100-continue")
    async with proxied() as proxy:
        assert await curl(*words, f"{proxy.url}/up") == told("POST", body)


@needs("curl")
async def test_curl_downloads_all_and_a_range(tmp_path: Path) -> None:
    file = tmp_path / "all"
    async with proxied() as proxy:
        await curl("-o", file, f"{proxy.url}/large")
        assert file.read_bytes() == LARGE
        part = await curl("--range", "100-199", f"{proxy.url}/large")
        assert part.encode("latin-1") == LARGE[100:200]


@needs("curl")
async def test_curl_comes_by_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(origin) as behind, trio.open_nursery() as nursery:
        upstream = upstream_at(behind.addresses[0])

        def handler(exchange: Exchange) -> None:
            forward(exchange, upstream, ForwardHooks())

        await nursery.start(partial(serve, handler, [f"unix:{path}"]))
        out = await curl("--unix-socket", path, "http://any/agent")
        assert out.startswith("curl/")
        nursery.cancel_scope.cancel()


# === wrk ===


@needs("wrk")
async def test_wrk_sees_no_error() -> None:
    async with proxied() as proxy:
        out = await run("wrk", "-t1", "-c32", "-d1s", f"{proxy.url}/agent")
        assert int(re.findall(r"(\d+) requests in", out)[0]) > 100
        assert "Non-2xx" not in out
        assert "Socket errors" not in out


# === WebSocket ===


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        if message == "bye":
            connection.close(4001, "as you wish")
        else:
            connection.send(message)


@contextmanager
def echoing() -> Iterator[str]:
    """Run a WebSocket server that repeats what it hears; give its address."""
    with serve_websockets(_echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            host, port = server.socket.getsockname()[:2]
            yield f"{host}:{port}"
        finally:
            server.shutdown()
            thread.join()


def _talk(connection: ClientConnection) -> None:
    connection.send("hello")
    assert connection.recv() == "hello"
    assert connection.ping().wait(10)
    large = os.urandom(2_000_000)
    connection.send(large)
    assert connection.recv() == large
    connection.send(part for part in ("in ", "many ", "parts"))
    assert connection.recv() == "in many parts"


def _hear_its_close(connection: ClientConnection) -> None:
    connection.send("bye")
    with pytest.raises(ConnectionClosed) as caught:
        connection.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as you wish")


def _close_first(connection: ClientConnection) -> None:
    connection.close(4002, "enough")
    assert connection.close_code == 4002


@pytest.mark.parametrize("say", [_talk, _hear_its_close, _close_first])
async def test_a_websocket_through_the_proxy(
    say: Callable[[ClientConnection], None],
) -> None:
    def client(url: str) -> None:
        with connect(url, max_size=None, proxy=None) as connection:
            say(connection)

    with echoing() as address:
        async with proxying(upstream_at(address)) as proxy:
            url = proxy.url.replace("http://", "ws://")
            await trio.to_thread.run_sync(client, url)
            with trio.fail_after(40):
                while proxy.connections:
                    await trio.sleep(0.01)
