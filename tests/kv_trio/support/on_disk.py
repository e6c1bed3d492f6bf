"""Stores in a directory that tests open, write to and close, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage.engine import StorageEngine


def write(engine: StorageEngine, store: Store, *operations: Operation) -> None:
    """Run operations as one batch, each of which holds, and publish it."""
    write_batch = WriteBatch(store)
    for operation in operations:
        assert write_batch.apply(operation, 0.0).done
    write_batch.fold_tombstones(store)
    engine.commit(write_batch)
    store.publish(write_batch, 0.0)


@contextmanager
def opened(directory: Path) -> Iterator[tuple[StorageEngine, Store]]:
    """Open a directory, and close it at the end."""
    engine = StorageEngine(directory)
    try:
        yield engine, engine.load()
    finally:
        engine.close()
