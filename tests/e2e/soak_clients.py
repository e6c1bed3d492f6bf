"""The clients of `soak.py` that no other test has: slow readers, long WebSockets, gRPC.

Each asks until it is told that it is over, and writes what it saw into a tally.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import grpc
import trio

from http_trio.testing.peers import RawClient
from tests.http_trio.integration.chaos import content
from tests.http_trio.integration.http2_chaos import (
    ASKED,
    CONNECT,
    CUT,
    TOLD,
    UPGRADE,
    Tally,
)
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.grpc_peers import GrpcClient, grpc_client
from tests.http_trio.support.http2_peer import ClientStream, Http2Client

Opening = Callable[[], contextlib.AbstractAsyncContextManager[Http2Client]]

RESTART = b"\x88\x02\x03\xf4"
LARGE = 400_000
_LOST = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
"""How a call may end that was recalled, or that we gave up."""


def judge(right: bool, what: str, tally: Tally) -> None:
    if right:
        tally.right[what] += 1
    else:
        tally.wrong.append(what)


@contextlib.asynccontextmanager
async def open_http2(
    port: int, authority: Authority | None = None
) -> AsyncIterator[Http2Client]:
    """Connect, over TLS where an authority is given."""
    with trio.fail_after(60):
        stream: Any = await trio.open_tcp_stream("127.0.0.1", port)
        if authority is not None:
            stream = trio.SSLStream(
                stream,
                authority.trusting("h2"),
                server_hostname="localhost",
                https_compatible=True,
            )
        try:
            client = Http2Client(stream)
            await client.begin()
            yield client
        finally:
            await trio.aclose_forcefully(stream)


# === slow readers ===


async def live_slow_http1(
    port: int, chance: random.Random, tally: Tally, over: trio.Event
) -> None:
    """Read a large response in small pieces, or leave in the middle of it."""
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET /%d/good HTTP/1.0\r\n\r\n" % LARGE)
                data, left = bytearray(), chance.random() < 0.3
                while piece := await stream.receive_some(20_000):
                    data += piece
                    await trio.sleep(chance.random() / 20)
                    if left and len(data) > LARGE / 2:
                        break
                body = bytes(data.partition(b"\r\n\r\n")[2])
                judge(content(LARGE, LARGE).startswith(body), "slow HTTP/1.1", tally)


async def live_slow_http2(
    opening: Opening, chance: random.Random, tally: Tally, over: trio.Event
) -> None:
    """Let several responses stand, then read them, reset them, or leave."""
    body = content(LARGE, LARGE)
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with opening() as client:
                client.reads = False
                streams = [await client.ask(f"/{LARGE}/good") for _ in range(4)]
                await client.idle(1.5 * chance.random())
                kind = chance.randrange(3)
                if kind == 0:
                    continue  # and is gone
                for stream in streams:
                    if kind == 1:
                        await client.reset(stream)
                    else:
                        await client.open_window(stream, LARGE)
                if kind == 2:
                    await client.open_window(0, 4 * LARGE)
                    await client.wait_over(*streams, within_s=20)
                for stream in streams:
                    found = client.streams[stream]
                    whole = found.body == body or found.reset is not None or kind == 1
                    right = whole and body.startswith(found.body)
                    judge(right, "slow HTTP/2", tally)


# === WebSockets that live until they are recalled ===


async def live_websocket_http1(port: int, tally: Tally, over: trio.Event) -> None:
    """Send and read until the proxy says that it restarts."""
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                client = RawClient(stream)
                await client.send(UPGRADE)
                await client.head()
                while not over.is_set():
                    await client.send(ASKED)
                    found = await client.exactly(len(RESTART))
                    if found == RESTART:
                        tally.right["recalled WebSockets, HTTP/1.1"] += 1
                        break
                    found += await client.exactly(len(TOLD) - len(RESTART))
                    judge(found == TOLD, "long WebSocket, HTTP/1.1", tally)
                    await trio.sleep(0.02)


async def live_websocket_http2(
    opening: Opening, tally: Tally, over: trio.Event
) -> None:
    """Do so on a stream."""
    while not over.is_set():
        with contextlib.suppress(*CUT):
            async with opening() as client:
                await client.send(client.head(CONNECT, ends=False))
                number = client.last
                stream = client.streams[number]
                await client.wait(partial(bool, stream.heads))
                while not over.is_set():
                    await client.data(number, ASKED)
                    await client.wait(partial(_is_answered, stream))
                    found = bytes(stream.body)
                    if found.endswith(RESTART):
                        right = found in {RESTART, TOLD + RESTART}
                        judge(right, "recalled WebSockets, HTTP/2", tally)
                        break
                    judge(found == TOLD, "long WebSocket, HTTP/2", tally)
                    del stream.body[: len(found)]
                    await client.idle(0.02)


def _is_answered(stream: ClientStream) -> bool:
    return len(stream.body) >= len(TOLD) or stream.body == RESTART or stream.over


# === gRPC, in threads ===


def live_grpc(
    port: int,
    ca: bytes | None,
    chance: random.Random,
    tally: Tally,
    over: threading.Event,
) -> None:
    """Call until it is over: one answer for one message, or streams both ways."""
    while not over.is_set():
        with grpc_client(port, ca) as client:
            for _ in range(chance.randrange(1, 60)):
                if over.is_set():
                    return
                try:
                    _call(client, chance, tally)
                except grpc.RpcError as exc:
                    right = exc.code() in _LOST
                    judge(right, f"gRPC: {exc.code()} {exc.details()}", tally)


def _call(client: GrpcClient, chance: random.Random, tally: Tally) -> None:
    if chance.random() < 0.6:
        message = chance.randbytes(chance.choice((0, 10, 70_000)))
        found = client.call("unary")(message, timeout=20)
        judge(found == message[::-1], "unary calls", tally)
        return
    messages = [b"m%d" % number for number in range(chance.randrange(1, 20))]

    def sent() -> Iterator[bytes]:
        for message in messages:
            time.sleep(chance.random() / 100)
            yield message

    given_up = chance.random() < 0.3
    call = client.call("two_way")(sent(), timeout=20)
    got = []
    for message in call:
        got.append(message)
        if given_up:
            call.cancel()
            tally.right["calls given up"] += 1
            return
    judge(got == [one.upper() for one in messages], "two-way calls", tally)
