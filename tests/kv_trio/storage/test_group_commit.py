"""The queue of operations: what shares a transaction, and who learns of it when."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from http_trio.testing.peers import connected
from kv_trio import serve
from kv_trio.errors import KvError, OperationFailed, StorageError
from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.group_commit import CommittedBatch, Writer
from kv_trio.storage.write_connection import WriteConnection


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

    def done(self, name: str) -> Callable[[Outcome | KvError], None]:
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
        with trio.fail_after(30):
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


async def test_a_lock_ends_at_twice_the_time_to_live(autojump_clock: object) -> None:
    async with locked() as (store, writer):
        await trio.sleep(18.0)
        assert writer.renew("s")
        await trio.sleep(19.9)
        assert is_held(store)
        await trio.sleep(1.0)
        assert not is_held(store)
        assert not writer.renew("s")


async def test_a_lock_outlives_a_store_that_was_frozen(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with locked() as (store, writer):
        mock_clock.jump(1000.0)  # no task runs meanwhile
        await trio.testing.wait_all_tasks_blocked()
        assert is_held(store)
        assert writer.renew("s")
        for _ in range(20):
            mock_clock.jump(1.0)
            await trio.testing.wait_all_tasks_blocked()
        assert not is_held(store)


async def test_after_a_restart_sessions_have_their_whole_time(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with locked(tmp_path):
        await trio.sleep(19.0)
    engine = StorageEngine(tmp_path)
    store = engine.load()
    writer = Writer(store, engine, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        nursery.start_soon(writer.expire_sessions)
        await trio.sleep(19.9)
        assert is_held(store)
        await trio.sleep(1.0)
        assert not is_held(store)
        nursery.cancel_scope.cancel()
    engine.close()


@asynccontextmanager
async def locked(path: Path | None = None) -> AsyncIterator[tuple[Store, Writer]]:
    """Give a writer at work; a session of 10 s has a lock."""
    store = (engine := StorageEngine(path)).load()
    writer = Writer(store, engine, lambda _: None)
    session = Session("s", ttl_s=10.0, ttl="10s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        nursery.start_soon(writer.expire_sessions)
        writer.submit(CreateSession(session), lambda _: None)
        writer.submit(Put(b"lock", b"", acquire="s"), lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        yield store, writer
        nursery.cancel_scope.cancel()
    engine.close()


def is_held(store: Store) -> bool:
    entry = store.get(b"lock")
    assert entry is not None
    return entry.session == "s"


@attrs.frozen
class Broken:
    """An operation with a fault of ours in it."""

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        Put(b"half", b"done").apply_to(write_batch, now)
        raise TypeError("nobody foresaw this")


UNWRITABLE = CreateSession(Session("s", name="\ud800"))
"""An operation that is tried well, and that the database cannot take."""


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("data", [None, "data"], ids=["in memory", "on disk"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in the task"])
@pytest.mark.parametrize("broken", [Broken(), UNWRITABLE], ids=["tried", "written"])
@pytest.mark.parametrize("others", [0, 1, 2, 9, 300])
async def test_an_error_that_nobody_foresaw_is_that_of_one_operation(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    others: int,
    broken: Operation,
    data: str | None,
    *,
    at_once: bool,
) -> None:
    engine = StorageEngine(None if data is None else tmp_path / data)
    store = engine.load()
    writer = Writer(store, engine, lambda _: None)
    later: list[Callable[[], None]] = []

    def after_batch(call: Callable[[], None]) -> bool:
        later.append(call)
        return True

    if at_once:
        writer.after_batch = after_batch
    outcomes: dict[int, Outcome | KvError] = {}
    operations: list[Operation] = [Put(b"%d" % n, b"") for n in range(others)]
    operations.insert(others // 2, broken)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for number, operation in enumerate(operations):
            writer.submit(operation, partial(outcomes.__setitem__, number))
        for call in later:
            call()
        with trio.fail_after(30):
            while len(outcomes) <= others:
                await trio.sleep(0.001)
        writer.submit(Put(b"last", b""), partial(outcomes.__setitem__, -1))
        for call in later[1:]:
            call()
        with trio.fail_after(30):
            while -1 not in outcomes:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()

    failure = outcomes.pop(others // 2)
    assert isinstance(failure, OperationFailed)
    assert all(isinstance(one, Outcome) and one.done for one in outcomes.values())
    assert {entry.key for entry in store.under(b"")} == {
        b"last",
        *(b"%d" % n for n in range(others)),
    }
    assert not store.sessions
    assert len(errors_in(caplog)) == 1
    assert writer.refused == 1
    engine.close()
    if data is not None:
        engine = StorageEngine(tmp_path / data)
        assert engine.load().under(b"") == store.under(b"")
        assert not engine.check()
        engine.close()


async def test_a_writer_whose_response_fails_harms_no_other(
    engine: StorageEngine, caplog: pytest.LogCaptureFixture
) -> None:
    called = Callbacks()
    writer = Writer(engine.load(), engine, called.committed)

    def fail(_: Outcome | KvError) -> None:
        raise TypeError("nobody foresaw this")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        writer.submit(Put(b"a", b""), fail)
        writer.submit(Put(b"b", b""), called.done("b"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert called.calls == [("b", "Outcome"), [b"a", b"b"]]
    assert errors_in(caplog) == ["a writer did not get its response"]


async def test_a_watcher_that_cannot_be_woken_does_not_end_the_writer(
    engine: StorageEngine, caplog: pytest.LogCaptureFixture
) -> None:
    called = Callbacks()

    def fail(_: CommittedBatch) -> None:
        raise TypeError("nobody foresaw this")

    writer = Writer(engine.load(), engine, fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for name in ("a", "b"):
            writer.submit(Put(name.encode(), b""), called.done(name))
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert called.calls == [("a", "Outcome"), ("b", "Outcome")]
    assert len(errors_in(caplog)) == 2


async def test_a_checkpoint_that_fails_is_tried_again(
    engine: StorageEngine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[None] = []

    def fail(_: StorageEngine) -> None:
        tried.append(None)
        raise OSError("too many open files")

    monkeypatch.setattr(StorageEngine, "checkpoint", fail)
    monkeypatch.setattr(StorageEngine, "needs_checkpoint", True)
    writer = Writer(engine.load(), engine, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        nursery.start_soon(writer.run_checkpoints)
        await trio.testing.wait_all_tasks_blocked()
        for n in range(2):
            writer.submit(Put(b"%d" % n, b""), lambda _: None)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert len(tried) == len(errors_in(caplog)) == 2


async def test_a_disk_that_refuses_is_told_at_a_rate_and_when_it_takes_again(
    engine: StorageEngine,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    is_full = True
    commit = StorageEngine.commit_at_once

    def refuse(engine: StorageEngine, write_batch: WriteBatch) -> bool:
        if is_full:
            raise StorageError("the disk is full")
        return commit(engine, write_batch)

    monkeypatch.setattr(StorageEngine, "commit_at_once", refuse)
    writer = Writer(engine.load(), engine, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for n in range(62):
            is_full = n < 61
            writer.submit(Put(b"%d" % n, b""), lambda _: None)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert writer.refused == 61
    assert [record.message for record in caplog.records] == [
        "1 writes refused: the disk is full",
        "30 writes refused: the disk is full",
        "30 writes refused: the disk is full",
        "writes are taken again",
    ]
