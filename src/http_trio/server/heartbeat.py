"""A sign of life that only an event loop which serves can give.

It is asked for through a socket that the loop watches, as it watches clients: so what is
said is that a client would be heard now, not that some task of the process still runs.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable

from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ

_MUCH = 4096  # bytes read at a time: as many as were asked for meanwhile


class Heartbeat:
    """One call, which an event loop makes when it is asked to."""

    def __init__(self, loop: EventLoop, call: Callable[[], None]) -> None:
        self.deadline = math.inf
        self._loop = loop
        self._call = call
        self._ours, self._asking = socket.socketpair()
        self._ours.setblocking(False)
        self._asking.setblocking(False)
        loop.watch(self._ours.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<Heartbeat of {self._loop!r}>"

    def ask(self) -> None:
        """Let the loop call in its next turn; nothing happens once it has ended."""
        with contextlib.suppress(OSError):  # it was asked often and did not call
            self._asking.send(b"?")

    def ready(self, mask: int) -> None:
        """Make the call."""
        del mask
        self._ours.recv(_MUCH)
        self._call()

    def expire(self) -> None:
        """Do nothing: it is never too late."""

    def idle(self) -> tuple[bool, float] | None:
        """Say that it is never closed to make room."""
        return None

    def abort(self) -> None:
        """End it."""
        if self._ours.fileno() >= 0:
            self._loop.unwatch(self._ours.fileno())
            self._ours.close()
            self._asking.close()
