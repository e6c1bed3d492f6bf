"""The state in the tables of a database: read whole, and written batch by batch.

Rows of the journal, if there are any, are newer than all that stands in these tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from kv_trio.state.store import Store
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.database import set_meta
from kv_trio.storage.journal import read_journal
from kv_trio.storage.schema import (
    COLUMNS,
    Row,
    read_entry,
    read_session,
    read_tombstone,
    row_of_session,
    row_of_tombstone,
    unseal,
)


def read_store(db: sqlite3.Connection) -> Store:
    """Read the whole state.

    Raises:
        sqlite3.DatabaseError: a page makes no sense.
        KeyError, ValueError: a row is not there, or not as it was written.
    """
    meta: dict[str, int] = dict(map(unseal, db.execute("SELECT * FROM meta")))
    rows = db.execute(f"SELECT {COLUMNS} FROM entries")
    entries = {row[0]: read_entry(row) for row in rows}
    tombstones = dict(map(read_tombstone, db.execute("SELECT * FROM tombstones")))
    index = meta["index"]
    for revision in read_journal(db):
        index = max(index, revision.index)
        if revision.entry is None:
            entries.pop(revision.key, None)
            tombstones[revision.key] = revision.index
        else:
            tombstones.pop(revision.key, None)
            entries[revision.key] = revision.entry
    sessions = [read_session(row) for row in db.execute("SELECT * FROM sessions")]
    store = Store()
    store.restore(
        list(entries.values()),
        tombstones,
        sessions,
        index=index,
        floor=meta["floor"],
    )
    return store


def write_changes(
    db: sqlite3.Connection, write_batch: WriteBatch, rows: list[Row]
) -> None:
    """Write the changes of a batch into the tables, within a transaction.

    The journal must be empty, so that none of its rows is taken for newer.

    Args:
        db: the connection that is in the transaction.
        write_batch: the changes.
        rows: its revisions, as `journal_rows` gives them.
    """
    db.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    last = {row[0]: row[:-1] for row in rows}
    kept = [row for key, row in last.items() if write_batch.entries[key] is not None]
    db.executemany(
        "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept
    )
    if write_batch.deleted_at:
        _write_deletes(db, write_batch.deleted_at)
    if write_batch.forgotten:
        _run_each(db, "DELETE FROM tombstones WHERE key = ?", write_batch.forgotten)
    if write_batch.sessions:
        _write_sessions(db, write_batch)
    set_meta(db, "index", write_batch.index)
    if write_batch.floor:
        set_meta(db, "floor", write_batch.floor)


def _write_deletes(db: sqlite3.Connection, deleted_at: dict[bytes, int]) -> None:
    _run_each(db, "DELETE FROM entries WHERE key = ?", deleted_at)
    tombstones = [row_of_tombstone(*pair) for pair in deleted_at.items()]
    db.executemany("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", tombstones)


def _write_sessions(db: sqlite3.Connection, write_batch: WriteBatch) -> None:
    _run_each(db, "DELETE FROM sessions WHERE id = ?", write_batch.sessions)
    rows: list[Row] = [
        row_of_session(one) for one in write_batch.sessions.values() if one
    ]
    db.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _run_each(db: sqlite3.Connection, statement: str, ids: Iterable[object]) -> None:
    db.executemany(statement, [(id_,) for id_ in ids])
