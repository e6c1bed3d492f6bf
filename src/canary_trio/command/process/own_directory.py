"""Directories in which a process keeps what ends with it.

A process that is killed cleans up nothing. So its directory is locked for as long as it
lives, and the next one removes those of this user that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

YOUNG_S = 60.0
"""So long a directory may be there without its lock: it has only been made."""


@contextlib.contextmanager
def own_directory(prefix: str) -> Iterator[Path]:
    """Give a directory that only this user enters; remove those that were left.

    Args:
        prefix: of the name; what begins so is ours.
    """
    _sweep(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as made, _open(Path(made)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(made)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(prefix: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _open(path) as lock:
            found = os.fstat(lock)
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < YOUNG_S:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if it is in use
            shutil.rmtree(path, ignore_errors=True)
