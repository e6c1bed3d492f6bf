"""A copy that is put in place: above its original, and at one with itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession, Delete, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.directory import DATABASE, AcknowledgedIndex
from kv_trio.storage.engine import StorageEngine
from kv_trio.watch.blocking_queries import must_wait
from tests.kv_trio.support.on_disk import opened, write

DAY_NS = 86_400 * 10**9


@pytest.fixture
def original(tmp_path: Path) -> Store:
    """Give a store that was copied to `copy`, and wrote some more."""
    for name in ("copy", "again"):
        (tmp_path / name).mkdir()
    with opened(tmp_path / "kv") as (engine, store):
        write(engine, store, CreateSession(Session("s")))
        write(engine, store, Put(b"gone", b""), Put(b"k", b"first"))
        write(engine, store, Delete(b"gone"))
        write(engine, store, Put(b"lock", b"mine", acquire="s"))
        write(engine, store, Put(b"k", b"kept", flags=7))
        engine.back_up(tmp_path / "copy" / DATABASE)
        data = (tmp_path / "copy" / DATABASE).read_bytes()
        (tmp_path / "again" / DATABASE).write_bytes(data)
        for n in range(50):
            write(engine, store, Put(b"k", b"lost %d" % n))
    return store


def test_nobody_who_knows_a_later_index_waits_beside_the_state(
    original: Store, tmp_path: Path
) -> None:
    known = 0
    for _ in range(2):  # also after another restart
        with opened(tmp_path / "copy") as (_, restored):
            entry = restored.get(b"k")
            assert entry is not None
            assert entry.value == b"kept"
            for found in (
                restored.index_of(b"k"),
                restored.index_of(b"gone"),
                restored.index_of(b"none"),
                restored.index_under(b""),
                restored.index_under(b"none/"),
            ):
                assert found > original.index
                assert not must_wait(restored, original.index, found)
            known = restored.index_of(b"k")
            assert must_wait(restored, known, restored.index_of(b"k"))
    with opened(tmp_path / "copy") as (engine, restored):
        write(engine, restored, Put(b"k", b"new"))
        assert restored.index_of(b"k") == restored.index > known > original.index


def test_the_index_of_a_key_is_the_one_that_it_has(
    original: Store, tmp_path: Path
) -> None:
    """Patroni waits from one and valkeyrie writes over the other, as on a Consul."""
    with opened(tmp_path / "copy") as (engine, restored):
        for entry in restored.under(b""):
            assert entry.modify_index == restored.index_of(entry.key) == restored.index
        before = original.get(b"lock")
        lock = restored.get(b"lock")
        assert before is not None
        assert lock is not None
        assert (lock.create_index, lock.lock_index, lock.session, lock.value) == (
            *(before.create_index, before.lock_index, before.session, before.value),
        )
        assert restored.held_by("s") == {b"lock"}
        stale = Put(b"k", b"", cas=original.index_of(b"k"))
        assert not WriteBatch(restored).apply(stale, 0.0).done
        write(engine, restored, Put(b"k", b"", cas=restored.index_of(b"k")))


def test_a_copy_is_whole_and_so_is_its_past(original: Store, tmp_path: Path) -> None:
    engine = StorageEngine(tmp_path / "copy")  # as `kv-trio check` does
    assert not engine.check()
    engine.close()
    with opened(tmp_path / "copy") as (engine, restored):
        assert not engine.check()
        revisions = engine.history.of(b"k", until=restored.index, limit=10)
        values = [revision.entry and revision.entry.value for revision in revisions]
        assert values == [b"kept", b"kept", b"first"]
        assert revisions[0].index == restored.index


@pytest.mark.parametrize("days", [-400, -1, 0, 1])
def test_a_clock_that_was_set_does_not_matter(
    original: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + days * DAY_NS)
    with opened(tmp_path / "copy") as (_, restored):
        assert restored.index > original.index


def test_of_two_stores_with_one_copy_the_later_is_above(
    original: Store, tmp_path: Path
) -> None:
    with opened(tmp_path / "copy") as (engine, first):
        write(engine, first, Put(b"k", b"1"))
        write(engine, first, Put(b"k", b"2"))
    with opened(tmp_path / "again") as (_, second):
        assert second.index > first.index


def test_an_empty_copy_is_above_too(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with opened(tmp_path / "kv") as (engine, store):
        engine.back_up(tmp_path / "copy" / DATABASE)
        write(engine, store, Put(b"k", b""))
    with opened(tmp_path / "copy") as (_, restored):
        assert restored.index_of(b"k") > store.index


def test_an_older_copy_is_above_the_store_that_it_replaces(
    original: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which began with a copy itself; a kill before its index is noted does no harm."""
    data = tmp_path / "copy"
    with opened(data) as (engine, second):
        engine.back_up(tmp_path / "later")
    (tmp_path / "later").replace(data / DATABASE)
    with opened(data) as (engine, third):
        write(engine, third, Put(b"k", b"third"))
    assert third.index > second.index > original.index
    (tmp_path / "again" / DATABASE).replace(data / DATABASE)
    with monkeypatch.context() as killed:
        killed.setattr(AcknowledgedIndex, "note", lambda *_: None)
        with opened(data) as (_, fourth):
            assert fourth.index > third.index
            assert fourth.index_of(b"k") > third.index
    with opened(data) as (_, fifth):
        assert fifth.index == fourth.index
