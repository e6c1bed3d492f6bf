"""The connection that writes: one transaction at a time, at once or in a thread.

On a quick disk a transaction is done at once, in the caller's thread, since to hand it
to another thread and back costs more than the disk does. A disk counts as quick if its
last commits were.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kv_trio.errors import StorageError
from kv_trio.storage.database import BUSY_S, lengthen_log, name_of
from kv_trio.storage.schema import Row

QUICK_S = 0.002
"""Seconds; a disk that takes longer is waited for in a thread."""

_SLOW_S = 4 * QUICK_S  # a slower commit counts as one of this time
_DECAY = 0.8  # with each commit the time of the slowest counts so much less
_POLL_S = 0.01  # between two tries while another program has the database

Write = Callable[[sqlite3.Connection], None]


class WriteConnection:
    """The connection that writes.

    Attributes:
        db: the connection, for reading while nothing is written.
    """

    def __init__(self, db: sqlite3.Connection, directory: Path | None) -> None:
        """Take over a connection to a directory's database, or to one in memory."""
        self.db = db
        self._directory = directory
        self._writing = threading.Lock()
        self._sync_s = 0.0  # of the slowest of the last commits
        self._has_remains = False  # of a commit that failed, in the log

    def __repr__(self) -> str:
        return f"<WriteConnection on {name_of(self._directory)}>"

    @property
    def is_quick(self) -> bool:
        """Whether the disk is quick enough to be waited for at once."""
        return self._directory is None or self._sync_s <= QUICK_S

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def run(self, write: Write, *, timed: bool = True) -> None:
        """Write in a transaction; blocks for as long as the disk takes.

        Args:
            write: called with the connection, within the transaction.
            timed: whether its time tells how quick the disk is; that of a large
                transaction does not.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        with self._writing:
            self._begin(patience_s=BUSY_S)
            took_s = self._finish(write)
            if timed:
                self._note(took_s)

    def run_at_once(self, write: Write) -> bool:
        """Write in a transaction; False, and nothing done, if somebody else writes.

        Raises:
            StorageError: as `run`.
        """
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if not self._begin(patience_s=0):
                return False
            self._note(self._finish(write))
        finally:
            self._writing.release()
        return True

    def add_at_once(self, statement: str, row: Row) -> bool:
        """Run a statement that is a transaction of its own; else as `run_at_once`.

        SQLite then does in one step what are three otherwise.
        """
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if self._has_remains:
                self._truncate_wal()
            began = time.perf_counter()
            self.db.execute(statement, row)
            self._note(time.perf_counter() - began)
        except sqlite3.Error as exc:
            if _is_busy(exc):
                return False
            raise self._roll_back(exc) from exc
        finally:
            self._writing.release()
        return True

    def refused(self, exc: BaseException) -> StorageError:
        """Make the error of a disk that refuses."""
        return StorageError(f"cannot write to {name_of(self._directory)}: {exc}")

    # === private ===

    def _begin(self, *, patience_s: float) -> bool:
        """Begin a transaction; False if another program has the database.

        Raises:
            StorageError: it has the database for longer than the patience, if any.
        """
        patient_until = time.monotonic() + patience_s
        if self._has_remains:
            self._truncate_wal()
        while True:
            try:
                self.db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as exc:
                if _is_busy(exc) and not patience_s:
                    return False
                if not _is_busy(exc) or time.monotonic() > patient_until:
                    raise self.refused(exc) from exc
                time.sleep(_POLL_S)
            else:
                return True

    def _finish(self, write: Write) -> float:
        """Write and commit; give the seconds that the disk took."""
        try:
            write(self.db)
            began = time.perf_counter()
            self.db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise self._roll_back(exc) from exc
        except BaseException as exc:
            self._roll_back(exc)  # or the next transaction could not begin
            raise
        return time.perf_counter() - began

    def _note(self, took_s: float) -> None:
        """Remember how long the disk took; one long time does not count for ever."""
        self._sync_s = max(min(took_s, _SLOW_S), self._sync_s * _DECAY)

    def _roll_back(self, exc: BaseException) -> StorageError:
        """End the transaction that failed; give the error to raise if the disk refused."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._has_remains = self._directory is not None
        return self.refused(exc)

    def _truncate_wal(self) -> None:
        """Empty the write-ahead log, which has the remains of a commit that failed.

        They would look like damage: see `kv_trio.storage.wal_check`.
        """
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            return  # the disk refuses still, so the commit will tell
        self._has_remains = False
        lengthen_log(self._directory)


def _is_busy(exc: sqlite3.Error) -> bool:
    return exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
