"""The durable half: one SQLite database in one directory.

`synchronous=FULL` in WAL mode: when `commit` returns, the changes are on disk. A
failed commit leaves the database as it was. One server at a time has the directory
(a lock on a file in it, which the kernel drops when the process dies, however).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from kv_trio.core import Draft, Entry, Session, Store
from kv_trio.errors import StorageError, StoreDamaged, StoreLocked

_FORMAT = 1
_BUSY_S = 1.0  # another program may read, or back up, the database for a moment
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
  key BLOB PRIMARY KEY, value BLOB NOT NULL, flags TEXT NOT NULL,
  create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL,
  lock_index INTEGER NOT NULL, session TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (key BLOB PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, ttl_s REAL NOT NULL, ttl TEXT NOT NULL,
  lock_delay_s REAL NOT NULL, deletes INTEGER NOT NULL, create_index INTEGER NOT NULL
);
"""


class Log:
    """An open data directory."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Open it, made if absent.

        Raises:
            StorageError: it cannot be made or written.
            StoreLocked: another server has it.
            StoreDamaged: what is in it is no database of ours, or a broken one.
        """
        self.directory = Path(directory)
        self._lock = self._take_lock()
        try:
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def __repr__(self) -> str:
        return f"<Log {self.directory}>"

    def close(self) -> None:
        """Close the database and let another server have the directory."""
        self._db.close()
        os.close(self._lock)

    def load(self) -> Store:
        """Read the whole state."""
        try:
            meta = dict(self._db.execute("SELECT name, value FROM meta"))
            entries = [
                Entry(key, value, int(flags), *rest)
                for key, value, flags, *rest in self._db.execute(
                    "SELECT * FROM entries"
                )
            ]
            tombstones = dict(self._db.execute("SELECT key, at FROM tombstones"))
            sessions = [
                Session(id_, name, ttl_s, ttl, delay_s, bool(deletes), create_index)
                for id_, name, ttl_s, ttl, delay_s, deletes, create_index in (
                    self._db.execute("SELECT * FROM sessions")
                )
            ]
        except sqlite3.DatabaseError as exc:
            raise self._damaged(exc) from exc
        store = Store()
        store.restore(
            entries,
            tombstones,
            sessions,
            index=meta.get("index", 0),
            floor=meta.get("floor", 0),
        )
        return store

    def commit(self, draft: Draft) -> None:
        """Make a draft durable; blocks for as long as the disk takes.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            self._write(draft)
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StorageError(f"cannot write to {self.directory}: {exc}") from exc

    def _write(self, draft: Draft) -> None:
        db = self._db
        kept = [entry for entry in draft.entries.values() if entry is not None]
        gone = [(key,) for key, entry in draft.entries.items() if entry is None]
        db.executemany(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(e.key, e.value, str(e.flags), e.create_index, e.modify_index),
                    *(e.lock_index, e.session),
                )
                for e in kept
            ],
        )
        db.executemany("DELETE FROM entries WHERE key = ?", gone)
        db.executemany(
            "DELETE FROM tombstones WHERE key = ?",
            [*((e.key,) for e in kept), *((key,) for key in draft.forgotten)],
        )
        db.executemany(
            "INSERT OR REPLACE INTO tombstones VALUES (?, ?)", draft.deleted_at.items()
        )
        for id_, session in draft.sessions.items():
            db.execute("DELETE FROM sessions WHERE id = ?", (id_,))
            if session is not None:
                db.execute(
                    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(session.id, session.name, session.ttl_s, session.ttl),
                        *(session.lock_delay_s, session.deletes, session.create_index),
                    ),
                )
        db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("index", draft.index), ("floor", draft.floor)],
        )

    def _take_lock(self) -> int:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise StorageError(
                f"cannot use {self.directory} for data: {exc.strerror}"
            ) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(lock)
            raise StoreLocked(
                f"another server has {self.directory} open; stop it, or choose another"
                " directory"
            ) from exc
        return lock

    def _open(self) -> sqlite3.Connection:
        path = self.directory / "kv.sqlite"
        try:
            db = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as exc:
            raise StorageError(f"cannot open {path}: {exc}") from exc
        try:
            self._prepare(db)
        except sqlite3.OperationalError as exc:
            db.close()
            raise StorageError(f"cannot use {path}: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            db.close()
            raise self._damaged(exc) from exc
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise self._damaged(found)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _FORMAT):
            raise self._damaged(f"format {version}, expected {_FORMAT}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {_FORMAT}")

    def _damaged(self, reason: object) -> StoreDamaged:
        return StoreDamaged(
            f"the database in {self.directory} cannot be read ({reason}); restore it"
            " from a backup, or move it away to begin with an empty store"
        )
