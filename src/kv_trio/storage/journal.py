"""The journal: changes that are on disk, but not yet in the tables where they belong.

A commit costs the pages that it changes and the statements that it runs. To put a
write where it belongs changes four pages: the entry, its history, the order of the
history, and the store's index. So most writes go into one table, row after row, which
is one page and one statement; later all rows are filed at once, by SQL alone. (The log
of a memtable has the same reason: O'Neil and others, "The log-structured merge-tree",
1996.)

The rule that it obeys: its rows are newer than all that is filed, and whoever reads the
state or the past reads them too.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

from kv_trio.state.entry import Revision
from kv_trio.storage.database import set_meta
from kv_trio.storage.schema import (
    COLUMNS,
    REVISION,
    Row,
    read_revision,
    row_of_revision,
)

_LAST = f"(SELECT {COLUMNS}, max(rowid) FROM journal GROUP BY key)"  # row of each key
_WRITTEN = f"FROM {_LAST} WHERE value IS NOT NULL"
_DELETED = f"FROM {_LAST} WHERE value IS NULL"

REVISIONS = f"(SELECT {REVISION} FROM history UNION ALL SELECT {REVISION} FROM journal)"
"""All revisions that are kept, to select from."""

ENTRIES = (
    "(SELECT key FROM entries WHERE key NOT IN (SELECT key FROM journal)"
    f" UNION ALL SELECT key {_WRITTEN})"
)
"""The keys that there are, to select from."""

TOMBSTONES = (
    "(SELECT key FROM tombstones WHERE key NOT IN (SELECT key FROM journal)"
    f" UNION ALL SELECT key {_DELETED})"
)
"""The deleted keys that are remembered, to select from."""

ADD = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""The statement that adds one row of `journal_rows`."""

_FILE = (
    f"INSERT INTO history SELECT {REVISION} FROM journal",
    f"INSERT OR REPLACE INTO entries SELECT {COLUMNS} {_WRITTEN}",
    f"DELETE FROM entries WHERE key IN (SELECT key {_DELETED})",
    f"INSERT OR REPLACE INTO tombstones SELECT key, modify_index, checksum {_DELETED}",
    f"DELETE FROM tombstones WHERE key IN (SELECT key {_WRITTEN})",
)


def journal_rows(revisions: list[Revision], time_ms: int | None = None) -> list[Row]:
    """Give the rows of revisions that were all written at a time; now by default."""
    if time_ms is None:
        time_ms = time.time_ns() // 1_000_000
    return [(*row_of_revision(revision), time_ms) for revision in revisions]


def read_journal(db: sqlite3.Connection) -> Iterator[Revision]:
    """Give the revisions that are not filed yet, in order.

    Raises:
        ValueError: a row is not as it was written.
    """
    rows = db.execute(f"SELECT {REVISION} FROM journal ORDER BY rowid")
    return map(read_revision, rows)


def file_journal(db: sqlite3.Connection) -> None:
    """Move all rows into the tables where they belong, within a transaction."""
    (last,) = db.execute("SELECT max(modify_index) FROM journal").fetchone()
    if last is None:
        return
    for statement in _FILE:
        db.execute(statement)
    set_meta(db, "index", last)
    db.execute("DELETE FROM journal")
