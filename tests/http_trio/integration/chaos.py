"""Load with faults: many clients, good and bad, through a proxy to a moody upstream.

`python -m tests.http_trio.integration.chaos --seconds 60 --connections 200` for long (`make soak`);
`test_chaos.py` for short. What must hold at the end: each healthy exchange was right to
the last byte, nothing was logged as an error, and of descriptors, tasks, connections and
exchanges none is left.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import logging
import os
import random
import sys
from collections.abc import Awaitable, Callable

import attrs
import trio
import trio.testing

from http_trio import Exchange, Limits, Upstream, forward
from http_trio.http1.chunked import LAST_CHUNK, encode_chunk
from http_trio.proxy.upstream_request import UpstreamRequest
from http_trio.server.connection import Connection
from http_trio.testing.peers import RawClient, serving
from http_trio.upstream.connection import UpstreamConnection
from tests.http_trio.support.watched import Books, reset, reset_stream

_PATTERN = bytes(range(256)) * 8192
_SIZES = (0, 1, 100, 100, 1_000, 5_000, 20_000, 70_000, 400_000)
_CUT = (trio.BrokenResourceError, trio.ClosedResourceError, AssertionError)


def content(size: int, seed: int) -> bytes:
    """Give the body that a healthy exchange has."""
    return _PATTERN[seed % 256 : seed % 256 + size]


# === the upstream ===


async def _good(stream: trio.SocketStream, words: list[bytes], body: bytes) -> bool:
    size, seed, framing = int(words[1]), int(words[2]), words[3]
    response = body or content(size, seed)
    if framing == b"length":
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(response)
        await stream.send_all(head + response)
        return True
    if framing == b"close":
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + response)
        return False
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(response), 30_000):
        await stream.send_all(encode_chunk(response[at : at + 30_000]))
    await stream.send_all(LAST_CHUNK)
    return True


_BROKEN = {
    b"silent": b"",
    b"half-head": b"HTTP/1.1 200 OK\r\nX",
    b"half-body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    b"half-much": b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000,
    b"half-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    b"garbage": b"\x00\xffgarbage\r\n\r\n",
    b"bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"too-much": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
}


async def serve_moody(stream: trio.SocketStream) -> None:
    """Respond well, or badly in one of many ways, as the path says."""
    client = RawClient(stream)
    with contextlib.suppress(*_CUT):
        while True:
            head = await client.head()
            words = head.split(b" ")[1].split(b"/")[1:]
            body = await _read_body(client, head)
            if words[0] == b"good":
                if not await _good(stream, words, body):
                    break
                continue
            await stream.send_all(_BROKEN[words[0]])
            if words[1] == b"reset":
                await reset_stream(stream)
            elif words[1] == b"stall":
                await stream.receive_some()
            break
    await trio.aclose_forcefully(stream)


async def _read_body(client: RawClient, head: bytes) -> bytes:
    if b"\r\nTransfer-Encoding: chunked" in head:
        body = b""
        while size := int(await client.until(b"\r\n"), 16):
            body += await client.exactly(size)
            await client.exactly(2)
        await client.exactly(2)
        return body
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return await client.exactly(int(line[15:]))
    return b""


# === the clients ===


@attrs.define
class Tally:
    """What the clients saw."""

    healthy: int = 0
    wrong: list[str] = attrs.field(factory=list)
    others: collections.Counter[str] = attrs.field(factory=collections.Counter)


async def _healthy(client: RawClient, chance: random.Random, tally: Tally) -> bool:
    size, seed = chance.choice(_SIZES), chance.randrange(1000)
    framing = chance.choice([b"length", b"chunks", b"close"])
    sent = content(size, seed)
    path = b"/good/%d/%d/%b" % (size, seed, framing)
    kind = chance.choice(["GET", "length", "chunks"])
    if kind == "GET":
        await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
    elif kind == "length":
        head = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (
            path,
            size,
        )
        await client.send(head + sent)
    else:
        head = (
            b"PUT %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        )
        await client.send(head)
        for at in range(0, size, 50_000):
            await client.send(encode_chunk(sent[at : at + 50_000]))
        await client.send(LAST_CHUNK)
    head = await client.head()
    body = await _read_body(client, head)
    if not head.startswith(b"HTTP/1.1 200 ") or body != sent:
        tally.wrong.append(f"{kind} {path!r}: {head[:40]!r}, {len(body)} bytes")
    tally.healthy += 1
    return b"Connection: close" not in head


async def _unhealthy(client: RawClient, chance: random.Random, tally: Tally) -> bool:
    name = chance.choice([*_BROKEN])
    then = chance.choice([*(b"close", b"reset") * 4, b"stall"])
    method = chance.choice([b"GET", b"POST"])
    head = b"%b /%b/%b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    await client.send(head % (method, name, then))
    response = await client.head()
    tally.others[response[9:12].decode()] += 1
    if name in (b"silent", b"half-head", b"garbage", b"two-lengths"):
        if response[9:12] not in (b"502", b"504"):
            tally.wrong.append(f"{name!r} {then!r}: {response[:40]!r}")
        await _read_body(client, response)
        return b"Connection: close" not in response
    return False


async def _vanish(client: RawClient, chance: random.Random, tally: Tally) -> bool:
    raw = (
        b"PUT /good/70000/1/length HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n"
    )
    raw = chance.choice([raw, b"GET /good/400000/1/length HTTP/1.1\r\nHost: h\r\n\r\n"])
    await client.send(raw[: chance.randrange(len(raw) + 1)])
    await trio.sleep(chance.random() / 100)
    if chance.random() < 0.5:
        await reset(client)
    tally.others["vanished"] += 1
    return False


_MOODS: tuple[Callable[[RawClient, random.Random, Tally], Awaitable[bool]], ...] = (
    *(_healthy,) * 7,
    *(_unhealthy,) * 2,
    _vanish,
)


async def live(port: int, seed: int, tally: Tally, over: trio.Event) -> None:
    """Ask, well or badly, until it is over."""
    chance = random.Random(seed)
    while not over.is_set():
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        client = RawClient(stream)
        mood = chance.choice(_MOODS)
        try:
            while await mood(client, chance, tally) and not over.is_set():
                mood = chance.choice(_MOODS)
        except _CUT as exc:
            if mood is _healthy:
                tally.wrong.append(f"cut: {exc!r}")
            tally.others["cut"] += 1
        finally:
            await trio.aclose_forcefully(stream)


# === the whole ===


@attrs.frozen
class Left:
    """What is there besides the proxy itself."""

    descriptors: int
    tasks: int
    objects: int

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        kinds = (Exchange, UpstreamRequest, Connection, UpstreamConnection)
        return cls(
            descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            tasks=trio.lowlevel.current_statistics().tasks_living,
            objects=sum(isinstance(one, kinds) for one in gc.get_objects()),
        )


async def run(connections: int, seconds: float, seed: int, wait_s: float) -> Tally:
    """Let them loose, and check what is left.

    Args:
        connections: clients at a time.
        seconds: for how long.
        seed: what they do.
        wait_s: how long a stalled peer is waited for; more than a healthy exchange takes
            where all of them share one processor.

    Raises:
        AssertionError: something is.
    """
    tally, books, over = Tally(), Books(), trio.Event()
    limits = Limits(
        response_s=wait_s,
        stream_idle_s=wait_s,
        write_s=wait_s,
        half_closed_s=1,
        linger_s=0.2,
    )
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(trio.serve_listeners, serve_moody, listeners)
        address = listeners[0].socket.getsockname()
        upstream = Upstream("moody", [(trio.socket.AF_INET, address)], b"moody")

        def handler(exchange: Exchange) -> None:
            books.begun += 1
            forward(exchange, upstream, books)

        async with serving(handler, limits) as proxy:
            await trio.testing.wait_all_tasks_blocked(0.05)
            before = Left.now()
            async with trio.open_nursery() as clients:
                port = int(proxy.addresses[0].rpartition(":")[2])
                for number in range(connections):
                    one = seed * connections + number
                    clients.start_soon(live, port, one, tally, over)
                await trio.sleep(seconds)
                over.set()
                clients.cancel_scope.deadline = trio.current_time() + 1
            with trio.fail_after(30 + wait_s):
                while proxy.connections or upstream.open != len(upstream.idle):
                    await trio.sleep(0.05)
            upstream.close_idle()
            with trio.fail_after(30):
                while Left.now() != before:
                    await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert not tally.wrong, tally.wrong[:10]
    assert len(books.ends) == books.begun
    return tally


class Errors(logging.Handler):
    """What was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    errors = Errors()
    logging.getLogger().addHandler(errors)
    print(
        f"{options.connections} connections, {options.seconds:g} s, seed {options.seed}"
    )
    tally = trio.run(run, options.connections, options.seconds, options.seed, 10)
    others = ", ".join(f"{count} {what}" for what, count in tally.others.most_common())
    print(f"{tally.healthy} healthy exchanges, all right; the others: {others}")
    if errors.seen:
        sys.exit(f"{len(errors.seen)} errors were logged, the first: {errors.seen[0]}")
    print("nothing logged as an error; no descriptor, task or exchange is left")


if __name__ == "__main__":
    main()
