"""The durable half of a store: what changes becomes a transaction on disk.

When `commit` returns, the changes are on disk; a commit that fails leaves the database
as it was. A small one on a quick disk is done where it is asked for, since handing it
to a thread and back costs more than the disk does; what could take long is not.

SQLite notices a page that makes no sense, but not a flipped bit in a value; so each
row has a checksum, which is compared when it is read.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kv_trio.core import Store
from kv_trio.database import (
    BUSY_S,
    connect,
    damaged,
    name_of,
    open_database,
    take_lock,
    take_up_copy,
)
from kv_trio.draft import Draft
from kv_trio.errors import StorageError
from kv_trio.history import Bounds, History
from kv_trio.inspection import copy_to, count_rows, find_faults
from kv_trio.tables import read_store, write_draft

QUICK_S = 0.001
"""A disk that takes longer than this is waited for in a thread."""

_QUICK_BYTES = 64 * 1024  # of values in a commit that is done at once
_QUICK_KEYS = 8
_FORGETS = 0.9  # the slowest commit is remembered so much after each further one
_POLL_S = 0.01
_BATCH = 1000  # revisions that one transaction forgets at most
_TRIM_EVERY = 32  # writes of a key between two looks at the length of its history
_TRIM_KEYS = 100_000  # keys whose writes are counted at most

Write = Callable[[sqlite3.Connection], None]


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
        self._sync_s = 2 * QUICK_S  # not yet known
        self._refused_one = False
        try:
            self._db = open_database(self.directory)
            self.history = self._open_history()
        except BaseException:
            self._unlock()
            raise

    def __repr__(self) -> str:
        return f"<Log {name_of(self.directory)}>"

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
            StorageError: the disk refuses.
            StoreDamaged: a row is not what was written.
        """
        try:
            take_up_copy(self._db)
            return read_store(self._db)
        except sqlite3.OperationalError as exc:
            raise self._refused(exc) from exc
        except (sqlite3.DatabaseError, ValueError, KeyError) as exc:
            raise damaged(self.directory, exc) from exc

    def commit(self, draft: Draft, time_ms: int | None = None) -> None:
        """Make a draft durable; blocks for as long as the disk takes.

        Args:
            draft: what to write.
            time_ms: what its revisions say of their time; now by default.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        now_ms = time.time_ns() // 1_000_000 if time_ms is None else time_ms
        self._transact(partial(self._write, draft, now_ms))

    def commit_at_once(self, draft: Draft) -> bool:
        """Make a draft durable if that is quick; False, and nothing done, if not.

        It is quick where the disk was so lately, the draft is small, and nobody else
        is writing. A disk that suddenly stalls is waited for, but only once.

        Raises:
            StorageError: as `commit`.
        """
        if not self._is_quick(draft) or not self._writing.acquire(blocking=False):
            return False
        try:
            if not self._begin(patience_s=0):
                return False
            self._finish(partial(self._write, draft, time.time_ns() // 1_000_000))
        finally:
            self._writing.release()
        return True

    def fold(self) -> None:
        """Bring the write-ahead log into the database, beside those who write.

        So no commit has to. What the disk refuses now is left for the next time.
        """
        if self.directory is None:
            return
        db = connect(self.directory)
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            pass  # nothing is lost: it is all in the log
        finally:
            db.close()

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
        return find_faults(self._db)

    def counts(self) -> dict[str, int]:
        """Give how many rows each table has."""
        return count_rows(self._db)

    def back_up(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the database, of one consistent state, to a new file.

        Raises:
            StorageError: the file exists, or cannot be written.
        """
        if self.directory is None:
            copy_to(self._db, path)
            return
        reader = connect(self.directory)
        try:
            copy_to(reader, path)
        finally:
            reader.close()

    # === private: transactions ===

    def _transact(self, write: Write) -> None:
        with self._writing:
            self._begin(patience_s=BUSY_S)
            self._finish(write)

    def _begin(self, *, patience_s: float) -> bool:
        """Begin a transaction; False if another program has the database.

        Raises:
            StorageError: it has it for longer than the patience, if there is any.
        """
        patient_until = time.monotonic() + patience_s
        self._mend()
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as exc:
                busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if busy and not patience_s:
                    return False
                if not busy or time.monotonic() > patient_until:
                    raise self._refused(exc) from exc
                time.sleep(_POLL_S)
            else:
                return True

    def _finish(self, write: Write) -> None:
        db = self._db
        try:
            write(db)
            started = time.perf_counter()
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._refused_one = self.blocks
            raise self._refused(exc) from exc
        if self.blocks:
            sync_s = time.perf_counter() - started
            self._sync_s = max(sync_s, self._sync_s * _FORGETS)

    def _mend(self) -> None:
        """Have a log without the remains of a commit that failed.

        They would look like damage: see `kv_trio.wal`.
        """
        if self._refused_one:
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error:
                return  # the disk refuses still, so the commit will tell
            self._refused_one = False

    def _is_quick(self, draft: Draft) -> bool:
        if not self.blocks:
            return True
        if self._sync_s > QUICK_S or len(draft.entries) > _QUICK_KEYS:
            return False
        values = [entry.value for entry in draft.entries.values() if entry is not None]
        return sum(map(len, values)) <= _QUICK_BYTES

    def _refused(self, exc: sqlite3.Error) -> StorageError:
        return StorageError(f"cannot write to {name_of(self.directory)}: {exc}")

    def _write(self, draft: Draft, now_ms: int, db: sqlite3.Connection) -> None:
        revisions = draft.revisions()
        write_draft(db, draft, revisions, now_ms)
        self._trim([revision.key for revision in revisions], db)

    def _trim(self, keys: list[bytes], db: sqlite3.Connection) -> None:
        """Look now and then at how long the history of a key is."""
        written = self._written
        if len(written) > _TRIM_KEYS:
            written.clear()
        for key in keys:
            written[key] += 1
            if written[key] >= _TRIM_EVERY:
                del written[key]
                self.history.trim(db, key, self.bounds.count)

    # === private: opening ===

    def _open_history(self) -> History:
        if self.directory is None:
            return History(self._db, owned=False)
        reader = connect(self.directory)
        reader.execute("PRAGMA query_only = ON")
        return History(reader, owned=True)

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
