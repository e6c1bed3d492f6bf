"""Large responses over real sockets: others are served between, and slow readers cost little."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from http_trio import Limits
from http_trio.testing.peers import RawClient, connected
from kv_trio import KvServer, StoreLimits, serve
from kv_trio.serving import LIMITS, STORE_LIMITS
from kv_trio.state.operations import Put
from kv_trio.state.write_batch import WriteBatch
from kv_trio.watch import large_responses
from kv_trio.watch.large_responses import AHEAD

VALUE = 20_000
COUNT = 400  # of such values, so a listing of 10 MB


@asynccontextmanager
async def served(
    store_limits: StoreLimits = STORE_LIMITS, *, limits: Limits = LIMITS
) -> AsyncIterator[KvServer]:
    async with trio.open_nursery() as nursery:
        start = partial(
            serve, ["127.0.0.1:0"], store_limits=store_limits, limits=limits
        )
        server: KvServer = await nursery.start(start)
        fill(server, COUNT, VALUE)
        yield server
        nursery.cancel_scope.cancel()


def fill(server: KvServer, count: int, size: int) -> None:
    """Write keys at once, without a request for each."""
    write_batch = WriteBatch(server.store)
    for n in range(count):
        write_batch.apply(Put(b"p/%05d" % n, b"v" * size), 0.0)
    server.store.publish(write_batch, 0.0)


def ask(path: bytes, *more: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (path, b"".join(more))


STREAM = b"Accept: text/event-stream\r\n"
LARGE: dict[str, Callable[[], bytes]] = {
    "recurse": lambda: ask(b"/v1/kv/p/?recurse"),
    "pretty": lambda: ask(b"/v1/kv/?recurse&pretty"),
    "events": lambda: ask(b"/v1/kv/p/?recurse", STREAM),
}


@pytest.mark.parametrize("what", LARGE)
async def test_a_reader_that_does_not_read_costs_one_piece_and_stops_nobody(
    what: str,
) -> None:
    async with served() as server, AsyncExitStack() as stack:
        silent = [
            await stack.enter_async_context(connected(server._server))
            for _ in range(20)
        ]
        for client in silent:
            await client.stream.send_all(LARGE[what]())
        quiet = await stack.enter_async_context(connected(server._server))
        for _ in range(200):
            head, _ = await quiet.ask(b"/v1/kv/p/00007?raw")
            assert b" 200 " in head
        with trio.fail_after(20):  # until all have as much as they get
            while min(behind := behinds(server), default=0) <= AHEAD:
                await trio.sleep(0.01)
        assert len(behind) == len(silent)
        assert max(behind) < AHEAD + 200_000


def behinds(server: KvServer) -> list[int]:
    return [one.behind for one in server._server.exchanges]


async def test_a_listing_is_of_one_state_though_all_is_written_meanwhile() -> None:
    async with (
        served() as server,
        connected(server._server) as reader,
        connected(server._server) as w,
    ):
        index = server.store.index
        await reader.stream.send_all(LARGE["recurse"]())
        first = await reader.stream.receive_some(1000)  # it has begun
        for n in range(0, COUNT, 40):
            await w.ask(b"/v1/kv/p/%05d" % n, method=b"PUT", body=b"new")
        await w.ask(b"/v1/kv/p/0?recurse", method=b"DELETE")
        body = await read_chunks(reader, first)
        entries = json.loads(body)
    assert len(entries) == COUNT
    assert {len(entry["Value"]) for entry in entries} == {(VALUE + 2) // 3 * 4}
    assert max(entry["ModifyIndex"] for entry in entries) == index
    assert b"X-Consul-Index: %d\r\n" % index in first


async def read_chunks(client: RawClient, data: bytes) -> bytes:
    while not data.endswith(b"\r\n0\r\n\r\n"):
        received = await client.stream.receive_some(1 << 20)
        assert received, "it was cut"
        data += received
    rest, body = data.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


async def test_who_finds_no_place_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_responses, "PLACE_S", 0.05)
    limits = StoreLimits(listings=2)  # of which a client may have one
    async with served(limits) as server, connected(server._server) as one:
        await one.stream.send_all(LARGE["recurse"]())
        await one.stream.receive_some(1000)
        async with connected(server._server) as other:
            head, body = await other.ask(b"/v1/kv/p/?recurse")
            assert b" 429 " in head
            assert b"Retry-After: 1\r\n" in head
            assert b"--limit listings=NUMBER" in body
            head, _ = await other.ask(b"/v1/kv/p/00007?recurse")  # a small one
            assert b" 200 " in head


async def test_a_reader_that_is_too_slow_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_responses, "LEAST_RATE", 1e12)
    quick = attrs.evolve(LIMITS, write_s=0.3)
    async with served(limits=quick) as server, connected(server._server) as slow:
        await slow.stream.send_all(LARGE["recurse"]())
        received = 0
        with trio.fail_after(30), contextlib.suppress(trio.BrokenResourceError):
            while data := await slow.stream.receive_some(30_000):  # never quite silent
                received += len(data)
                await trio.sleep(0.02)
        assert received < COUNT * VALUE
        assert not server._server.exchanges


@pytest.mark.parametrize(
    ("limits", "path", "words"),
    [
        (
            StoreLimits(listing_entries=399),
            b"/v1/kv/p/?recurse",
            b"400 entries, and one",
        ),
        (
            StoreLimits(listing_entries=2000),
            b"/v1/kv/q/?keys",
            b"2500 entries, and one",
        ),
        (StoreLimits(listing_bytes=9_000_000), b"/v1/kv/p/?recurse", b"bytes or more"),
    ],
)
async def test_what_is_too_large_is_refused_with_words(
    limits: StoreLimits, path: bytes, words: bytes
) -> None:
    async with served(limits) as server, connected(server._server) as client:
        write_batch = WriteBatch(server.store)
        for n in range(2500):
            write_batch.apply(Put(b"q/%05d" % n, b""), 0.0)
        server.store.publish(write_batch, 0.0)
        head, body = await client.ask(path)
        assert b" 413 " in head
        assert words in body
        assert (
            b"narrow the prefix, or raise the store's limit: --limit listing_" in body
        )


async def test_many_who_watch_a_large_prefix_all_get_it() -> None:
    async with served() as server, AsyncExitStack() as stack:
        index = server.store.index_under(b"p/")
        watchers = [
            await stack.enter_async_context(connected(server._server))
            for _ in range(10)
        ]
        query = ask(b"/v1/kv/p/?recurse&index=%d&wait=60s" % index)
        for watcher in watchers:
            await watcher.stream.send_all(query)
        while len(server.blocking_queries) < len(watchers):
            await trio.sleep(0.01)
        async with connected(server._server) as writer:
            await writer.ask(b"/v1/kv/p/00001", method=b"PUT", body=b"new")
        for watcher in watchers:
            entries = json.loads(await read_chunks(watcher, b""))
            assert len(entries) == COUNT
            assert entries[1]["ModifyIndex"] == index + 1
        assert len(server.blocking_queries) == 0


async def test_a_client_has_a_share_of_the_watchers() -> None:
    limits = StoreLimits(watchers_per_client=3)
    async with served(limits) as server, AsyncExitStack() as stack:
        index = b"?index=%d" % server.store.index
        paths = [
            ask(b"/v1/kv/p/00001" + index),
            ask(b"/v1/kv/p/00002", STREAM),
            ask(b"/v1/session/list" + index),
        ]
        clients = [
            await stack.enter_async_context(connected(server._server)) for _ in paths
        ]
        for client, path in zip(clients, paths, strict=True):
            await client.stream.send_all(path)
        while len(server.blocking_queries) < 2:
            await trio.sleep(0.01)
        await clients[1].stream.receive_some(10)
        refused = await stack.enter_async_context(connected(server._server))
        for path in (b"/v1/kv/a", b"/v1/session/list"):
            head, body = await refused.ask(path + index)
            assert b" 429 " in head
            assert b"3 requests from 127.0.0.1 wait already, and 3 may" in body
        await refused.stream.send_all(paths[1])
        assert b" 429 " in await refused.stream.receive_some(1000)
        await trio.aclose_forcefully(clients[0].stream)  # then there is a place
        while len(server.blocking_queries) > 1:
            await trio.sleep(0.01)
        last = await stack.enter_async_context(connected(server._server))
        await last.stream.send_all(ask(b"/v1/kv/a" + index))
        while len(server.blocking_queries) < 2:
            await trio.sleep(0.01)
