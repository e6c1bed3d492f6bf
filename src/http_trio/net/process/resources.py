"""What a server asks of its process and of the system around it."""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import ssl
import stat

_log = logging.getLogger(__name__)

_PASSING = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE),
    *(errno.EAGAIN, errno.EINTR, errno.EACCES, errno.EPERM),
}  # EPERM too: a file that is given away does not change by that
_GC_THRESHOLD = 10_000  # objects made and not let go of, between two looks for cycles


def count_processors() -> int:
    """Give how many processors this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def raise_file_limit(wanted: int) -> int:
    """Let this process, and those that it starts, open so many files; give how many.

    The soft limit is raised, as far as the hard one goes; it is never lowered. Where that
    is not half of what is wanted, the log says so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    except (OSError, ValueError) as exc:  # a system that has a limit of its own
        _log.info("the limit on open files stays at %d: %s", soft, exc)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted / 2:
        _log.warning(
            "may open %d files, not the %d that all connections would take; of many"
            " clients the idlest are closed (raise it with `ulimit -Hn`, or LimitNOFILE="
            " of systemd)",
            soft,
            wanted,
        )
    return soft


def tune_gc() -> None:
    """Leave what is there alone, and look for cycles seldom: requests make none.

    For a program whose main job is to serve; called once, when it is ready to.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def read_file(path: str | os.PathLike[str], limit: int, *, own: bool = False) -> bytes:
    """Read a regular file, without ever waiting for what is none, such as a pipe.

    Args:
        path: of the file.
        limit: bytes that it may have.
        own: whether to refuse a link, and what neither this user nor root has made.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; says so.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | (os.O_NOFOLLOW if own else 0))
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        if own and found.st_uid not in (0, os.geteuid()):
            raise OSError(errno.EPERM, "it belongs to another user", os.fspath(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", os.fspath(path))
    return content


def may_pass(exc: BaseException) -> bool:
    """Tell whether what could not be read may be read later, unchanged as it is.

    So it is where something lacked for a moment, such as descriptors, and of rights, which
    may be given. Such a fault is told by its cause, whatever it was made into.
    """
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
            return cause.errno in _PASSING
        cause = cause.__cause__
    return False


def open_to_append(path: str | os.PathLike[str]) -> int:
    """Open a file that lines are added to; a pipe without a reader is an error, not a wait.

    Raises:
        OSError: that cannot be.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o640)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.set_blocking(fd, True)
    return fd


def opened_again(what: str, path: str | os.PathLike[str], fd: int) -> int | None:
    """Open such a file anew, since it was moved, and close the old one.

    Where that fails the old one goes on, which is said.

    Args:
        what: it is, in words.
        path: of it.
        fd: that is written to so far.

    Returns:
        What is written to from now on; None where the old one goes on.
    """
    try:
        found = open_to_append(path)
    except OSError as exc:
        why = exc.strerror or str(exc)
        _log.warning("%s goes on in the old file: %s", what, why)
        return None
    os.close(fd)
    return found


def file_stamp(file: str | os.PathLike[str]) -> tuple[int, ...]:
    """Give what differs when a file was written or replaced, or can no longer be read."""
    try:
        found = os.stat(file)  # noqa: PTH116
    except OSError as exc:
        return (exc.errno or 0,)
    return found.st_ino, found.st_size, found.st_mtime_ns
