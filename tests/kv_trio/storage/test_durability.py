"""What the store owes the disk: no response before a write is there, no hidden damage."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from kv_trio import (
    Client,
    KvServer,
    StorageError,
    StoreDamaged,
    StoreLocked,
    StoreRefused,
    serve,
)
from kv_trio.state.operations import Delete, Put
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage import handover
from kv_trio.storage.database import lengthen_log
from kv_trio.storage.directory import DATABASE
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.write_connection import WriteConnection
from tests.kv_trio.support.on_disk import opened, write


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[tuple[KvServer, Client]]:
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(
            partial(serve, ["127.0.0.1:0"], data=data)
        )
        async with Client(server.url) as client:
            yield server, client
        nursery.cancel_scope.cancel()


# === acknowledged, and seen, only when it is on disk ===


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in a thread"])
async def test_no_response_comes_before_the_write_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Look at what readers see while a commit is on, and after it failed or not."""
    seen: list[object] = []
    way = "add_at_once" if at_once else "run"
    commit = getattr(WriteConnection, way)

    def look(*given: Any) -> Any:
        seen.append(server.store.get(b"k"))
        seen.append(len(server.blocking_queries))
        done = commit(*given)
        seen.append(server.store.get(b"k"))
        seen.append(len(server.blocking_queries))
        return done

    monkeypatch.setattr(StorageEngine, "_is_quick", lambda *_: at_once)
    async with serving(tmp_path) as (server, client):
        index = (await client.get("k")).index
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.get, "k", index=index))
            while not len(server.blocking_queries):
                await trio.sleep(0.001)
            monkeypatch.setattr(WriteConnection, way, look)
            assert (await client.put("k", b"v")).done
        assert server.store.get(b"k") is not None
        assert not len(server.blocking_queries)
    assert seen == [None, 1, None, 1]


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as (engine, _):
        db = engine._connection.db
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_slow_disk_does_not_stop_the_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on, gate = trio.Event(), threading.Event()
    commit = StorageEngine.commit

    def slow(engine: StorageEngine, write_batch: WriteBatch) -> None:
        trio.from_thread.run_sync(on.set)
        assert gate.wait(10)
        commit(engine, write_batch)

    async with serving(tmp_path) as (_, client), trio.open_nursery() as nursery:
        monkeypatch.setattr(StorageEngine, "_is_quick", lambda *_: False)
        monkeypatch.setattr(StorageEngine, "commit", slow)
        nursery.start_soon(client.put, "k", b"v")
        await on.wait()
        assert (await client.get("k")).entry is None
        gate.set()


async def test_a_disk_that_got_slow_is_waited_for_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    note = WriteConnection._note

    def look(transactions: WriteConnection, took_s: float) -> None:
        threads.append(threading.current_thread().name)
        note(transactions, took_s)

    monkeypatch.setattr(
        StorageEngine, "compact_old", lambda _: 0
    )  # it writes as a store starts
    async with serving(tmp_path) as (_, client):
        monkeypatch.setattr(WriteConnection, "_note", look)
        monkeypatch.setattr("kv_trio.storage.write_connection.QUICK_S", 1000.0)
        await client.put("k", b"1")
        monkeypatch.setattr("kv_trio.storage.write_connection.QUICK_S", 0.0)
        await client.put("k", b"2")
        await client.put("k", b"x" * 300_000)
    main = threading.main_thread().name
    assert [name == main for name in threads[:2]] == [True, False]


# === a disk that refuses ===


async def test_a_disk_that_refuses_is_a_500_and_nothing_changes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, client):
        await client.put("k", b"old")
        with (
            contextlib.closing(
                sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
            ) as other,
            other,
        ):
            other.execute("BEGIN IMMEDIATE")  # the server cannot write meanwhile
            with pytest.raises(StoreRefused, match="cannot write to") as caught:
                await client.put("k", b"new")
            other.execute("ROLLBACK")
        other.close()
        assert caught.value.status == 500
        entry = server.store.get(b"k")
        assert entry is not None
        assert entry.value == b"old"
        assert (await client.put("k", b"newer")).done


async def test_a_disk_that_is_full_is_a_500_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit of the database's size fails as a full disk does."""
    opened_by_server: list[StorageEngine] = []

    def open_log(*given: Any) -> StorageEngine:
        opened_by_server.append(StorageEngine(*given))
        return opened_by_server[-1]

    monkeypatch.setattr(handover, "StorageEngine", open_log)
    async with serving(tmp_path) as (server, client):
        await client.put("k", b"old")
        db = opened_by_server[0]._connection.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        for size in (100_000, 300_000):
            with pytest.raises(
                StoreRefused, match="database or disk is full"
            ) as caught:
                await client.put("k", b"x" * size)
            assert caught.value.status == 500
        assert (await client.get("k")).entry == server.store.get(b"k")
        index = server.store.index
        db.execute("PRAGMA max_page_count = 1000000")
        assert (await client.put("k", b"x" * 100_000)).index == index + 1
    with opened(tmp_path) as (engine, store):
        assert not engine.check()
        entry = store.get(b"k")
        assert entry is not None
        assert len(entry.value) == 100_000


def test_a_disk_that_is_full_refuses_a_small_write_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_trio.storage.write_connection.QUICK_S", 1000.0)
    with opened(tmp_path) as (engine, store):
        db = engine._connection.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")

        def put(value: bytes) -> None:
            write_batch = WriteBatch(store)
            write_batch.apply(Put(b"k", value), 0.0)
            write_batch.fold_tombstones(store)
            assert engine.commit_at_once(write_batch)
            store.publish(write_batch, 0.0)

        def fill() -> None:
            for n in range(100):
                put(b"%d" % n * 1000)

        with pytest.raises(StorageError, match="database or disk is full"):
            fill()
        assert not db.in_transaction
        refused_at = store.index
        db.execute("PRAGMA max_page_count = 1000000")
        put(b"later")
        assert store.index == refused_at + 1
        assert not engine.check()
    with opened(tmp_path) as (_, again):
        assert again.index == store.index
        assert again.get(b"k") == store.get(b"k")


# === a directory that cannot be used ===


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    engine = StorageEngine(tmp_path)
    with pytest.raises(StoreLocked, match="another server"):
        StorageEngine(tmp_path)
    engine.close()
    StorageEngine(tmp_path).close()


def test_a_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot use"):
        StorageEngine(tmp_path / "file")


def test_a_directory_that_cannot_be_written_is_reported() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies below what root closes
        directory = Path(name)
        StorageEngine(directory).close()
        (directory / "lock").chmod(0o400)
        directory.chmod(0o555)
        try:
            with without_privileges(), pytest.raises(StorageError, match="cannot use"):
                StorageEngine(directory)
        finally:
            directory.chmod(0o700)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere, so be nobody meanwhile."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


# === damage ===


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give the directory of a store that was stopped."""
    path = tmp_path / "kv"
    with opened(path) as (engine, store):
        write(engine, store, *(Put(b"k/%d" % n, b"value %d" % n) for n in range(200)))
        write(engine, store, Delete(b"k/0"))
        engine.checkpoint()
        write(engine, store, Put(b"k/1", b"not filed"))
    return path


def zero(start: int, length: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:start] + bytes(length) + data[start + length :]


@pytest.mark.parametrize(
    "harm",
    [
        lambda _: b"this is no database at all" * 50,
        zero(0, 100),
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"value 150", b"value 151"),
    ],
    ids=["other", "header", "cut", "value"],
)
def test_a_damaged_database_is_reported_and_left_alone(
    directory: Path, harm: Callable[[bytes], bytes]
) -> None:
    path = directory / DATABASE
    path.write_bytes(harm(path.read_bytes()))
    before = path.read_bytes()

    with pytest.raises(StoreDamaged, match="restore it from a backup"):
        opened(directory).__enter__()

    assert path.read_bytes() == before


def test_a_page_that_is_lost_is_reported_whichever_it_is(directory: Path) -> None:
    path = directory / DATABASE
    whole = path.read_bytes()
    with opened(directory) as (engine, store):
        entries = store.under(b"")
        (free,) = engine._connection.db.execute("PRAGMA freelist_count").fetchone()
    quiet = 0
    for start in range(0, len(whole), 4096):
        path.write_bytes(zero(start, 4096)(whole))
        try:
            with opened(directory) as (engine, store):
                assert store.under(b"") == entries  # the page held nothing
                assert not engine.check()
                quiet += 1
        except StoreDamaged:
            pass
    assert quiet <= free < len(whole) // 4096 // 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 7 WHERE name = 'index'",
        "UPDATE tombstones SET at = 3",
        "UPDATE journal SET value = 'other'",
        "UPDATE entries SET modify_index = 3 WHERE key = CAST('k/7' AS BLOB)",
        "DELETE FROM meta",
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_reported(
    directory: Path, statement: str
) -> None:
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as other, other:
        other.execute(statement)
    other.close()

    with pytest.raises(StoreDamaged):
        opened(directory).__enter__()


def test_a_damaged_write_ahead_log_is_reported_and_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "kv") as (engine, store):
        for n in range(20):
            write(engine, store, Put(b"k", b"value %d" % n))
        for name in ("killed", "harmed"):  # as a SIGKILL leaves it
            shutil.copytree(tmp_path / "kv", tmp_path / name)
    with opened(tmp_path / "killed") as (_, store):
        assert store.index == 21
    path = tmp_path / "harmed" / f"{DATABASE}-wal"
    harmed = path.read_bytes().replace(b"value 3", b"value 4", 1)
    path.write_bytes(harmed)

    with pytest.raises(StoreDamaged, match="in its log are behind one that is damaged"):
        opened(tmp_path / "harmed").__enter__()

    assert path.read_bytes() == harmed


# === what outlives a restart ===


def test_no_index_of_a_prefix_slides_back_over_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_trio.state.write_batch.TOMBSTONES", 3)
    seen = 0
    for n in range(12):
        with opened(tmp_path) as (engine, store):
            write(engine, store, Put(b"p/k", b"%d" % n))
            write(engine, store, Delete(b"p/k"))
            seen = store.index_under(b"p/")
            for other in (b"q/%d-%d" % (n, m) for m in range(n)):
                write(engine, store, Put(other, b""), Delete(other))
                assert store.index_under(b"p/") >= seen
            assert len(store.tombstones) <= 3
        with opened(tmp_path) as (_, store):
            assert store.index_under(b"p/") >= seen


def test_a_key_that_was_deleted_and_written_again_has_no_tombstone(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as (engine, store):
        write(engine, store, Put(b"k", b"1"))
        write(engine, store, Delete(b"k"))
        write(engine, store, Put(b"k", b"2"))
    with opened(tmp_path) as (_, store):
        assert not store.tombstones
        assert store.index_of(b"k") == 4


# === the length of the log ===


def test_no_commit_has_to_lengthen_the_log(tmp_path: Path) -> None:
    path = tmp_path / f"{DATABASE}-wal"
    with opened(tmp_path) as (engine, store):
        size = path.stat().st_size
        for n in range(50):
            write(engine, store, Put(b"k", b"value %d" % n))
        assert path.stat().st_size == size > 50 * 4096
        shutil.copytree(tmp_path, tmp_path / "killed")
    with opened(tmp_path / "killed") as (engine, again):
        assert again.index == store.index
        assert again.get(b"k") == store.get(b"k")
        assert (tmp_path / "killed" / path.name).stat().st_size == size


def test_a_log_is_not_lengthened_where_room_is_scarce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_trio.storage.database._ROOM_BYTES", 2**62)
    with opened(tmp_path) as (engine, store):
        write(engine, store, Put(b"k", b"v"))
        assert (tmp_path / f"{DATABASE}-wal").stat().st_size < 100_000


def test_a_log_that_cannot_be_lengthened_stays_as_it_is(tmp_path: Path) -> None:
    lengthen_log(tmp_path / "none")
    (tmp_path / f"{DATABASE}-wal").mkdir()
    lengthen_log(tmp_path)


def test_a_log_that_a_refused_commit_shortened_is_lengthened_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / f"{DATABASE}-wal"
    with opened(tmp_path) as (engine, store):
        size = path.stat().st_size
        db = engine._connection.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full"):
            write(engine, store, Put(b"k", b"x" * 100_000))
        db.execute("PRAGMA max_page_count = 1000000")
        write(engine, store, Put(b"k", b"x" * 100_000))
        assert path.stat().st_size == size
