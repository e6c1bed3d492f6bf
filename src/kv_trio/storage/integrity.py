"""The integrity of a whole database: is it as it was written, how much is in it.

And a copy of it, which is of one consistent state.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from kv_trio.errors import StorageError
from kv_trio.storage.database import mark_copy
from kv_trio.storage.directory import make_private
from kv_trio.storage.journal import ENTRIES, REVISIONS, TOMBSTONES
from kv_trio.storage.schema import (
    COLUMNS,
    REVISION,
    Row,
    read_entry,
    read_revision,
    read_session,
    read_tombstone,
    unseal,
)

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
        mark_copy(Path(path))
    except (OSError, sqlite3.Error) as exc:
        Path(path).unlink(missing_ok=True)  # half a copy is none
        raise StorageError(f"cannot back up to {path}: {exc}") from exc
