"""The past, against a model that remembers everything."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kv_trio.errors import Compacted, StoreDamaged
from kv_trio.state.entry import Entry
from kv_trio.state.operations import Delete, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage import engine as log_module
from kv_trio.storage.directory import DATABASE
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.history import Bounds

KEYS = [b"a", b"a/1", b"a/\xff", b"b"]


def write(
    engine: StorageEngine, store: Store, *operations: Operation, time_ms: int = 1
) -> None:
    write_batch = WriteBatch(store)
    for operation in operations:
        write_batch.apply(operation, 0.0)
    write_batch.fold_tombstones(store)
    engine.commit(write_batch, time_ms)
    store.publish(write_batch, 0.0)


OPERATION = st.one_of(
    st.builds(Put, st.sampled_from(KEYS), st.binary(max_size=2)),
    st.builds(Delete, st.sampled_from(KEYS), recurse=st.booleans()),
)
COMPACT = st.integers(0, 20)
FOLD = st.none()


@settings(deadline=None)
@given(st.lists(st.one_of(OPERATION, COMPACT, FOLD), max_size=40), st.integers(1, 4))
def test_the_past_is_right_or_reported_as_forgotten(
    steps: list[Operation | int | None], count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "_TRIM_EVERY", 2)
        engine = StorageEngine(None, Bounds(count=count))
    store = engine.load()
    first = store.index
    states: dict[int, dict[bytes, Entry]] = {first: {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "_TRIM_EVERY", 2)
        for step in steps:
            if isinstance(step, int):
                engine.compact(max(first, store.index - step))
            elif step is None:
                engine.checkpoint()
            else:
                write(engine, store, step)
                states[store.index] = {e.key: e for e in store.under(b"")}
    _check_single_keys(engine, store, states)
    _check_prefixes(engine, states)
    assert engine.check() == []
    engine.close()


def _check_single_keys(
    engine: StorageEngine, store: Store, states: dict[int, dict[bytes, Entry]]
) -> None:
    for key in KEYS:
        assert engine.history.at(key, store.index) == store.get(key)
        for index, state in states.items():
            try:
                assert engine.history.at(key, index) == state.get(key)
            except Compacted as exc:
                assert index < exc.oldest <= store.index
        found = engine.history.of(key, until=store.index, limit=1000)
        for revision in found:
            assert states[revision.index].get(key) == revision.entry


def _check_prefixes(
    engine: StorageEngine, states: dict[int, dict[bytes, Entry]]
) -> None:
    last = max(states)
    for index, state in states.items():
        for prefix in (b"", b"a", b"a/", b"a/\xff", b"c"):
            wanted = [e for key, e in sorted(state.items()) if key.startswith(prefix)]
            try:
                assert engine.history.under_at(prefix, index) == wanted
            except Compacted as exc:
                assert index < exc.oldest
            try:
                news = engine.history.since(
                    prefix, recurse=True, after=index, until=last
                )
            except Compacted:
                continue
            then = {e.key: e for e in wanted}
            for revision in news:
                then.pop(revision.key, None)
                if revision.entry is not None:
                    then[revision.key] = revision.entry
            now = states[last].items()
            assert then == {key: e for key, e in now if key.startswith(prefix)}


def test_what_is_old_is_forgotten_but_not_what_holds() -> None:
    engine = StorageEngine(None, Bounds(age_s=3600))
    store = engine.load()
    write(engine, store, Put(b"kept", b"old"), time_ms=1)
    write(engine, store, Put(b"k", b"1"), time_ms=1)
    write(engine, store, Put(b"k", b"2"), time_ms=1)
    write(engine, store, Put(b"gone", b""), time_ms=1)
    write(engine, store, Delete(b"gone"), time_ms=1)
    index = store.index
    now_ms = 2**45
    write(engine, store, Put(b"k", b"3"), time_ms=now_ms)

    assert engine.compact_old() == 3

    def values(key: bytes) -> list[bytes | None]:
        found = engine.history.of(key, until=store.index, limit=10)
        return [r.entry.value if r.entry else None for r in found]

    assert values(b"kept") == [b"old"]
    assert values(b"k") == [b"3", b"2"]
    assert values(b"gone") == []
    with pytest.raises(Compacted) as caught:
        engine.history.at(b"k", index - 1)
    assert caught.value.oldest == index
    engine.close()


def test_the_past_outlives_a_restart(tmp_path: Path) -> None:
    engine = StorageEngine(tmp_path)
    store = engine.load()
    write(engine, store, Put(b"k", b"1"))
    write(engine, store, Put(b"k", b"2"))
    engine.close()

    engine = StorageEngine(tmp_path)
    entry = engine.history.at(b"k", 2)
    assert entry is not None
    assert entry.value == b"1"
    engine.close()


@pytest.mark.parametrize("table", ["journal", "entries"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, table: str) -> None:
    engine = StorageEngine(tmp_path)
    write(engine, engine.load(), Put(b"k", b"one value"))
    if table == "entries":
        engine.checkpoint()
    engine.close()
    with (
        contextlib.closing(
            sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
        ) as other,
        other,
    ):
        other.execute(f"UPDATE {table} SET value = ?", (b"One value",))
    other.close()

    engine = StorageEngine(tmp_path)
    with pytest.raises(StoreDamaged, match="checksum of the key b'k'"):
        engine.load()
    assert any("checksum" in fault for fault in engine.check())
    engine.close()
