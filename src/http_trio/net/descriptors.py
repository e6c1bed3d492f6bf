"""Descriptors: for whom the last of them are kept, and who gives way when few are left.

The system gives the lowest descriptor that is free. So a number tells whether few are
left, and whoever never keeps one of the highest leaves these to all others, whatever
happens. Clients leave `Limits.spare_files`, connections to servers leave `OWN_FILES` of
those: files, the store, the admin listener and names that are resolved find some then.

Connections that wait for a request can be had back. The rule that it obeys: only what
nobody waits for is closed, the idlest first; where most never sent a request, these only,
since a crowd of them is no traffic. A client whose request is here already, or whose
response is on its way, is never one of them.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import resource
import select
from collections.abc import Container

from http_trio.net.event_loop import EventLoop
from http_trio.net.process.notices import Notice

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors that say we have no descriptor or no memory left; no peer is at fault."""

OWN_FILES = 32
"""Descriptors that neither clients nor connections to servers take."""

LOOK_AGAIN_S = 0.1
"""Where nothing was idle, seconds until it is looked again: a look is at every socket."""

_WHOLE_FROM = 288  # descriptors in all; of fewer, only a part of each reserve is kept
_SHARE = 16  # one of so many idle connections is closed at a time, at least one,
_MOST = 128  # and at most so many


def is_reserved(fd: int, spare: int) -> bool:
    """Tell whether a descriptor is one of the last `spare`, which are left to others."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    return fd >= limit - min(spare, limit * spare // _WHOLE_FROM)


def is_next_reserved(fd: int, spare: int) -> bool:
    """Tell whether the next descriptor would be one that is left to others.

    Args:
        fd: any that is open.
        spare: how many are left to others.
    """
    try:
        following = os.dup(fd)
    except OSError:
        return True
    os.close(following)
    return is_reserved(following, spare)


def close_idlest(
    loop: EventLoop, *, least_s: float = 0.0, among: Container[object] | None = None
) -> int:
    """Close the connections that have waited longest for a request; give how many.

    Args:
        loop: whose clients, and whose kept connections to servers.
        least_s: how long one must have waited.
        among: those that may be closed; None for all.
    """
    now = loop.now
    if now < loop.look_again_at:
        return 0
    used: list[tuple[float, int]] = []
    unused: list[tuple[float, int]] = []
    for fd, socket in loop.sockets.items():
        idle = socket.idle()
        if idle and (among is None or socket in among):
            (used if idle[0] else unused).append((idle[1], fd))
    idle_ones = unused if len(unused) > len(used) else used + unused
    found = [one for one in idle_ones if one[0] <= now - least_s]
    count = max(1, min(len(found) // _SHARE, _MOST))
    idlest = _silent([fd for _, fd in heapq.nsmallest(count, found)])
    closed = [loop.sockets[fd] for fd in idlest]
    for socket in closed:
        socket.expire()
    if not closed:
        loop.look_again_at = now + LOOK_AGAIN_S
    elif times := loop.shortage.happens(now, len(closed)):
        told = (
            "connections or descriptors run short: closed"
            f" {len(closed)} of {len(found)} idle connections, and goes on so"
        )
        shown = {"closed": times, "idle": len(found)}
        loop.tell(Notice("limit", told, logging.WARNING, shown))
    return len(closed)


def _silent(fds: list[int]) -> list[int]:
    """Give those on which nothing has come; what has come may be a request."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    spoken = {fd for fd, _ in poll.poll(0)}
    return [fd for fd in fds if fd not in spoken]
