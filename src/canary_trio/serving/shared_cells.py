"""Memory and locks by which the workers of one supervisor count requests together.

The memory has no name and no file (memfd): the supervisor makes it, workers inherit its
descriptor, and it ends with the last of them. So a worker that is started again finds what
clients had left.

The rule that it obeys: nobody waits for ever. Locks are the kernel's, of ranges of bytes,
which gives back those of a process that ended. One whose holder has no processor for a while
is waited for, since the holder needs it for a microsecond only. A holder that is stopped
would hold up all others: after `PAUSES` they do without that lock, for `DO_WITHOUT_S`.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import tempfile
from collections.abc import Iterator
from time import monotonic, sleep

from canary_trio.routing.access.cells import SECRET, SET, Cells, size_of

PAUSES = 500
"""Pauses in which a lock is waited for, of `PAUSE_S` or longer: a quarter of a second."""

PAUSE_S = 0.0005
"""Between two tries to have a lock."""

DO_WITHOUT_S = 10.0
"""How long a lock that could not be had is not asked for."""

_TRIES = 50  # without a pause: on another processor it is given back at once
_MOST = 64  # locks that are done without, before all are tried again


@contextlib.contextmanager
def shared_memory(cells: int) -> Iterator[int]:
    """Make memory for cells that processes share; give its descriptor, to be inherited."""
    with contextlib.ExitStack() as owned:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("canary-rate-limits")
            owned.callback(os.close, descriptor)
        else:  # a file without a name does it too
            descriptor = owned.enter_context(tempfile.TemporaryFile()).fileno()
        os.ftruncate(descriptor, size_of(cells))
        os.pwrite(descriptor, secrets.token_bytes(SECRET), 0)
        yield descriptor


def inherited_cells(descriptor: int) -> Cells:
    """Give the cells in the memory of `shared_memory`, for one process of those."""
    size = os.fstat(descriptor).st_size
    memory = memoryview(mmap.mmap(descriptor, size))
    return Cells(memory, RangeLock(descriptor))


class RangeLock:
    """Locks of sets: of ranges of bytes, between processes, and not within one.

    Attributes:
        missed: times that one could not be had.
    """

    __slots__ = ("_descriptor", "_without", "missed")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._without: dict[int, float] = {}  # until when, by offset
        self.missed = 0

    def __repr__(self) -> str:
        return f"<RangeLock missed={self.missed}>"

    def acquire(self, offset: int) -> bool:
        """Take the lock of a set; False if it cannot be had."""
        return self._take(offset) or self._wait(offset)

    def release(self, offset: int) -> None:
        """Give it back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, SET, offset)

    def _take(self, offset: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, _NOW, SET, offset)
        except OSError:
            return False
        return True

    def _wait(self, offset: int) -> bool:
        if monotonic() < self._without.get(offset, 0.0):
            return False
        for tries in range(_TRIES + PAUSES):
            sleep(0 if tries < _TRIES else PAUSE_S)
            if self._take(offset):
                return True
        self.missed += 1
        if len(self._without) >= _MOST:
            self._without.clear()
        self._without[offset] = monotonic() + DO_WITHOUT_S
        return False


_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB
