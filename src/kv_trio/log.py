"""The durable half: one SQLite database in one directory.

`synchronous=FULL` in WAL mode: when `commit` returns, the changes are on disk. A
failed commit leaves the database as it was. One server at a time has the directory
(a lock on a file in it, which the kernel drops when the process dies, however).

SQLite notices a page that makes no sense, but not a flipped bit in a value; so each
row has a checksum, which is compared when it is read.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kv_trio.core import FIRST_INDEX, Session, Store
from kv_trio.draft import Draft
from kv_trio.errors import StorageError, StoreDamaged, StoreLocked
from kv_trio.history import Bounds, History
from kv_trio.rows import (
    COLUMNS,
    SCHEMA,
    read_entry,
    read_revision,
    row_of_entry,
    row_of_revision,
)

DATABASE = "kv.sqlite"
_FORMAT = 2
_BUSY_S = 1.0  # another program may read, or back up, the database for a moment
_BATCH = 1000  # revisions that one transaction forgets at most
_TRIM_EVERY = 32  # writes of a key between two looks at the length of its history
_TRIM_KEYS = 100_000  # keys whose writes are counted at most


class Log:
    """An open data directory, or a database in memory that stands for one."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        bounds: Bounds | None = None,
    ) -> None:
        """Open it, made if absent; None for memory.

        Raises:
            StorageError: it cannot be made or written.
            StoreLocked: another server has it.
            StoreDamaged: what is in it is no database of ours, or a broken one.
        """
        self.directory = None if directory is None else Path(directory)
        self.bounds = bounds or Bounds()
        self._lock = -1 if self.directory is None else take_lock(self.directory)
        self._written: Counter[bytes] = Counter()
        self._writing = threading.Lock()
        try:
            self._db = self._open()
            self.history = self._open_history()
        except BaseException:
            self._unlock()
            raise

    def __repr__(self) -> str:
        return f"<Log {self.directory or 'in memory'}>"

    @property
    def blocks(self) -> bool:
        """Whether its methods wait for a disk, so that they belong into a thread."""
        return self.directory is not None

    def close(self) -> None:
        """Close the database and let another server have the directory."""
        self.history.close()
        self._db.close()
        self._unlock()

    def load(self) -> Store:
        """Read the whole state.

        Raises:
            StoreDamaged: a row is not what was written.
        """
        db = self._db
        try:
            meta = dict(db.execute("SELECT name, value FROM meta"))
            rows = db.execute(f"SELECT {COLUMNS} FROM entries")
            entries = [read_entry(row) for row in rows]
            tombstones = dict(db.execute("SELECT key, at FROM tombstones"))
            sessions = [
                Session(id_, name, ttl_s, ttl, delay_s, bool(deletes), create_index)
                for id_, name, ttl_s, ttl, delay_s, deletes, create_index in (
                    db.execute("SELECT * FROM sessions")
                )
            ]
        except sqlite3.DatabaseError as exc:
            raise self._damaged(exc) from exc
        except ValueError as exc:
            raise self._damaged(exc) from exc
        store = Store()
        store.restore(
            *(entries, tombstones, sessions),
            index=meta["index"],
            floor=meta["floor"],
        )
        return store

    def commit(self, draft: Draft, time_ms: int | None = None) -> None:
        """Make a draft durable; blocks for as long as the disk takes.

        Args:
            draft: what to write.
            time_ms: what its revisions say of their time; now by default.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        now_ms = time.time_ns() // 1_000_000 if time_ms is None else time_ms
        self._transact(lambda _: self._write(draft, now_ms))

    def compact(self, index: int) -> int:
        """Forget the history up to an index, but for what was the state then.

        Gives how many revisions that were. It goes in small transactions, so that
        writers need not wait for long.

        Raises:
            StorageError: the disk refuses; what was forgotten so far stays so.
        """
        self._transact(partial(self.history.begin_compaction, index))
        replaced = self.history.replaced_by(index)
        for at in range(0, len(replaced), _BATCH):
            forget = partial(self.history.forget, replaced[at : at + _BATCH])
            self._transact(forget)
        return len(replaced)

    def compact_old(self) -> int:
        """Forget what is older than the bound, as `compact` does."""
        before_ms = time.time_ns() // 1_000_000 - round(self.bounds.age_s * 1000)
        index = self.history.last_before(before_ms)
        return self.compact(index) if index else 0

    def check(self) -> list[str]:
        """Read everything; give what is wrong with it."""
        rows = self._db.execute("PRAGMA integrity_check").fetchall()
        faults = [text for (text,) in rows if text != "ok"]
        for table, columns, read in (
            ("entries", COLUMNS, read_entry),
            ("history", f"{COLUMNS}, time_ms", read_revision),
        ):
            for row in self._db.execute(f"SELECT {columns} FROM {table}"):
                try:
                    read(row)
                except ValueError as exc:
                    faults.append(f"{table}: {exc}")
        lost = self._db.execute(
            "SELECT entries.key FROM entries LEFT JOIN history USING (key, modify_index)"
            " WHERE history.value IS NOT entries.value"
        )
        faults += [
            f"history: the present state of {key!r} is not in it" for (key,) in lost
        ]
        return faults

    def counts(self) -> dict[str, int]:
        """Give how many rows each table has."""
        tables = ("entries", "history", "tombstones", "sessions")
        count = "SELECT count(*) FROM"
        return {
            table: self._db.execute(f"{count} {table}").fetchone()[0]
            for table in tables
        }

    def back_up(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the database, of one consistent state, to a new file.

        Raises:
            StorageError: the file exists, or cannot be written.
        """
        if Path(path).exists():
            raise StorageError(f"{path} exists; a backup overwrites nothing")
        reader = self._connect() if self.blocks else self._db
        try:
            reader.execute("VACUUM INTO ?", (os.fspath(path),))
        except sqlite3.Error as exc:
            raise StorageError(f"cannot back up to {path}: {exc}") from exc
        finally:
            if self.blocks:
                reader.close()

    # === private ===

    @property
    def _name(self) -> str:
        return str(self.directory or "memory")

    def _write(self, draft: Draft, now_ms: int) -> None:
        db = self._db
        kept = [entry for entry in draft.entries.values() if entry is not None]
        gone = [(key,) for key, entry in draft.entries.items() if entry is None]
        db.executemany(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            map(row_of_entry, kept),
        )
        db.executemany("DELETE FROM entries WHERE key = ?", gone)
        db.executemany(
            "DELETE FROM tombstones WHERE key = ?",
            [*((e.key,) for e in kept), *((key,) for key in draft.forgotten)],
        )
        db.executemany(
            "INSERT OR REPLACE INTO tombstones VALUES (?, ?)", draft.deleted_at.items()
        )
        self._write_history(draft, now_ms)
        self._write_sessions(draft)
        db.executemany(
            "UPDATE meta SET value = ? WHERE name = ?",
            [(draft.index, "index"), (draft.floor, "floor")],
        )

    def _write_history(self, draft: Draft, now_ms: int) -> None:
        revisions = draft.revisions()
        self._db.executemany(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [row_of_revision(revision, now_ms) for revision in revisions],
        )
        if len(self._written) > _TRIM_KEYS:
            self._written.clear()
        for revision in revisions:
            self._written[revision.key] += 1
            if self._written[revision.key] >= _TRIM_EVERY:
                del self._written[revision.key]
                self.history.trim(self._db, revision.key, self.bounds.count)

    def _write_sessions(self, draft: Draft) -> None:
        for id_, session in draft.sessions.items():
            self._db.execute("DELETE FROM sessions WHERE id = ?", (id_,))
            if session is not None:
                self._db.execute(
                    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(session.id, session.name, session.ttl_s, session.ttl),
                        *(session.lock_delay_s, session.deletes, session.create_index),
                    ),
                )

    def _transact(self, write: Callable[[sqlite3.Connection], None]) -> None:
        db = self._db
        with self._writing:
            try:
                db.execute("BEGIN IMMEDIATE")
                write(db)
                db.execute("COMMIT")
            except sqlite3.Error as exc:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise StorageError(f"cannot write to {self._name}: {exc}") from exc

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        path = ":memory:" if self.directory is None else self.directory / DATABASE
        return sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )

    def _open(self) -> sqlite3.Connection:
        try:
            db = self._connect()
        except sqlite3.Error as exc:
            raise StorageError(f"cannot open {self._name}: {exc}") from exc
        try:
            self._prepare(db)
        except sqlite3.OperationalError as exc:
            db.close()
            raise StorageError(f"cannot use {self._name}: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            db.close()
            raise self._damaged(exc) from exc
        except BaseException:
            db.close()
            raise
        return db

    def _open_history(self) -> History:
        if self.directory is None:
            return History(self._db, owned=False)
        reader = self._connect()
        reader.execute("PRAGMA query_only = ON")
        return History(reader, owned=True)

    def _prepare(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise self._damaged(found)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _FORMAT):
            raise self._damaged(f"format {version}, expected {_FORMAT}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if version == 0:
            # A store in memory cannot go on where the last one was, so it begins at
            # the present second: higher than anything that was given before.
            first = int(time.time()) if self.directory is None else FIRST_INDEX
            db.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                db.execute(statement)
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [("index", first), ("floor", 0), ("compacted", first)],
            )
            db.execute(f"PRAGMA user_version = {_FORMAT}")
            db.execute("COMMIT")

    def _damaged(self, reason: object) -> StoreDamaged:
        return StoreDamaged(
            f"the database in {self._name} cannot be read ({reason}); restore it"
            " from a backup, or move it away to begin with an empty store"
        )


def take_lock(directory: Path) -> int:
    """Have a data directory, made if absent, for this process; give the lock's fd.

    Raises:
        StorageError: it cannot be used.
        StoreLocked: another process has it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot use {directory} for data: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise StoreLocked(
            f"another server has {directory} open; stop it, or choose another directory"
        ) from exc
    return lock
