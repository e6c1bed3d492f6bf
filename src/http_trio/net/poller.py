"""The inner selector: which of the event loop's sockets are ready.

Trio waits on the selector's own descriptor, so a whole batch of ready sockets costs
one task switch. On Linux `select.epoll` is used bare: `selectors` builds a key
object per event (2.1 against 0.7 us for one event). Elsewhere `selectors` it is.
"""

from __future__ import annotations

import select
import selectors
from typing import Protocol

READ = 1  # EPOLLIN
WRITE = 4  # EPOLLOUT
BATCH = 64
"""Events that are served at most before trio has its turn: 1 to 2 ms of work."""

_SELECT = 1024  # FD_SETSIZE: what it takes lies below


class Poller(Protocol):
    """A level-triggered selector over file descriptors."""

    def fileno(self) -> int:
        """Give the descriptor that is readable while any other is ready."""

    def register(self, fd: int, mask: int) -> None:
        """Watch a descriptor for READ, WRITE, both, or (0) only for its death."""

    def modify(self, fd: int, mask: int) -> None:
        """Change what a registered descriptor is watched for."""

    def unregister(self, fd: int) -> None:
        """Watch a descriptor no longer."""

    def poll(self, most: int) -> list[tuple[int, int]]:
        """Give what is ready now as (descriptor, mask) pairs; on Linux so many at most."""

    def close(self) -> None:
        """Close the selector, not what is registered."""


def open_poller() -> Poller:
    """Open the best selector of this platform."""
    return _Epoll() if hasattr(select, "epoll") else _Selector()


def wait_ready(fd: int, within_s: float) -> None:
    """Block until a descriptor is readable, or the time is over, to the microsecond.

    Epoll counts in milliseconds. A number that select cannot take is waited for in these.
    """
    if fd < _SELECT:
        select.select((fd,), (), (), within_s)
        return
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    waiting.poll(within_s * 1000)


class _Epoll:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close

    def poll(self, most: int) -> list[tuple[int, int]]:
        return self._epoll.poll(0, most)


class _Selector:
    """Over `selectors`; a descriptor with an empty mask is left out of it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        fileno: int = self._selector.fileno()
        return fileno

    def register(self, fd: int, mask: int) -> None:
        if mask:
            self._selector.register(fd, _to_selectors(mask))

    def modify(self, fd: int, mask: int) -> None:
        self.unregister(fd)
        self.register(fd, mask)

    def unregister(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, most: int) -> list[tuple[int, int]]:
        del most  # it has no such limit
        return [
            (key.fd, _from_selectors(mask)) for key, mask in self._selector.select(0)
        ]

    def close(self) -> None:
        self._selector.close()


def _to_selectors(mask: int) -> int:
    read = selectors.EVENT_READ if mask & READ else 0
    return read | (selectors.EVENT_WRITE if mask & WRITE else 0)


def _from_selectors(mask: int) -> int:
    read = READ if mask & selectors.EVENT_READ else 0
    return read | (WRITE if mask & selectors.EVENT_WRITE else 0)
