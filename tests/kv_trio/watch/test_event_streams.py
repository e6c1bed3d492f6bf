"""Event streams over real sockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from kv_trio import Client, KvServer, StoreDamaged, TxnOperation, serve
from kv_trio.storage.history import History
from kv_trio.watch import event_streams as events


@attrs.frozen
class Event:
    kind: str
    data: dict[str, Any]
    id: str

    @property
    def short(self) -> tuple[str, str | None]:
        return self.kind, self.data.get("Key")


@attrs.define
class Lines:
    """The lines of a response, over a socket of its own."""

    stream: trio.SocketStream
    buffer: bytes = b""

    async def next(self) -> str | None:
        with trio.fail_after(20):
            while b"\n" not in self.buffer:
                data = await self.stream.receive_some()
                if not data:
                    return None
                self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode().rstrip("\r")


@attrs.define
class Events:
    lines: Lines

    async def next(self) -> Event:
        fields: dict[str, str] = {}
        while (line := await self.lines.next()) is not None:
            name, _, value = line.partition(": ")
            if line == "" and "data" in fields:
                data = json.loads(fields["data"])
                return Event(fields["event"], data, fields.get("id", ""))
            fields[name] = value
        raise AssertionError("the stream ended")

    async def some(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]


@attrs.define
class Store:
    server: KvServer
    client: Client

    @asynccontextmanager
    async def events(self, target: str, last_id: str = "") -> AsyncIterator[Events]:
        """Ask in HTTP/1.0, whose responses have no chunks."""
        host, _, port = self.server.addresses[0].rpartition(":")
        fields = "Accept: text/event-stream\r\n"
        if last_id:
            fields += f"Last-Event-ID: {last_id}\r\n"
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            head = f"GET /v1/kv/{target} HTTP/1.0\r\n{fields}\r\n"
            await stream.send_all(head.encode())
            lines = Lines(stream)
            assert await lines.next() == "HTTP/1.1 200 OK"
            while await lines.next():
                pass
            yield Events(lines)


@pytest.fixture
async def store(nursery: trio.Nursery) -> AsyncIterator[Store]:
    server = await nursery.start(partial(serve, ["127.0.0.1:0"]))
    async with Client(server.url) as client:
        yield Store(server, client)


async def test_a_stream_begins_with_the_present(store: Store) -> None:
    await store.client.put("p/b", b"1")
    await store.client.put("p/a", b"2")
    await store.client.put("q", b"3")
    async with store.events("p/?recurse") as events:
        await store.client.delete("p/b")
        await store.client.put("q", b"4")
        await store.client.put("p/c", b"5")
        found = await events.some(4)

    assert [event.short for event in found] == [
        ("put", "p/b"),
        ("put", "p/a"),
        ("delete", "p/b"),
        ("put", "p/c"),
    ]
    ids = [int(event.id) for event in found]
    assert ids == sorted(ids) == [event.data["ModifyIndex"] for event in found]


async def test_a_client_that_comes_back_goes_on_where_it_was(store: Store) -> None:
    first = (await store.client.put("k", b"1")).index
    for n in range(2, 6):
        await store.client.put("k", b"%d" % n)
    await store.client.delete("k")

    async with store.events("k", last_id=str(first)) as events:
        by_header = await events.some(5)
    async with store.events(f"k?index={first}") as events:
        by_index = await events.some(5)

    assert [event.kind for event in by_header] == ["put"] * 4 + ["delete"]
    assert by_header == by_index


async def test_a_transaction_has_one_id_at_its_end(store: Store) -> None:
    async with store.events("?recurse") as events:
        await store.client.transact(
            [TxnOperation("set", k, b"x") for k in ("a", "b", "c")]
        )
        found = await events.some(3)
    assert [event.id for event in found[:2]] == ["", ""]
    assert int(found[2].id) == found[0].data["ModifyIndex"]


async def test_what_is_forgotten_is_reported_and_the_present_follows(
    store: Store,
) -> None:
    first = (await store.client.put("k", b"1")).index
    last = (await store.client.put("k", b"2")).index
    await store.client.compact()

    async with store.events(f"k?index={first}") as events:
        reset, present = await events.some(2)

    assert (reset.kind, reset.data) == ("reset", {"Oldest": last})
    assert present.id == str(last)


async def test_nothing_is_lost_or_doubled_while_clients_come_and_go(
    store: Store,
) -> None:
    """Writers write all the time; a client that is cut off now and then sees it all."""
    total = 200
    seen: list[int] = []

    async def write() -> None:
        for n in range(total):
            await store.client.put("k", b"%d" % n)

    first = (await store.client.put("k", b"begin")).index
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        last_id = str(first)
        while len(seen) < total:
            async with store.events("k", last_id=last_id) as events:
                for event in await events.some(min(7, total - len(seen))):
                    seen.append(int(event.id))
                    last_id = event.id
    assert seen == list(range(first + 1, first + 1 + total))


async def test_a_quiet_stream_shows_that_it_lives(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    async with store.events("k") as stream:
        assert await stream.lines.next() == ":"


async def test_a_client_that_reads_nothing_is_cut_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEHIND", 100_000)
    async with store.events("k") as stream:
        for n in range(40):  # the kernel's buffers take several megabytes
            await store.client.put("k", bytes([n]) * 500_000)
        received = 0
        with contextlib.suppress(trio.BrokenResourceError):
            while line := await stream.lines.next():
                received += len(line)
    assert received < 40 * 500_000


async def test_a_stream_whose_past_cannot_be_read_is_cut_and_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreDamaged("the history cannot be read")

    first = (await store.client.put("k", b"1")).index
    monkeypatch.setattr(History, "since", fail)
    async with store.events(f"k?index={first}") as events:
        with pytest.raises(trio.BrokenResourceError):  # no end that looks like one
            await events.lines.next()
    metrics = await store.client._transport.request("GET", "/metrics", {}, limit=10**6)
    assert b"kv_trio_streams 0.0\n" in metrics.body
    assert not store.server.blocking_queries.counts._counts


async def test_a_drain_ends_a_stream(store: Store) -> None:
    async with store.events("k") as stream:
        store.server.drain()
        assert await stream.lines.next() is None
