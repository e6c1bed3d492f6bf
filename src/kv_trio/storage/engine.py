"""The storage engine: a batch of changes becomes a transaction on disk.

When `commit` returns, the changes are on disk; a commit that fails leaves the database
as it was. A small batch goes into the journal, to be filed later
(`kv_trio.storage.journal`).

SQLite notices a page that makes no sense, but not a flipped bit in a value; so each
row has a checksum, which is compared when it is read.

One file, since what a commit counts (rows in the journal, commits since the last
checkpoint, writes of each key) decides what the next one does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections import Counter
from functools import partial
from pathlib import Path

from kv_trio.errors import StorageError
from kv_trio.state.store import Store
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.database import (
    connect,
    damaged,
    lengthen_log,
    name_of,
    open_database,
)
from kv_trio.storage.directory import (
    DATABASE,
    AcknowledgedIndex,
    take_directory,
)
from kv_trio.storage.history import Bounds, History
from kv_trio.storage.integrity import (
    back_up_to,
    count_rows,
    find_faults,
    find_loss,
    take_up_copy,
)
from kv_trio.storage.journal import ADD, file_journal, journal_rows
from kv_trio.storage.schema import Row
from kv_trio.storage.tables import read_store, write_changes
from kv_trio.storage.write_connection import Write, WriteConnection

_log = logging.getLogger(__name__)

_QUICK_BYTES = 64 * 1024  # of values in a commit that is done at once
_QUICK_KEYS = 8
_CHECKPOINT_EVERY = 500  # commits
_JOURNAL_ROWS = 1024  # beyond which, or so, they are filed
_JOURNAL_BYTES = 16 * 1024 * 1024  # of their values, likewise
_JOURNAL_ROWS_AT_ONCE = 256  # of one commit, beyond which they go into the tables
_COMPACT_ROWS = 1000  # revisions that one transaction forgets at most
_TRIM_EVERY = 32  # writes of a key between two looks at the length of its history
_TRIM_KEYS = 100_000  # keys whose writes are counted at most


class StorageEngine:
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
        self._lock = -1 if self.directory is None else take_directory(self.directory)
        self._writes_of: Counter[bytes] = Counter()  # of a key, since it was trimmed
        self._to_trim: set[bytes] = set()
        self._commits = 0  # since the last checkpoint
        self._journal_rows = 0
        self._journal_bytes = 0
        with contextlib.ExitStack() as opened:
            opened.callback(self._unlock)
            self._acknowledged = AcknowledgedIndex(self.directory)
            opened.callback(self._acknowledged.close)
            self._note_new_database()
            db = open_database(self.directory)
            opened.callback(db.close)
            self._check_loss(db)
            self._connection = WriteConnection(db, self.directory)
            self.history = self._open_history()
            opened.pop_all()

    def __repr__(self) -> str:
        return f"<StorageEngine {name_of(self.directory)}>"

    @property
    def lock(self) -> int:
        """The descriptor of the directory's lock; -1 in memory."""
        return self._lock

    @property
    def blocks(self) -> bool:
        """Whether its methods wait for a disk, and so are to be called in a thread."""
        return self.directory is not None

    def close(self) -> None:
        """Close the database and let another server have the directory."""
        self.history.close()
        self._connection.close()
        self._acknowledged.close()
        self._unlock()

    def load(self) -> Store:
        """Read the whole state.

        Raises:
            StorageError: the disk refuses.
            StoreDamaged: a row is not what was written.
        """
        db = self._connection.db
        try:
            take_up_copy(db, self._acknowledged.read())
            store = read_store(db)
        except sqlite3.OperationalError as exc:
            raise self._connection.refused(exc) from exc
        except (sqlite3.DatabaseError, ValueError, KeyError) as exc:
            raise damaged(self.directory, exc) from exc
        lengthen_log(self.directory)
        self._acknowledged.note(store.index)
        return store

    # === writing ===

    def commit(self, write_batch: WriteBatch, time_ms: int | None = None) -> None:
        """Make a batch durable; blocks for as long as the disk takes.

        Args:
            write_batch: what to write.
            time_ms: what its revisions say of their time; now by default.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        rows = journal_rows(write_batch.revisions(), time_ms)
        self._connection.run(partial(self._write, write_batch, rows))
        self._acknowledged.note(write_batch.index)

    def commit_at_once(self, write_batch: WriteBatch) -> bool:
        """Make a batch durable if that is quick; False, and nothing done, if not.

        It is quick if the last commits were, the batch is small, and nobody else is
        writing. A disk that suddenly stalls is waited for, but only once.

        Raises:
            StorageError: as `commit`.
        """
        if self.blocks and not self._is_quick(write_batch):
            return False
        rows = journal_rows(write_batch.revisions())
        if len(rows) != 1 or not write_batch.is_plain:
            done = self._connection.run_at_once(partial(self._write, write_batch, rows))
        else:
            done = self._connection.add_at_once(ADD, rows[0])
            if done:
                self._count(rows)
        if done:
            self._acknowledged.note(write_batch.index)
        return done

    @property
    def needs_checkpoint(self) -> bool:
        """Whether it is time for a `checkpoint`."""
        return (
            self._commits >= _CHECKPOINT_EVERY
            or self._journal_rows >= _JOURNAL_ROWS // 2
            or self._journal_bytes >= _JOURNAL_BYTES // 2
        )

    def checkpoint(self) -> None:
        """File the journal, and bring SQLite's write-ahead log into the database.

        Then no commit has to. What the disk refuses now is left for the next time.
        """
        self._commits = 0
        try:
            self._write_unhurried(self._file_journal)
        except StorageError:
            return  # nothing is lost
        if self.directory is None:
            return
        try:
            with contextlib.closing(connect(self.directory)) as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            pass  # nothing is lost: it is all in the log

    # === forgetting ===

    def compact(self, index: int) -> int:
        """Forget the history up to an index, but for what was the state then.

        Gives how many revisions were forgotten. Each transaction is small, so that
        writers need not wait for long.

        Raises:
            StorageError: the disk refuses; what was forgotten so far stays so.
        """
        self._write_unhurried(self._file_journal)
        self._write_unhurried(partial(self.history.begin_compaction, index))
        replaced = self.history.replaced_by(index)
        for start in range(0, len(replaced), _COMPACT_ROWS):
            some = replaced[start : start + _COMPACT_ROWS]
            self._write_unhurried(partial(self.history.forget, some))
        return len(replaced)

    def compact_old(self) -> int:
        """Forget what is older than the bound, as `compact` does."""
        self._write_unhurried(self._file_journal)
        before_ms = time.time_ns() // 1_000_000 - round(self.bounds.age_s * 1000)
        index = self.history.last_before(before_ms)
        return self.compact(index) if index else 0

    # === inspecting ===

    def check(self) -> list[str]:
        """Read the whole database; give what is wrong with it."""
        return find_faults(self._connection.db)

    def counts(self) -> dict[str, int]:
        """Give how many entries, revisions, tombstones and sessions there are."""
        return count_rows(self._connection.db)

    def back_up(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the database, of one consistent state, to a new file.

        Raises:
            StorageError: the file exists, or cannot be written.
        """
        if self.directory is None:
            back_up_to(self._connection.db, path)
            return
        reader = connect(self.directory)
        try:
            back_up_to(reader, path)
        finally:
            reader.close()

    # === private: writing ===

    def _is_quick(self, write_batch: WriteBatch) -> bool:
        if len(write_batch.entries) > _QUICK_KEYS or not self._connection.is_quick:
            return False
        size = 0
        for entry in write_batch.entries.values():
            if entry is not None:
                size += len(entry.value)
        return size <= _QUICK_BYTES and not self._is_overfull

    @property
    def _is_overfull(self) -> bool:
        """Whether the next commit files the journal, since the checkpoint is late."""
        full = self._journal_rows >= _JOURNAL_ROWS
        return full or self._journal_bytes >= _JOURNAL_BYTES

    def _write(
        self, write_batch: WriteBatch, rows: list[Row], db: sqlite3.Connection
    ) -> None:
        journaled = write_batch.is_plain and len(rows) <= _JOURNAL_ROWS_AT_ONCE
        if not journaled or self._is_overfull:
            self._file_journal(db)
        if journaled:
            db.executemany(ADD, rows)
        else:
            write_changes(db, write_batch, rows)
        self._count(rows)

    def _count(self, rows: list[Row]) -> None:
        """Count a commit's rows, and note the keys whose history may be too long."""
        writes_of = self._writes_of
        if len(writes_of) > _TRIM_KEYS:
            writes_of.clear()
        for key, value, *_ in rows:
            self._journal_bytes += len(value or b"")
            writes_of[key] += 1
            if writes_of[key] >= _TRIM_EVERY:
                del writes_of[key]
                self._to_trim.add(key)
        self._journal_rows += len(rows)
        self._commits += 1

    def _write_unhurried(self, write: Write) -> None:
        """Write what nobody waits for, so its time says nothing of the disk."""
        self._connection.run(write, timed=False)

    def _file_journal(self, db: sqlite3.Connection) -> None:
        """File the journal, and forget what is beyond the bound of a key's history."""
        file_journal(db)
        self._journal_rows = self._journal_bytes = 0
        while self._to_trim:  # another thread may add to it meanwhile
            self.history.trim(db, self._to_trim.pop(), self.bounds.count)

    # === private: opening ===

    def _open_history(self) -> History:
        if self.directory is None:
            return History(self._connection.db, owned=False)
        reader = connect(self.directory)
        reader.execute("PRAGMA query_only = ON")
        return History(reader, owned=True)

    def _note_new_database(self) -> None:
        """Begin to count anew where the database was moved away."""
        if self.directory is None or (self.directory / DATABASE).exists():
            return
        before = self._acknowledged.read()
        if before:
            _log.warning(
                "%s begins with an empty store; one that was there had changes up to %d",
                self.directory,
                before,
            )
        self._acknowledged.note(0)

    def _check_loss(self, db: sqlite3.Connection) -> None:
        try:
            loss = find_loss(db, self._acknowledged.read())
        except sqlite3.Error as exc:
            raise damaged(self.directory, exc) from exc
        if loss:
            raise damaged(self.directory, loss)

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
