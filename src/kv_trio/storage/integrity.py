"""The integrity of a whole database: is it as it was written, how much is in it.

And a copy of it, which is of one consistent state. A store that begins as a copy lacks
what its original wrote later, whose indexes clients know; so it begins above all of them,
and each of its keys counts as changed at that index. Then nobody waits for an index that
is long over, no compare-and-set fits by chance, and a key's own index is still the one
that a read of it gives, as clients of a Consul expect.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from kv_trio.errors import StorageError
from kv_trio.state.entry import Revision
from kv_trio.storage.database import set_meta
from kv_trio.storage.directory import ACKNOWLEDGED, make_private
from kv_trio.storage.journal import ENTRIES, REVISIONS, TOMBSTONES, file_journal
from kv_trio.storage.schema import (
    COLUMNS,
    REVISION,
    Row,
    read_entry,
    read_revision,
    read_session,
    read_tombstone,
    row_of_revision,
    unseal,
)

COPY_STRIDE = 10**12
"""How far above its original a copy begins at least, whatever the clock says.

That is ten thousand writes in each second of three years, and a ten-thousandth of the
whole numbers that a program in JavaScript can tell apart.
"""

_PAGE = 100  # entries in memory at a time: 50 MiB at most
_COPIED = "copied_us"  # the number that only a copy has: microseconds of Unix time

_COUNTED = {
    "entries": ENTRIES,
    "history": REVISIONS,
    "tombstones": TOMBSTONES,
    "sessions": "sessions",
}


def find_faults(db: sqlite3.Connection) -> list[str]:
    """Read the whole database; give what is wrong with it."""
    rows = db.execute("PRAGMA integrity_check").fetchall()
    faults = [text for (text,) in rows if text != "ok"]
    tables: tuple[tuple[str, str, Callable[[Row], object]], ...] = (
        ("entries", COLUMNS, read_entry),
        ("history", REVISION, read_revision),
        ("journal", REVISION, read_revision),
        ("tombstones", "*", read_tombstone),
        ("sessions", "*", read_session),
        ("meta", "*", unseal),
    )
    for table, columns, read in tables:
        for row in db.execute(f"SELECT {columns} FROM {table}"):
            try:
                read(row)
            except ValueError as exc:
                faults.append(f"{table}: {exc}")
    missing = db.execute(
        "SELECT entries.key FROM entries LEFT JOIN history USING (key, modify_index)"
        " WHERE history.value IS NOT entries.value"
    )
    faults += [
        f"history: the present state of {key!r} is not in it" for (key,) in missing
    ]
    return faults


def find_loss(db: sqlite3.Connection, acknowledged: int) -> str:
    """Say what is missing of all that was acknowledged; empty if nothing is.

    A copy that was put in place lacks what its original wrote later, and may.
    """
    meta = dict(db.execute("SELECT name, value FROM meta"))
    (journaled,) = db.execute("SELECT max(modify_index) FROM journal").fetchone()
    newest = max(meta.get("index", 0), journaled or 0)
    if newest >= acknowledged or _COPIED in meta:
        return ""
    return (
        f"it ends at index {newest}, and changes up to {acknowledged} were acknowledged:"
        f" they are lost, as if its log had been cut or an older file put in its place."
        f" To go on without them, delete the file {ACKNOWLEDGED!r} beside it"
    )


def count_rows(db: sqlite3.Connection) -> dict[str, int]:
    """Give how many entries, revisions, tombstones and sessions there are."""
    return {
        name: db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
        for name, rows in _COUNTED.items()
    }


def back_up_to(db: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Write a copy of the database, of one consistent state, to a new file.

    Only its owner reads it.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    if Path(path).exists():
        raise StorageError(f"{path} exists; a backup overwrites nothing")
    try:
        make_private(Path(path))  # SQLite fills an empty file too
        db.execute("VACUUM INTO ?", (os.fspath(path),))
        _mark_copy(Path(path))
    except (OSError, sqlite3.Error) as exc:
        Path(path).unlink(missing_ok=True)  # half a copy is none
        raise StorageError(f"cannot back up to {path}: {exc}") from exc


def take_up_copy(db: sqlite3.Connection, acknowledged: int) -> None:
    """Let a store begin with a copy: above its original, all keys changed just now.

    By the time since the copy was made, too, so that of two stores that begin with the
    same copy the later one is above the other. On a database that is no copy it does
    nothing.

    Args:
        db: the database.
        acknowledged: the newest index of the store in whose place it was put, which may
            itself have begun with a later copy; 0 if it is not known.

    Raises:
        ValueError: a row is not as it was written.
        sqlite3.Error: the disk refuses.
    """
    row = db.execute("SELECT * FROM meta WHERE name = ?", (_COPIED,)).fetchone()
    if row is None:
        return
    _, copied_us = unseal(row)
    since_us = max(0, time.time_ns() // 1000 - copied_us)
    with db:
        db.execute("BEGIN IMMEDIATE")
        file_journal(db)
        select = "SELECT * FROM meta WHERE name = 'index'"
        _, highest = unseal(db.execute(select).fetchone())
        base = max(highest, acknowledged) + COPY_STRIDE + since_us
        _change_all(db, base)
        set_meta(db, "index", base)
        set_meta(db, "floor", base)
        db.execute("DELETE FROM tombstones")  # all of them are below the floor
        db.execute("DELETE FROM meta WHERE name = ?", (_COPIED,))


def _change_all(db: sqlite3.Connection, index: int) -> None:
    """Write each key again as it is, as the change of an index."""
    time_ms = time.time_ns() // 1_000_000
    query = f"SELECT {COLUMNS} FROM entries WHERE key > ? ORDER BY key LIMIT {_PAGE}"
    last = b""  # no key is empty
    while found := [read_entry(row) for row in db.execute(query, (last,))]:
        last = found[-1].key
        entries = [attrs.evolve(entry, modify_index=index) for entry in found]
        rows = [row_of_revision(Revision(one.key, index, one)) for one in entries]
        db.executemany("REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        again = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        db.executemany(again, [(*row, time_ms) for row in rows])


def _mark_copy(path: Path) -> None:
    """Note in a database that it is a copy, and when it was made."""
    db = sqlite3.connect(path)
    try:
        with db:
            set_meta(db, _COPIED, time.time_ns() // 1000)
    finally:
        db.close()
