"""Opening a store's SQLite database.

`synchronous=FULL` in WAL mode: when a commit returns, it is on disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

from kv_trio.errors import StorageError, StoreDamaged
from kv_trio.state.store import FIRST_INDEX
from kv_trio.storage.directory import DATABASE, make_private
from kv_trio.storage.schema import SCHEMA, SESSIONS, seal, unseal
from kv_trio.storage.wal_check import find_damage

FORMAT = 6
"""The format of the tables, which stands in the database as its `user_version`."""

_WITHOUT_OWNERS = 5  # the format whose sessions have no owners

BUSY_S = 1.0
"""Seconds to wait for another program that has the database for itself."""

_WAL = f"{DATABASE}-wal"
_WAL_BYTES = 4 * 1024 * 1024  # its length from the start
_WAL_PAGES = 4000  # beyond which a commit checkpoints; mostly the engine did before
_MODES, _WITHOUT_LOG = slice(18, 20), b"\1\1"  # of a database's header (section 1.3)
_ROOM_BYTES = 64 * 1024 * 1024  # on the disk, below which the log is not lengthened


def connect(directory: Path | None) -> sqlite3.Connection:
    """Open a connection to a directory's database, or to a new one in memory.

    Of the processes only this one has it, which saves SQLite the locks of each
    transaction: in the VFS "unix-excl" its connections share an index in memory.
    """
    if directory is None:
        uri = "file::memory:"
    else:
        uri = f"{(directory / DATABASE).absolute().as_uri()}?vfs=unix-excl"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def open_database(directory: Path | None) -> sqlite3.Connection:
    """Open the connection that writes; the database is made if absent.

    It never waits for another program: a commit fails at once, and is tried again.

    Raises:
        StorageError: it cannot be made or written.
        StoreDamaged: what is there is no database of ours, or a broken one.
    """
    name = name_of(directory)
    _check_wal(directory)
    try:
        if directory is not None:
            make_private(directory / DATABASE)
        db = connect(directory)
    except (OSError, sqlite3.Error) as exc:
        raise StorageError(f"cannot open {name}: {exc}") from exc
    try:
        _prepare(db, directory)
        db.execute("PRAGMA busy_timeout = 0")
    except sqlite3.OperationalError as exc:
        db.close()
        raise StorageError(f"cannot use {name}: {exc}") from exc
    except sqlite3.DatabaseError as exc:
        db.close()
        raise damaged(directory, exc) from exc
    except BaseException:
        db.close()
        raise
    return db


def set_meta(db: sqlite3.Connection, name: str, value: int) -> None:
    """Write one of the numbers of the whole store."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", seal(name, value))


def name_of(directory: Path | None) -> str:
    """Give the name of a database for a message."""
    return str(directory or "memory")


def damaged(directory: Path | None, reason: object) -> StoreDamaged:
    """Make the error of a database that makes no sense; it says what to do."""
    return StoreDamaged(
        f"the database in {name_of(directory)} cannot be read ({reason}); restore it"
        " from a backup, or move it away to begin with an empty store"
    )


def lengthen_log(directory: Path | None) -> None:
    """Make the write-ahead log as long as it mostly gets, with zeros at its end.

    For a file that grows each sync also writes its length, which takes half as long
    again. SQLite reads its log up to what is no frame of it, and writes over the rest.
    This must not be called while something is written. Where room is scarce, it does
    nothing.
    """
    if directory is None:
        return
    with contextlib.suppress(OSError):  # nothing is lost: it is slower, no more
        if shutil.disk_usage(directory).free < _ROOM_BYTES:
            return
        with (directory / _WAL).open("ab") as log:
            log.write(bytes(max(0, _WAL_BYTES - log.tell())))
            log.flush()
            os.fsync(log.fileno())


def _check_wal(directory: Path | None) -> None:
    """Look for damage before SQLite drops what it cannot read."""
    if directory is None:
        return
    try:
        log = (directory / _WAL).read_bytes()
        with (directory / DATABASE).open("rb") as file:
            modes = file.read(_MODES.stop)[_MODES]
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StorageError(f"cannot read the log in {directory}: {exc}") from exc
    damage = find_damage(log)
    if damage:
        raise damaged(directory, damage)
    if log.strip(b"\0") and modes == _WITHOUT_LOG:  # as a copy is until it is opened
        raise damaged(
            directory,
            f"{_WAL} beside it is the log of another database, in whose place a backup"
            f" was put; without {_WAL} it is that backup",
        )


def _prepare(db: sqlite3.Connection, directory: Path | None) -> None:
    found = db.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise damaged(directory, found)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _WITHOUT_OWNERS, FORMAT):
        raise damaged(directory, f"format {version}, expected {FORMAT}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    if version == _WITHOUT_OWNERS:
        _add_owners(db, directory)
    if version == 0:
        # A store in memory cannot go on where the last one was, so it begins at the
        # present microsecond: higher than whatever was given before, since no store
        # takes a million writes in a second. And all that is absent counts as deleted
        # then: whoever knows it from the last one waits in vain otherwise.
        first = FIRST_INDEX if directory else time.time_ns() // 1000
        floor = 0 if directory else first
        db.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            db.execute(statement)
        numbers = {"index": first, "floor": floor, "compacted": first}
        for name, value in numbers.items():
            set_meta(db, name, value)
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")


def _add_owners(db: sqlite3.Connection, directory: Path | None) -> None:
    """Bring a database of the format before to the present one."""
    try:
        sessions = [unseal(row) for row in db.execute("SELECT * FROM sessions")]
    except ValueError as exc:
        raise damaged(directory, exc) from exc
    rows = [seal(*session, "") for session in sessions]
    db.execute("BEGIN IMMEDIATE")
    db.execute("DROP TABLE sessions")
    db.execute(SESSIONS)
    db.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")
