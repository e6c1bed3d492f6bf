"""Load with faults over both protocols: requests, WebSockets, resets, at once.

`python -m tests.http_trio.integration.http2_chaos --seconds 60` for long (`make soak`);
`test_http2_chaos.py` for short. What must hold at the end is what `chaos.py` says.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import hashlib
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio
import trio.testing

from http_trio import Exchange, Limits, Upstream, forward
from http_trio.http2.connection import Http2Connection
from http_trio.http2.stream import Http2Stream
from http_trio.proxy.upstream_request import UpstreamRequest
from http_trio.server.connection import Connection
from http_trio.testing.peers import RawClient
from tests.http_trio.integration.chaos import Errors, content
from tests.http_trio.support.certificates import Authority, tls_client
from tests.http_trio.support.http2_peer import (
    ClientStream,
    Http2Client,
    http2_client,
    port_of,
    serving_http2,
)
from tests.http_trio.support.watched import Books, reset_stream

_SIZES = (0, 1, 100, 5_000, 70_000, 400_000)
CUT = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
_MESSAGE = 1000
ASKED = b"\x82\xfe\x03\xe8" + bytes(4) + b"m" * _MESSAGE
TOLD = b"\x82\x7e\x03\xe8" + b"m" * _MESSAGE
CONNECT = (
    *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https")),
    *((":path", "/ws"), (":authority", "a.test"), ("sec-websocket-version", "13")),
)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.define
class Tally:
    """What the clients saw."""

    right: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)


# === the upstream ===


async def serve_moody(stream: trio.SocketStream) -> None:
    """Answer, echo, cut, or be a WebSocket, by the path; one request a connection."""
    with contextlib.suppress(*CUT, AssertionError):
        client = RawClient(stream)
        head = await client.head()
        if b" /ws " in head:
            await _echo_messages(client, head)
        else:
            await _answer(client, head)
    await trio.aclose_forcefully(stream)


async def _answer(client: RawClient, head: bytes) -> None:
    _, size, mood = head.split(b" ")[1].split(b"/")
    body = content(int(size), int(size))
    if mood == b"cut":
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
        await client.send(start + body)
        await reset_stream(client.stream)
        return
    if head.startswith(b"PUT"):
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if not length:  # it is in chunks, and given up soon
            await client.to_end()
            return
        body = await client.exactly(int(length))
    await client.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)


async def _echo_messages(client: RawClient, head: bytes) -> None:
    key = head.lower().index(b"sec-websocket-key: ") + 19
    word = hashlib.sha1(head[key:].partition(b"\r")[0] + _GUID).digest()
    await client.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
        % base64.b64encode(word)
    )
    while await client.exactly(len(ASKED)):
        await client.send(TOLD)


# === the clients ===


async def live_http2(
    open_client: Callable[[], contextlib.AbstractAsyncContextManager[Http2Client]],
    chance: random.Random,
    tally: Tally,
    over: trio.Event,
    *,
    recalled: bool = False,
) -> None:
    """Ask until it is over; `recalled` says that a response without a length may be cut."""
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with open_client() as client:
                for _ in range(chance.randrange(1, 40)):
                    if over.is_set():
                        break
                    await _one_of_http2(client, chance, tally, recalled=recalled)


async def _one_of_http2(
    client: Http2Client, chance: random.Random, tally: Tally, *, recalled: bool
) -> None:
    size, kind = chance.choice(_SIZES), chance.randrange(10)
    body = content(size, size)
    if kind < 4:
        streams = [
            await client.ask(f"/{size}/good") for _ in range(chance.randrange(1, 8))
        ]
        await client.wait_over(*streams)
        for stream in streams:
            found = client.streams[stream]
            cut = recalled and _is_cut(found, body)
            _judge(cut or found.body == body, f"GET {size} over HTTP/2", tally)
    elif kind < 6:
        length = ("content-length", str(size))
        stream = await client.ask("/1/good", length, method="PUT", ends=not size)
        if size:
            await client.send_all_of({stream: body})
        found = await client.wait_over(stream)
        cut = recalled and _is_cut(found, body)
        _judge(cut or found.body == body, f"PUT {size} over HTTP/2", tally)
    elif kind == 6:
        stream = await client.ask(f"/{size}/cut")
        found = await client.wait_over(stream)
        _judge(found.reset is not None or found.status == 502, "a cut", tally)
    elif kind == 7:
        stream = await client.ask(f"/{size}/good", method="PUT", ends=False)
        await client.idle(chance.random() / 50)
        await client.reset(stream)
        tally.right["reset"] += 1
    else:
        await client.send(client.head(CONNECT, ends=False))
        stream = client.last
        await client.wait(lambda: client.streams[stream].status == 200)
        for count in range(1, chance.randrange(2, 6)):
            await client.data(stream, ASKED)
            wanted = count * len(TOLD)
            state = client.streams[stream]
            await client.wait(partial(_has, state, wanted))
        _judge(client.streams[stream].body == TOLD * count, "WebSocket, HTTP/2", tally)
        if chance.random() < 0.5:
            await client.reset(stream)
        else:
            await client.data(stream, b"", ends=True)
            await client.wait_over(stream)


async def live_http1(
    port: int,
    authority: Authority,
    chance: random.Random,
    tally: Tally,
    over: trio.Event,
    *,
    recalled: bool = False,
) -> None:
    """Ask until it is over; `recalled` as above."""
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with tls_client(port, authority.trusting()) as client:
                if chance.random() < 0.3:
                    await client.send(UPGRADE)
                    await client.head()
                    for _ in range(3):
                        await client.send(ASKED)
                        told = await client.exactly(len(TOLD))
                        _judge(told == TOLD, "WebSocket, HTTP/1.1", tally)
                    continue
                size = chance.choice(_SIZES)
                sent = content(size, size)
                head = b"PUT /1/good HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % size
                await client.send(head + sent)
                if chance.random() < 0.2:
                    continue  # and is gone
                await client.head()
                found = await client.to_end()
                cut = recalled and sent.startswith(found)
                _judge(cut or found == sent, f"PUT {size}, HTTP/1.0", tally)


def _has(stream: ClientStream, size: int) -> bool:
    return len(stream.body) >= size


def _is_cut(stream: ClientStream, body: bytes) -> bool:
    """Tell whether a response was cut, its client sees it, and what came is right."""
    return stream.reset is not None and body.startswith(stream.body)


def _judge(right: bool, what: str, tally: Tally) -> None:
    if right:
        tally.right[what.partition(" ")[0]] += 1
    else:
        tally.wrong.append(what)


# === the whole ===


def left() -> tuple[int, int, int]:
    """Give the descriptors, tasks and objects that there are."""
    gc.collect()
    kinds = (Exchange, UpstreamRequest, Connection, Http2Connection, Http2Stream)
    return (
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        trio.lowlevel.current_statistics().tasks_living,
        sum(isinstance(one, kinds) for one in gc.get_objects()),
    )


async def run(clients: int, seconds: float, seed: int, directory: Path) -> Tally:
    """Let them loose, and check what is left.

    Raises:
        AssertionError: something is.
    """
    tally, books, over = Tally(), Books(), trio.Event()
    authority = Authority(directory)
    limits = Limits(linger_s=0.2, half_closed_s=1, idle_s=2)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(trio.serve_listeners, serve_moody, listeners)
        address = listeners[0].socket.getsockname()
        upstream = Upstream("moody", [(trio.socket.AF_INET, address)], b"moody")

        def handler(exchange: Exchange) -> None:
            books.begun += 1
            forward(exchange, upstream, books)

        async with serving_http2(handler, authority, limits=limits) as proxy:
            await trio.testing.wait_all_tasks_blocked(0.05)
            before = left()
            async with trio.open_nursery() as living:
                for number in range(clients):
                    chance = random.Random(seed * clients + number)
                    if number % 3:
                        opening = partial(http2_client, proxy, authority)
                        living.start_soon(live_http2, opening, chance, tally, over)
                    else:
                        living.start_soon(
                            live_http1, port_of(proxy), authority, chance, tally, over
                        )
                await trio.sleep(seconds)
                over.set()
                living.cancel_scope.deadline = trio.current_time() + 2
            with trio.fail_after(60):
                while proxy.connections or upstream.open != len(upstream.idle):
                    await trio.sleep(0.05)
            upstream.close_idle()
            with trio.fail_after(30):
                while left() > before:
                    await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert not tally.wrong, tally.wrong[:10]
    assert len(books.ends) == books.begun
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    errors = Errors()
    logging.getLogger().addHandler(errors)
    print(f"HTTP/2 beside HTTP/1.1, {options.seconds:g} s, seed {options.seed}")
    with tempfile.TemporaryDirectory() as directory:
        start = partial(run, options.connections, options.seconds, options.seed)
        tally = trio.run(start, Path(directory))
    print(", ".join(f"{count} {what}" for what, count in tally.right.most_common()))
    if errors.seen:
        sys.exit(f"{len(errors.seen)} errors were logged, the first: {errors.seen[0]}")
    print("all right; no descriptor, task, stream or exchange is left")


if __name__ == "__main__":
    main()
