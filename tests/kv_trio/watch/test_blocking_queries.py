"""Blocking queries: no state is missed, and nobody waits in vain."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from http_trio import Exchange, Response
from http_trio.testing.peers import connected
from kv_trio import Client, KvServer, Listing, StoreLimits, serve
from kv_trio.consul.encode import index_of, render_read
from kv_trio.consul.listing import SMALL_ITEMS
from kv_trio.consul.parameters import Read
from kv_trio.state.acl import EVERYTHING, Acl
from kv_trio.state.entry import Entry, Session
from kv_trio.state.operations import CreateSession, Delete, Put
from kv_trio.state.store import Store
from kv_trio.state.txn import Transaction
from kv_trio.state.txn_operation import TxnOperation
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage.engine import StorageEngine
from kv_trio.testing import in_memory_store
from kv_trio.watch.blocking_queries import BlockingQueries, gather, must_wait

# === no state is missed: every response ever given, against every later state ===

KEY = st.sampled_from([b"a", b"a/1", b"a/2", b"b"])
TXN_OPERATION = st.builds(
    TxnOperation,
    st.sampled_from(["set", "delete", "delete-tree", "cas"]),
    KEY,
    value=st.sampled_from([b"x", b"y"]),
    index=st.integers(0, 8),
)
OPERATION = st.one_of(
    st.builds(Put, KEY, st.sampled_from([b"", b"x", b"y"])),
    st.builds(Put, KEY, st.just(b"l"), acquire=st.just("s")),
    st.builds(Delete, KEY, recurse=st.booleans()),
    st.builds(
        Transaction,
        st.lists(TXN_OPERATION, max_size=3).map(tuple),
        acl=st.just(EVERYTHING),
    ),
)
BATCHES = st.lists(st.lists(OPERATION, min_size=1, max_size=3), max_size=12)
READS = [
    *(Read(key) for key in (b"a", b"a/1", b"b", b"none")),
    *(Read(prefix, recurse=True) for prefix in (b"", b"a", b"a/", b"none")),
]


def given_index(response: Response) -> int:
    return int(dict(response.headers)[b"X-Consul-Index"])


def content(store: Store, read: Read) -> list[Entry | None]:
    if read.is_prefix:
        return list(store.under(read.key))
    return [store.get(read.key)]


@given(BATCHES, st.sets(st.integers(0, 12)), st.booleans())
def test_a_watcher_waits_only_if_it_knows_the_present_state(
    batches: list[list[Operation]], restarts: set[int], forgetful: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if forgetful:
            patch.setattr("kv_trio.state.write_batch.TOMBSTONES", 1)
        engine = StorageEngine(None)
        store = engine.load()
        responses: list[tuple[Read, int, list[Entry | None]]] = []
        first: list[Operation] = [CreateSession(Session("s"))]
        for number, batch in enumerate([first, *batches]):
            for read in READS:
                response = render_read(store, read, EVERYTHING)
                responses.append((read, given_index(response), content(store, read)))
            write_batch = WriteBatch(store)
            for operation in batch:
                write_batch.apply(operation, 0.0)
            if write_batch.changed:
                write_batch.fold_tombstones(store)
                engine.commit(write_batch)
                store.publish(write_batch, 0.0)
            if number in restarts:
                store = engine.load()
            for read, index, known in responses:
                if must_wait(store, index, index_of(store, read)):
                    assert known == content(store, read), (read, index)
        engine.close()


@given(BATCHES, st.booleans())
def test_of_what_changed_no_key_is_missed(
    batches: list[list[Operation]], forgetful: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if forgetful:
            patch.setattr("kv_trio.state.write_batch.TOMBSTONES", 1)
        store = Store()
        known: list[tuple[int, dict[bytes, Entry]]] = []
        first: list[Operation] = [CreateSession(Session("s"))]
        for batch in [first, *batches]:
            known.append((store.index, {one.key: one for one in store.under(b"")}))
            write_batch = WriteBatch(store)
            for operation in batch:
                write_batch.apply(operation, 0.0)
            if write_batch.changed:
                write_batch.fold_tombstones(store)
                store.publish(write_batch, 0.0)
        now = {one.key: one for one in store.under(b"")}
        for index, before in known:
            for prefix in (b"", b"a", b"a/", b"none"):
                found = store.changed_under(prefix, index)
                if found is None:
                    assert store.floor > index, "some that were deleted are forgotten"
                    continue
                assert len(found) == len(set(found)), "each is counted once"
                differ = {
                    key
                    for key in before.keys() | now.keys()
                    if key.startswith(prefix) and before.get(key) != now.get(key)
                }
                assert differ <= set(found)
                assert all(key.startswith(prefix) for key in found)


# === over real sockets ===


@pytest.fixture
async def server() -> AsyncIterator[KvServer]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, ["127.0.0.1:0"]))
        nursery.cancel_scope.cancel()


async def become(queries: BlockingQueries, count: int) -> None:
    with trio.fail_after(30):
        while len(queries) != count:
            await trio.sleep(0.001)


async def test_a_poll_that_is_abandoned_is_freed_at_once(server: KvServer) -> None:
    waiting = b"?wait=600s&index=%d" % server.store.index
    async with connected(server._server) as client:
        await client.send(b"GET /v1/kv/k%b HTTP/1.1\r\nHost: kv\r\n\r\n" % waiting)
        await become(server.blocking_queries, 1)
    await become(server.blocking_queries, 0)


async def test_what_changed_while_the_store_was_down_is_sent_at_once(
    tmp_path: Path,
) -> None:
    """The state of the last change is there, however many restarts lie between."""
    index = 0
    for number in range(4):
        async with trio.open_nursery() as nursery:
            store = await nursery.start(
                partial(serve, ["127.0.0.1:0"], data=tmp_path / "kv")
            )
            async with Client(store.url) as client:
                if number:
                    with trio.fail_after(30):
                        state = await client.get("k", index=index, wait_s=60)
                    assert state.entry is not None
                    assert state.entry.value == b"%d" % number
                    assert state.index > index
                    index = state.index
                await client.put("k", b"%d" % (number + 1))
                await client.put("other", b"%d" % number)
            nursery.cancel_scope.cancel()


async def test_a_query_waits_for_changes_of_so_many_keys() -> None:
    async with in_memory_store() as client:
        await client.put("p/old", b"")
        index = (await client.put("other", b"")).index
        assert index is not None
        await client.put("p/1", b"before it is asked")
        found: list[Listing] = []

        async def ask() -> None:
            found.append(await client.list("p/", index=index, wait_s=60, changes=3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.05)
            for key in ("p/1", "p/1", "q", "p/2"):  # one of them is new
                await client.put(key, b"x")
            await trio.sleep(0.05)
            assert not found
            await client.delete("p/old")
            with trio.fail_after(10):
                while not found:
                    await trio.sleep(0.001)
        assert {one.key for one in found[0].entries} == {b"p/1", b"p/2"}
        with trio.fail_after(
            10
        ):  # so many have changed; the time is up; it is long ago
            await client.list("p/", index=index, wait_s=60, changes=3)
            late = await client.list("p/", index=index, wait_s=0.01, changes=4)
            await client.list("p/", index=1, wait_s=60, changes=2)
        assert {one.key for one in late.entries} == {b"p/1", b"p/2"}


@pytest.mark.parametrize("changes", ["0", "-1", "x", "10001", "1" * 30])
async def test_a_number_of_changes_that_makes_no_sense_is_refused(
    server: KvServer, changes: str
) -> None:
    async with connected(server._server) as client:
        target = f"/v1/kv/p?recurse&index=1&changes={changes}"
        head, _ = await client.ask(target.encode())
        assert head.startswith(b"HTTP/1.1 400 ")


async def test_keys_that_may_not_be_read_are_not_counted() -> None:
    store, acl = Store(), Acl("me", read=(b"p/mine/",))
    write_batch = WriteBatch(store)
    for key in (b"p/mine/1", b"p/theirs/1", b"p/theirs/2"):
        write_batch.apply(Put(key, b""), 0.0)
    store.publish(write_batch, 0.0)
    read = Read(b"p/", recurse=True)

    waits = gather(store, read, acl, 1, 2)
    assert waits is not None
    assert waits.changed == {b"p/mine/1"}
    assert gather(store, read, EVERYTHING, 1, 2) is None


def begin_sessions(server: KvServer, count: int) -> None:
    """Begin sessions at once, without a request for each."""
    write_batch = WriteBatch(server.store)
    for n in range(count):
        write_batch.apply(CreateSession(Session(f"{n:05}")), 0.0)
    server.store.publish(write_batch, 0.0)


async def test_all_who_wait_for_sessions_are_told_that_they_are_too_many() -> None:
    limits = StoreLimits(listing_entries=1)
    async with trio.open_nursery() as nursery, AsyncExitStack() as opened:
        start = partial(serve, ["127.0.0.1:0"], store_limits=limits)
        server = await nursery.start(start)
        begin_sessions(server, 1)
        waiting = [
            await opened.enter_async_context(connected(server._server))
            for _ in range(3)
        ]
        query = b"?wait=600s&index=%d" % server.store.session_index
        for client in waiting:
            await client.send(b"GET /v1/session/list%b HTTP/1.0\r\n\r\n" % query)
        await become(server.blocking_queries, 3)
        async with connected(server._server) as writer:
            await writer.ask(b"/v1/session/create", method=b"PUT")
        with trio.fail_after(30):
            for client in waiting:
                assert b" 413 " in await client.to_end()
        nursery.cancel_scope.cancel()


async def take_place(server: KvServer, given_back: trio.Event) -> None:
    async with server.blocking_queries.large.places.take("127.0.0.1"):
        await given_back.wait()


async def test_sessions_that_wait_for_a_place_are_sent_once() -> None:
    """In a drain, too, which ends the waits of those who wait for a change."""
    limits = StoreLimits(listings=4)  # of which a client may have two
    async with trio.open_nursery() as nursery, AsyncExitStack() as opened:
        start = partial(serve, ["127.0.0.1:0"], store_limits=limits)
        server = await nursery.start(start)
        begin_sessions(server, SMALL_ITEMS + 1)
        client = await opened.enter_async_context(connected(server._server))
        query = b"?wait=600s&index=%d" % server.store.session_index
        await client.send(b"GET /v1/session/list%b HTTP/1.0\r\n\r\n" % query)
        await become(server.blocking_queries, 1)
        given_back = trio.Event()
        for _ in range(2):
            nursery.start_soon(take_place, server, given_back)
        await wait_all_tasks_blocked()
        async with connected(server._server) as writer:
            await writer.ask(b"/v1/session/create", method=b"PUT")
        server.drain()
        await wait_all_tasks_blocked()
        given_back.set()
        with trio.fail_after(30):
            received = await client.to_end()
        assert received.count(b"HTTP/1.1 ") == 1
        _, _, body = received.partition(b"\r\n\r\n")
        assert len(json.loads(body)) == SMALL_ITEMS + 2


async def test_what_a_store_in_memory_lost_by_a_restart_is_missed_at_once() -> None:
    index = 0
    for is_new in (False, True):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, ["127.0.0.1:0"]))
            async with Client(server.url) as client, connected(server._server) as raw:
                if not is_new:
                    index = (await client.put("k", b"1")).index
                else:
                    path = b"/v1/watch?wait=60s&index=%d" % index
                    with trio.fail_after(30):
                        one = await client.get("k", index=index, wait_s=60)
                        all_ = await client.list("", index=index, wait_s=60)
                        _, set_ = await raw.ask(path, method=b"POST", body=b'["k"]')
                    assert one.entry is None
                    assert not all_.entries
                    assert json.loads(set_)[0]["Deleted"]
                    for read in (one, all_):  # and the next one waits
                        assert must_wait(server.store, read.index, server.store.index)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("draw", "wait_s"), [(0.0, 16.0), (0.5, 16.5), (1.0, 17.0)])
async def test_a_wait_has_consuls_jitter(
    monkeypatch: pytest.MonkeyPatch, draw: float, wait_s: float
) -> None:
    timeouts: list[float] = []

    def park(_: BlockingQueries, exchange: Exchange, *given: Any) -> None:
        timeouts.append(given[2])
        exchange.respond(Response(404))

    monkeypatch.setattr("kv_trio.api.kv.random.random", lambda: draw)
    monkeypatch.setattr(BlockingQueries, "park", park)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"]))
        async with connected(server._server) as client:
            index = server.store.index
            await client.ask(b"/v1/kv/k?wait=16s&index=%d" % index)
        nursery.cancel_scope.cancel()
    assert timeouts == [wait_s]
