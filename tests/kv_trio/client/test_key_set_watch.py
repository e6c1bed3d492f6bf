"""Following many keys: on a store that waits for them itself, and on one that does not."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from http_trio import Exchange, Response, forward, serve
from http_trio.proxy.hooks import ForwardHooks
from http_trio.upstream.pool import Upstream
from kv_trio import Client, KeySetWatch
from kv_trio.client.key_set_watch import MOST_KEYS, Changes
from kv_trio.testing import in_memory_store


@asynccontextmanager
async def other_store(client: Client) -> AsyncIterator[Client]:
    """Give a client of the same store as a Consul would be: it has no /v1/watch."""
    host, port = client.url.removeprefix("http://").split(":")
    upstream = Upstream("store", [(socket.AF_INET, (host, int(port)))], b"localhost")

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/v1/watch":
            exchange.respond(Response(404, b"no such endpoint"))
        else:
            forward(exchange, upstream, ForwardHooks())

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, handler, ["127.0.0.1:0"])
        async with Client(server.url) as other:
            yield other
        nursery.cancel_scope.cancel()


async def follow_all(client: Client, writer: Client) -> KeySetWatch:
    await writer.put("p/a", b"1")
    watch = KeySetWatch(client, ["p/a", "p/b"], wait_s=5)
    with trio.fail_after(30):
        first = await anext(watch)
        assert {key: e and e.value for key, e in first.items()} == {
            "p/a": b"1",
            "p/b": None,
        }
        await writer.put("p/b", b"2")
        await writer.put("p/other", b"x")
        changes = await anext(watch)
        assert {key: e and e.value for key, e in changes.items()} == {"p/b": b"2"}
        await writer.delete("p/a")
        assert await anext(watch) == {"p/a": None}
    return watch


async def test_on_a_store_that_waits_for_them() -> None:
    async with in_memory_store() as client:
        watch = await follow_all(client, client)
    assert not watch._by_prefix
    assert watch.reads == 3, "another key ends no poll"


async def test_on_a_store_that_does_not() -> None:
    async with in_memory_store() as client, other_store(client) as other:
        watch = await follow_all(other, client)
    assert watch._by_prefix


async def test_other_keys_are_followed_in_the_middle_of_a_poll() -> None:
    async with in_memory_store() as client, trio.open_nursery() as nursery:
        await client.put("a", b"1")
        await client.put("c", b"3")
        watch = KeySetWatch(client, ["a", "b"], wait_s=60)
        assert set(await anext(watch)) == {"a", "b"}

        async def change() -> None:
            await trio.sleep(0.05)
            watch.follow(["a", "c"])

        nursery.start_soon(change)
        with trio.fail_after(30):
            changes = await anext(watch)
        assert {key: e and e.value for key, e in changes.items()} == {"c": b"3"}


async def test_a_store_that_was_reset_is_read_anew() -> None:
    async with in_memory_store() as first, in_memory_store() as second:
        for number in range(20):
            await first.put("a", b"%d" % number)
        await second.put("a", b"new")
        watch = KeySetWatch(first, ["a"], wait_s=0.1)
        await anext(watch)
        watch._client = second
        with trio.fail_after(30):
            entry = (await anext(watch))["a"]
        assert entry is not None
        assert entry.value == b"new"


async def test_keys_have_a_bound() -> None:
    async with in_memory_store() as client:
        with pytest.raises(ValueError, match="expected at most"):
            KeySetWatch(client, map(str, range(MOST_KEYS + 1)))


async def test_one_change_costs_each_of_many_one_read() -> None:
    keys = [f"canary/s{n}/{what}" for n in range(500) for what in ("config", "secret")]
    async with in_memory_store() as client, trio.open_nursery() as nursery:
        await client.put(keys[0], b"0")
        watches = [KeySetWatch(client, keys, wait_s=60) for _ in range(20)]
        for watch in watches:
            assert len(await anext(watch)) == 1000
        before = sum(watch.reads for watch in watches)
        found: list[Changes] = []

        async def wait(watch: KeySetWatch) -> None:
            found.append(await anext(watch))

        for watch in watches:
            nursery.start_soon(wait, watch)
        await trio.sleep(1)
        assert not found
        await client.put(keys[7], b"1")
        with trio.fail_after(30):
            while len(found) < 20:
                await trio.sleep(0.01)
        assert sum(watch.reads for watch in watches) - before == 20
        assert {tuple(changes) for changes in found} == {(keys[7],)}
