"""What a server asks of its process and of the system around it."""

from __future__ import annotations

import gc
import os

_GC_THRESHOLD = 10_000  # objects made and not let go of, between two looks for cycles


def count_processors() -> int:
    """Give how many processors this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tune_gc() -> None:
    """Leave what is there alone, and look for cycles seldom: requests make none.

    For a program whose main job is to serve; called once, when it is ready to.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def file_stamp(file: str | os.PathLike[str]) -> tuple[int, ...]:
    """Give what differs when a file was written or replaced, or can no longer be read."""
    try:
        found = os.stat(file)  # noqa: PTH116
    except OSError as exc:
        return (exc.errno or 0,)
    return found.st_ino, found.st_size, found.st_mtime_ns
