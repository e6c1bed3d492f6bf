"""The data directory: one server has it at a time, and only its owner reads it.

A store holds secrets, so its files are the owner's alone, whatever the umask is, and
those that are there already are made so. SQLite gives its log and its index the mode of
the database. One server at a time has the directory: a lock on a file in it, which the
kernel drops when the process dies, however.

Beside the database stands the newest index that was acknowledged. SQLite cannot tell a log
whose end is gone from one that ended there; this number can. It is written after each
commit and not synced, which costs two microseconds: after a crash of the process it is exact,
after one of the machine it may be lower, and never is it higher than what was on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import zlib
from pathlib import Path

from kv_trio.errors import StorageError, StoreLocked

_log = logging.getLogger(__name__)

DATABASE = "kv.sqlite"
UNFINISHED = "backup-unfinished-"
"""How the names of directories begin that hold a backup while it is made."""

ACKNOWLEDGED = "acknowledged"
"""The name of the file with the newest index that was acknowledged."""

LOCK = "lock"
"""The name of the file that the server of a directory has locked."""

NEXT = "next"
"""The name of the file that the one which waits for the directory has locked."""

_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK, NEXT, ACKNOWLEDGED)
OPEN_OWN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
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
        lock = os.open(directory / LOCK, OPEN_OWN, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot use {directory} for data: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise StoreLocked(
            f"another server has {directory} open; stop it, or choose another directory"
        ) from exc
    with contextlib.suppress(OSError):  # what the one before us said there
        os.ftruncate(lock, 0)
    _tighten(directory)
    _sweep(directory)
    return lock


def make_private(path: Path) -> None:
    """Make an empty file that only its owner reads, if there is none.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


class AcknowledgedIndex:
    """The newest index that was acknowledged, in a file of the data directory."""

    def __init__(self, directory: Path | None) -> None:
        """Open the file, made if absent; None for a store in memory, which has none.

        Raises:
            StorageError: it cannot be made or written.
        """
        self._file = -1
        if directory is not None:
            path = directory / ACKNOWLEDGED
            try:
                self._file = os.open(path, OPEN_OWN, 0o600)
            except OSError as exc:
                raise StorageError(f"cannot write {path}: {exc.strerror}") from exc

    def __repr__(self) -> str:
        return f"<AcknowledgedIndex {self.read()}>"

    def read(self) -> int:
        """Give it; 0 where it is not known, or the file is not as it was written."""
        if self._file < 0:
            return 0
        line = os.pread(self._file, len(_line(0)), 0)
        number = line.partition(b" ")[0]
        if not number.isdigit() or line != _line(int(number)):
            return 0
        return int(number)

    def note(self, index: int) -> None:
        """Write it, once all up to it is on disk."""
        if self._file >= 0:
            with contextlib.suppress(OSError):  # then it is lower than it could be
                os.pwrite(self._file, _line(index), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _line(index: int) -> bytes:
    """Give what stands in the file: a number of 20 digits, and its checksum."""
    number = b"%020d" % index
    return b"%b %08x\n" % (number, zlib.crc32(number))


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
