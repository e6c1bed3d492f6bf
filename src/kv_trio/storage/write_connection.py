"""Transactions on a store's database, one at a time.

One on a quick disk is done where it is asked for, since handing it to a thread and back
costs more than the disk does. How quick the disk is, is what it took lately.
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
"""A disk that takes longer than this is waited for in a thread."""

_SLOW_S = 4 * QUICK_S  # as slow as a disk can be, as far as this goes
_FORGETS = 0.8  # the slowest commit is remembered so much after each further one
_POLL_S = 0.01

Write = Callable[[sqlite3.Connection], None]


class Transactions:
    """The connection that writes.

    Attributes:
        db: the connection, for reading while nothing is written.
    """

    def __init__(self, db: sqlite3.Connection, directory: Path | None) -> None:
        """Take over a connection to a directory's database, or to one in memory."""
        self.db = db
        self._directory = directory
        self._writing = threading.Lock()
        self._sync_s = 0.0  # quick, until the first one tells
        self._refused_one = False

    def __repr__(self) -> str:
        return f"<Transactions on {name_of(self._directory)}>"

    @property
    def is_quick(self) -> bool:
        """Whether the disk is quick enough to be waited for at once."""
        return self._directory is None or self._sync_s <= QUICK_S

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def run(self, write: Write, *, noted: bool = True) -> None:
        """Write in a transaction; blocks for as long as the disk takes.

        Args:
            write: called with the connection, within the transaction.
            noted: whether it tells how quick the disk is; what is large does not.

        Raises:
            StorageError: it is not durable, and nothing of it is kept.
        """
        with self._writing:
            self._begin(patience_s=BUSY_S)
            took_s = self._finish(write)
            if noted:
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
            if self._refused_one:
                self._mend()
            began = time.perf_counter()
            self.db.execute(statement, row)
            self._note(time.perf_counter() - began)
        except sqlite3.Error as exc:
            if _is_busy(exc):
                return False
            raise self._refused(exc) from exc
        finally:
            self._writing.release()
        return True

    def refused(self, exc: sqlite3.Error) -> StorageError:
        """Say that the disk refuses."""
        return StorageError(f"cannot write to {name_of(self._directory)}: {exc}")

    # === private ===

    def _begin(self, *, patience_s: float) -> bool:
        """Begin a transaction; False if another program has the database.

        Raises:
            StorageError: it has it for longer than the patience, if there is any.
        """
        patient_until = time.monotonic() + patience_s
        if self._refused_one:
            self._mend()
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
            raise self._refused(exc) from exc
        return time.perf_counter() - began

    def _note(self, took_s: float) -> None:
        """Remember how long the disk took; one long time does not count for ever."""
        self._sync_s = max(min(took_s, _SLOW_S), self._sync_s * _FORGETS)

    def _refused(self, exc: sqlite3.Error) -> StorageError:
        """End what the disk refused to commit, and say so."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._refused_one = self._directory is not None
        return self.refused(exc)

    def _mend(self) -> None:
        """Have a log without the remains of a commit that failed.

        They would look like damage: see `kv_trio.storage.wal_check`.
        """
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            return  # the disk refuses still, so the commit will tell
        self._refused_one = False
        lengthen_log(self._directory)


def _is_busy(exc: sqlite3.Error) -> bool:
    return exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
