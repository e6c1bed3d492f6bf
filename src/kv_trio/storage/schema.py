"""The tables of the database, and the values that their rows stand for. Pure.

A tombstone is what is left of the revision that deleted the key, with its checksum.
Flags are text, since SQLite's integers end at 2**63. The column `checksum` is one over
those before it, for SQLite does not notice a flipped bit in a value.
"""

from __future__ import annotations

import zlib
from typing import Any

from kv_trio.state.entry import Entry, Revision, Session

SESSIONS = """CREATE TABLE sessions (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, ttl_s REAL NOT NULL, ttl TEXT NOT NULL,
  lock_delay_s REAL NOT NULL, deletes INTEGER NOT NULL,
  create_index INTEGER NOT NULL, owner TEXT NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID"""
"""The statement that makes the table of the sessions."""

SCHEMA = (
    """CREATE TABLE meta (
      name TEXT PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE entries (
      key BLOB PRIMARY KEY, value BLOB NOT NULL, flags TEXT NOT NULL,
      create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL,
      lock_index INTEGER NOT NULL, session TEXT, checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE tombstones (
      key BLOB PRIMARY KEY, at INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    SESSIONS,
    """CREATE TABLE history (
      key BLOB NOT NULL, value BLOB, flags TEXT NOT NULL,
      create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL,
      lock_index INTEGER NOT NULL, session TEXT, checksum INTEGER NOT NULL,
      time_ms INTEGER NOT NULL, PRIMARY KEY (key, modify_index)
    ) WITHOUT ROWID""",
    "CREATE INDEX history_in_order ON history (modify_index, time_ms)",
    """CREATE TABLE journal (
      key BLOB NOT NULL, value BLOB, flags TEXT NOT NULL,
      create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL,
      lock_index INTEGER NOT NULL, session TEXT, checksum INTEGER NOT NULL,
      time_ms INTEGER NOT NULL
    )""",
    """CREATE TABLE trims (key BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID""",
)

COLUMNS = "key, value, flags, create_index, modify_index, lock_index, session, checksum"
"""The columns of an entry, in the order in which `read_entry` takes them."""

REVISION = f"{COLUMNS}, time_ms"
"""The columns of a revision, in the order in which `read_revision` takes them."""

Row = tuple[Any, ...]


def seal(*columns: Any) -> Row:
    """Give a row of these columns and their checksum."""
    return (*columns, zlib.crc32(repr(columns).encode()))


def unseal(row: Row) -> Row:
    """Give the columns of a row that was sealed.

    Raises:
        ValueError: it is not as it was written.
    """
    *columns, _ = row
    if seal(*columns) != row:
        raise ValueError(f"the checksum of {columns[0]!r} does not fit")
    return tuple(columns)


def row_of_session(session: Session) -> Row:
    """Give a session's row."""
    return seal(
        session.id,
        session.name,
        session.ttl_s,
        session.ttl,
        session.lock_delay_s,
        int(session.deletes),
        session.create_index,
        session.owner,
    )


def read_session(row: Row) -> Session:
    """Give the session of a row.

    Raises:
        ValueError: it is not as it was written.
    """
    id_, name, ttl_s, ttl, lock_delay_s, deletes, *rest = unseal(row)
    return Session(id_, name, ttl_s, ttl, lock_delay_s, bool(deletes), *rest)


def row_of_revision(revision: Revision) -> Row:
    """Give a revision's row without its time, in `COLUMNS`: the entry's, if it is one."""
    entry = revision.entry
    columns: Row
    if entry is None:
        columns = (revision.key, None, "0", 0, revision.index, 0, None)
    else:
        columns = (
            entry.key,
            entry.value,
            str(entry.flags),
            entry.create_index,
            entry.modify_index,
            entry.lock_index,
            entry.session,
        )
    return (*columns, _checksum(columns))


def read_entry(row: Row) -> Entry:
    """Give the entry of a row of `COLUMNS`.

    Raises:
        ValueError: it is not as it was written.
    """
    *columns, checksum = row
    try:
        fits = _checksum(tuple(columns)) == checksum
    except TypeError:  # a value of another type
        fits = False
    if not fits:
        raise ValueError(f"the checksum of the key {columns[0]!r} does not fit")
    key, value, flags, *rest = columns
    return Entry(key, value, int(flags), *rest)


def read_revision(row: Row) -> Revision:
    """Give the revision of a row of `REVISION`.

    Raises:
        ValueError: it is not as it was written.
    """
    entry = read_entry(row[:-1])
    deleted = entry.value is None
    return Revision(entry.key, entry.modify_index, None if deleted else entry, row[-1])


def row_of_tombstone(key: bytes, deleted_at: int) -> Row:
    """Give the row of a key that the change of a number deleted."""
    return (key, deleted_at, row_of_revision(Revision(key, deleted_at, None))[-1])


def read_tombstone(row: Row) -> tuple[bytes, int]:
    """Give a deleted key, and the number of its delete.

    Raises:
        ValueError: it is not as it was written.
    """
    key, deleted_at, _ = row
    if row_of_tombstone(key, deleted_at) != row:
        raise ValueError(f"the checksum of the deleted key {key!r} does not fit")
    return key, deleted_at


def _checksum(columns: Row) -> int:
    key, value, *rest = columns
    contents = zlib.crc32(value or b"", zlib.crc32(key))
    return zlib.crc32(repr((*rest, len(key), value is None)).encode(), contents)
