"""What waits in the journal, against a store that files everything at once."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kv_trio.errors import StorageError
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession, Delete, DestroySession, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage import engine as log_module
from kv_trio.storage.directory import DATABASE
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.history import Bounds

KEYS = st.sampled_from([b"a", b"a/1", b"b", b"\xff"])
OPERATION = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2), st.integers(0, 2**64 - 1)),
    st.builds(Put, KEYS, st.binary(max_size=2), acquire=st.just("s")),
    st.builds(Delete, KEYS, recurse=st.booleans()),
    st.just(CreateSession(Session("s", lock_delay_s=0.0))),
    st.just(DestroySession("s")),
)
FOLD = st.none()


def commit(engine: StorageEngine, store: Store, operations: list[Operation]) -> None:
    write_batch = WriteBatch(store)
    for operation in operations:
        write_batch.apply(operation, 0.0)
    if write_batch.changed:
        write_batch.fold_tombstones(store)
        engine.commit(write_batch, 1)
        store.publish(write_batch, 0.0)


def content(engine: StorageEngine, store: Store) -> tuple[object, ...]:
    """Give all that is known, for comparison."""
    first = engine.history.oldest_of(b"")
    past = engine.history.since(b"", recurse=True, after=first, until=store.index)
    at = engine.history.under_at(b"", store.index)
    state = (store.under(b""), dict(store.tombstones), store.sessions)
    return (*state, store.index, store.floor, past, at, engine.counts())


@contextmanager
def opened(
    directory: Path | None = None, **bounds: Any
) -> Iterator[tuple[StorageEngine, Store]]:
    engine = StorageEngine(directory, Bounds(**bounds))
    try:
        yield engine, engine.load()
    finally:
        engine.close()


@settings(max_examples=300)
@example([[Put(b"a", b"")], [Delete(b"a")], None, [Put(b"a", b"")], None])
@given(st.lists(st.one_of(FOLD, st.lists(OPERATION, max_size=3)), max_size=20))
def test_it_makes_no_difference_whether_something_is_filed_yet(
    steps: list[list[Operation] | None],
) -> None:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opening:
        patch.setattr("kv_trio.state.write_batch.TOMBSTONES", 2)
        with pytest.MonkeyPatch.context() as clock:  # they begin at its microsecond
            clock.setattr(time, "time_ns", lambda: 5_000)
            journaled, one = opening.enter_context(opened())
            filed, two = opening.enter_context(opened())
        for step in steps:
            if step is None:
                journaled.checkpoint()
                continue
            commit(journaled, one, step)
            with pytest.MonkeyPatch.context() as at_once:
                at_once.setattr(log_module, "_JOURNAL_ROWS_AT_ONCE", 0)
                commit(filed, two, step)
        assert content(journaled, one) == content(filed, two)
        assert journaled.check() == filed.check() == []
        assert content(journaled, journaled.load()) == content(journaled, one)


def test_most_commits_change_one_table(tmp_path: Path) -> None:
    with opened(tmp_path) as (engine, store):
        db = engine._connection.db
        commit(engine, store, [Put(b"k", b"filed")])
        engine.checkpoint()
        commit(engine, store, [Put(b"k", b"1")])
        commit(engine, store, [Put(b"k", b"2"), Delete(b"k")])

        assert db.execute("SELECT count(*) FROM journal").fetchone() == (3,)
        assert db.execute("SELECT count(*) FROM history").fetchone() == (1,)
        assert db.execute("SELECT value FROM entries").fetchone() == (b"filed",)
    with opened(tmp_path) as (_, again):
        assert again.get(b"k") is None
        assert again.index == store.index
        assert again.tombstones == {b"k": store.index}


@pytest.mark.parametrize(
    "operations",
    [
        [CreateSession(Session("s")), Put(b"k", b"", acquire="s")],
        [Put(b"k/%d" % n, b"") for n in range(log_module._JOURNAL_ROWS_AT_ONCE + 1)],
    ],
    ids=["a session", "many keys"],
)
def test_what_goes_past_the_journal_files_it_first(
    tmp_path: Path, operations: list[Operation]
) -> None:
    with opened(tmp_path) as (engine, store):
        commit(engine, store, [Put(b"k", b"before")])
        commit(engine, store, operations)
        (left,) = engine._connection.db.execute("SELECT count(*) FROM journal")
        assert left == (0,)
        assert engine.check() == []
        entries = store.under(b"")
    with opened(tmp_path) as (_, again):
        assert again.under(b"") == entries


@pytest.mark.parametrize("full", ["_JOURNAL_ROWS", "_JOURNAL_BYTES"])
def test_the_journal_has_a_bound_even_if_nobody_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    monkeypatch.setattr(log_module, full, 20)
    with opened(tmp_path) as (engine, store):
        db = engine._connection.db
        for n in range(100):
            write_batch = WriteBatch(store)
            write_batch.apply(Put(b"k/%d" % n, b"v"), 0.0)
            write_batch.fold_tombstones(store)
            if not engine.commit_at_once(write_batch):
                engine.commit(write_batch)
            store.publish(write_batch, 0.0)
            assert db.execute("SELECT count(*) FROM journal").fetchone() <= (20,)
        assert engine.counts()["entries"] == 100


def test_the_history_of_a_key_is_trimmed_when_it_is_filed(tmp_path: Path) -> None:
    with opened(tmp_path, count=5) as (engine, store):
        for n in range(64):
            commit(engine, store, [Put(b"k", b"%d" % n)])
        engine.checkpoint()
        assert engine.counts()["history"] == 5


def test_what_cannot_be_filed_stays_in_the_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as (engine, store):
        db = engine._connection.db
        commit(engine, store, [Put(b"k", b"x" * 3000)])
        before = content(engine, store)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")

        engine.checkpoint()

        assert content(engine, store) == before
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (1,)
        with pytest.raises(StorageError, match="full"):
            commit(engine, store, [Put(b"l", b"y" * 9000)])
        db.execute("PRAGMA max_page_count = 1000000")
        engine.checkpoint()
        assert content(engine, store) == before
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)


def test_a_copy_goes_on_above_what_was_not_filed(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with opened(tmp_path / "kv") as (engine, store):
        commit(engine, store, [Put(b"k", b"kept")])
        engine.back_up(copy / DATABASE)
    with opened(copy) as (_, restored):
        entry = restored.get(b"k")
        assert entry is not None
        assert entry.value == b"kept"
        assert restored.index > store.index


def test_another_process_cannot_write_beside_the_server(tmp_path: Path) -> None:
    with opened(tmp_path) as (engine, store):
        commit(engine, store, [Put(b"k", b"v")])
        program = (
            "import sqlite3, sys\n"
            "sqlite3.connect(sys.argv[1], timeout=0).execute('DELETE FROM journal')"
        )
        words = [sys.executable, "-c", program, str(tmp_path / DATABASE)]
        other = subprocess.run(words, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert "database is locked" in other.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as after, after:
        assert after.execute("SELECT count(*) FROM journal").fetchone() == (1,)
    after.close()
