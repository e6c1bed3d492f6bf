"""The queue of operations: what shares a transaction, and who learns of it when."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from http_trio.testing.peers import connected
from kv_trio import serve
from kv_trio.errors import StorageError
from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, Put
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.write_connection import WriteConnection
from kv_trio.storage.writer import CommittedBatch, Writer


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the thread of each transaction that was durable."""
    found: list[str] = []
    note = WriteConnection._note

    def look(connection: WriteConnection, took_s: float) -> None:
        main = threading.current_thread() is threading.main_thread()
        found.append("at once" if main else "in a thread")
        note(connection, took_s)

    monkeypatch.setattr(WriteConnection, "_note", look)
    return found


@pytest.mark.parametrize(
    ("count", "way"), [(1, "at once"), (8, "at once"), (40, "in a thread")]
)
async def test_writes_that_come_at_once_share_a_transaction(
    tmp_path: Path,
    threads: list[str],
    count: int,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        StorageEngine, "compact_old", lambda _: 0
    )  # it writes as a store starts
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"], data=tmp_path))
        clients = [
            await stack.enter_async_context(connected(server)) for _ in range(count)
        ]
        for client in clients:
            await client.ask(b"/v1/kv/none")  # so it is accepted
        threads.clear()
        monkeypatch.setattr("kv_trio.storage.write_connection.QUICK_S", 1000.0)
        for n, client in enumerate(clients):
            request = (
                b"PUT /v1/kv/k/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nv"
            )
            os.write(client.stream.socket.fileno(), request % n)
        for client in clients:
            assert (await client.response())[1] == b"true"
        assert threads == [way]
        assert server.store.index == 1 + count
        nursery.cancel_scope.cancel()


class Callbacks:
    """A writer's callbacks, in the order in which they were called."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def done(self, name: str) -> Callable[[Outcome | StorageError], None]:
        return lambda outcome: self.calls.append((name, type(outcome).__name__))

    def committed(self, batch: CommittedBatch) -> None:
        self.calls.append(sorted(batch.keys))


@pytest.fixture
def engine() -> Iterator[StorageEngine]:
    engine = StorageEngine(None)
    yield engine
    engine.close()


async def test_writers_get_their_responses_before_watchers_and_in_order(
    engine: StorageEngine,
) -> None:
    called = Callbacks()
    writer = Writer(engine.load(), engine, called.committed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        writer.submit(Put(b"a", b""), called.done("one"))
        writer.submit(Put(b"b", b"", cas=7), called.done("two"))
        writer.submit(Put(b"c", b""), called.done("three"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    names = [("one", "Outcome"), ("two", "Outcome"), ("three", "Outcome")]
    assert called.calls == [*names, [b"a", b"c"]]


async def test_what_comes_while_the_disk_is_busy_shares_the_next_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = Callbacks()
    engine = StorageEngine(tmp_path)
    on, gate = trio.Event(), threading.Event()
    commit = StorageEngine.commit

    def slow(engine: StorageEngine, write_batch: Any) -> None:
        trio.from_thread.run_sync(on.set)
        assert gate.wait(10)
        commit(engine, write_batch)

    monkeypatch.setattr(StorageEngine, "_is_quick", lambda *_: False)
    monkeypatch.setattr(StorageEngine, "commit", slow)
    writer = Writer(engine.load(), engine, called.committed)
    later: list[Callable[[], None]] = []

    def after_batch(call: Callable[[], None]) -> bool:
        later.append(call)
        return True

    writer.after_batch = after_batch
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        writer.submit(Put(b"a", b""), called.done("a"))
        later.pop()()  # it is not quick, so the task has it
        await on.wait()
        writer.submit(Put(b"b", b""), called.done("b"))
        writer.submit(Put(b"c", b""), called.done("c"))
        assert not later  # the task will see to it
        gate.set()
        with trio.fail_after(10):
            while len(called.calls) < 5:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    engine.close()
    assert called.calls == [
        ("a", "Outcome"),
        [b"a"],
        ("b", "Outcome"),
        ("c", "Outcome"),
        [b"b", b"c"],
    ]


async def test_a_lock_ends_within_a_second_of_its_time(autojump_clock: object) -> None:
    store = (engine := StorageEngine(None)).load()
    writer = Writer(store, engine, lambda _: None)
    session = Session("s", ttl_s=10.0, ttl="10s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        nursery.start_soon(writer.expire_sessions)
        writer.submit(CreateSession(session), lambda _: None)
        writer.submit(Put(b"lock", b"", acquire="s"), lambda _: None)
        await trio.sleep(8.0)
        assert writer.renew("s")
        await trio.sleep(9.9)
        held = store.get(b"lock")
        assert held is not None
        assert held.session == "s"
        await trio.sleep(1.0)
        freed = store.get(b"lock")
        assert freed is not None
        assert freed.session is None
        assert not writer.renew("s")
        nursery.cancel_scope.cancel()
    engine.close()
