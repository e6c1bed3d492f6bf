"""The data directory: one server has it at a time, and only its owner reads it.

A store holds secrets, so its files are the owner's alone, whatever the umask is, and
those that are there already are made so. SQLite gives its log and its index the mode of
the database. One server at a time has the directory: a lock on a file in it, which the
kernel drops when the process dies, however.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
from pathlib import Path

from kv_trio.errors import StorageError, StoreLocked

_log = logging.getLogger(__name__)

DATABASE = "kv.sqlite"
UNFINISHED = "backup-unfinished-"
"""How the names of directories begin that hold a backup while it is made."""

_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock")
_OTHERS = 0o077  # what the group and everybody else may do


def take_directory(directory: Path) -> int:
    """Take a data directory, made if absent, for this process; give its lock's fd.

    Its files are tightened, and backups that a killed server did not finish are swept.

    Raises:
        StorageError: it cannot be used.
        StoreLocked: another process has it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    _tighten(directory)
    _sweep(directory)
    return lock


def make_private(path: Path) -> None:
    """Make an empty file that only its owner reads, if there is none.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _tighten(directory: Path) -> None:
    """Take from others what they may do; one that is not ours stays, with a warning."""
    for path in (directory, *(directory / name for name in _FILES)):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & stat.S_ISVTX:
                _log.warning("%s is a directory for everybody, and stays so", path)
            elif mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as exc:
            _log.warning("others may read %s: %s", path, exc.strerror)


def _sweep(directory: Path) -> None:
    for path in directory.glob(f"{UNFINISHED}*"):
        _log.info("the unfinished backup %s is removed", path)
        shutil.rmtree(path, ignore_errors=True)
