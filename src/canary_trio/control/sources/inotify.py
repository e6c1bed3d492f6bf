"""Hints that files have changed, by Linux's inotify; elsewhere only time gives them.

The directories are watched, not the files: a file that is replaced (`mv`, a ConfigMap's link)
is another file afterwards. What has changed is not asked, only that something has: who waits
reads all again. A directory that is not there, or a kernel that grants no watch, leaves the
clock, which also finds what inotify cannot see, such as a change on another machine.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import trio

_log = logging.getLogger(__name__)

ABSENT_S = 1.0
"""The longest wait while a directory is not there."""

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x8, 0x40, 0x80
_DELETE, _DELETE_SELF, _MOVE_SELF = 0x200, 0x400, 0x800
_ATTRIB = 0x4  # rights that are given
_EVENTS = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE | _DELETE_SELF | _MOVE_SELF
_EVENTS |= _ATTRIB
_BUFFER = 64 * 1024


class FileHints:
    """The hints of some files' directories."""

    def __init__(self, descriptor: int | None) -> None:
        """Begin; without a descriptor of inotify, time alone gives hints."""
        self._descriptor = descriptor
        self._is_whole = False  # whether all directories are watched

    def __repr__(self) -> str:
        return f"<FileHints descriptor={self._descriptor}>"

    def follow(self, paths: Iterable[Path]) -> None:
        """Watch the directories of files, and of what they are links to."""
        if self._descriptor is None:
            return
        directories = {directory for path in paths for directory in _places(path)}
        added = [_add_watch(self._descriptor, place) for place in directories]
        self._is_whole = all(added)

    async def wait(self, wait_s: float) -> None:
        """Wait for a hint, or for so many seconds."""
        if self._descriptor is None:
            await trio.sleep(wait_s)
            return
        if not self._is_whole:
            wait_s = min(wait_s, ABSENT_S)
        with trio.move_on_after(wait_s):
            await trio.lowlevel.wait_readable(self._descriptor)
            os.read(self._descriptor, _BUFFER)


@asynccontextmanager
async def file_hints() -> AsyncIterator[FileHints]:
    """Listen for hints while the block runs."""
    descriptor = _open()
    try:
        yield FileHints(descriptor)
        await trio.lowlevel.checkpoint()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _places(path: Path) -> set[Path]:
    """Give the directories in which a change of a file shows."""
    return {path.parent, Path(os.path.realpath(path)).parent}


def _open() -> int | None:
    library = _library()
    if library is None:
        return None
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        reason = os.strerror(ctypes.get_errno())
        _log.warning("no inotify (%s); files are looked at by the clock", reason)
        return None
    return descriptor


def _add_watch(descriptor: int, directory: Path) -> bool:
    library = _library()
    assert library is not None, "it gave the descriptor"
    path = os.fsencode(directory)
    return bool(library.inotify_add_watch(descriptor, path, _EVENTS) >= 0)


@cache
def _library() -> ctypes.CDLL | None:
    """Give the C library that has inotify; None where there is none."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "inotify_init1"):
        return None
    library.inotify_init1.argtypes = [ctypes.c_int]
    library.inotify_add_watch.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint32,
    ]
    return library
