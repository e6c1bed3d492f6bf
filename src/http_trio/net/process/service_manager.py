"""What a service manager and its service say to each other: the ways of systemd.

It hands down sockets that listen already (sd_listen_fds(3)), and is told when the service
is ready, what it does, that it stops, and that it lives (sd_notify(3)). Both are a few
lines over what the process inherits, so they need no library. The rule that it obeys: a
manager that is not there, or does not listen, changes nothing.

The variables are taken out of the environment when they are read: what this process
starts is another service, if it is one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import time
from collections.abc import MutableMapping

import attrs

from http_trio.errors import BadBind
from http_trio.net.bind import InheritedListener

_log = logging.getLogger(__name__)

FIRST_FD = 3
"""The first descriptor that is handed down; the others follow it."""

MOST_FDS = 256
"""Sockets that may be handed down."""

_STATUS_CHARACTERS = 500  # of a status text; the rest is cut


@attrs.frozen
class ServiceManager:
    """Who started this process and wants to hear of it.

    Attributes:
        address: of its datagram socket, a path or `@` and an abstract name; empty if
            nobody wants to hear.
        watchdog_s: how often it must hear that we live; 0 if it need not.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> ServiceManager:
        """Take it out of the environment."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = (environ.pop(f"WATCHDOG_{x}", "") for x in ("USEC", "PID"))
        ours = pid in ("", str(os.getpid()))
        if address and address[0] not in "/@":
            _log.warning("NOTIFY_SOCKET is %r, expected a path or @NAME", address)
            address = ""
        watched = address and ours and usec.isdecimal()
        return cls(address, int(usec) / 1e6 if watched else 0.0)

    def ready(self, status: str) -> None:
        """Tell that clients are served."""
        self._tell("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Tell in a few words how it stands."""
        self._tell(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Tell that files are read again; `ready` is to follow."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self, status: str) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1", f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Tell the watchdog that we live."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self.address:
            return
        path = self.address
        if path.startswith("@"):
            path = "\0" + path[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), path)
        except (OSError, ValueError) as exc:
            _log.debug("the service manager does not hear: %s", exc)


def _line(text: str) -> str:
    return " ".join(text.split())[:_STATUS_CHARACTERS]


def inherited_listeners(
    environ: MutableMapping[str, str] = os.environ,
) -> list[tuple[str, InheritedListener]]:
    """Take the sockets that a service manager handed down, with their names.

    A name is that of `FileDescriptorName=`, empty where there is none. What was handed to
    another process (`LISTEN_PID`) is not ours, and not looked at.

    Raises:
        BadBind: one of them is no socket that listens for streams.
    """
    count, pid, names = (
        environ.pop(f"LISTEN_{x}", "") for x in ("FDS", "PID", "FDNAMES")
    )
    if pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        return []
    if int(count) > MOST_FDS:
        raise BadBind(f"LISTEN_FDS is {count}, expected at most {MOST_FDS}")
    named = names.split(":") if names else []
    named += [""] * (int(count) - len(named))
    numbers = range(FIRST_FD, FIRST_FD + int(count))
    for number in numbers:
        with contextlib.suppress(OSError):
            os.set_inheritable(number, False)
    return [
        (name, adopt_listener(number))
        for name, number in zip(named, numbers, strict=False)
    ]


def adopt_listener(number: int) -> InheritedListener:
    """Take over a descriptor of a socket that listens and that others hold too.

    Raises:
        BadBind: it is no socket that listens for streams.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise BadBind(_expected(number, "no socket"))
    except OSError as exc:
        raise BadBind(_expected(number, f"nothing ({exc.strerror})")) from exc
    sock = InheritedListener(fileno=number)
    if sock.type != socket.SOCK_STREAM or sock.family not in (
        *(socket.AF_INET, socket.AF_INET6, socket.AF_UNIX),
    ):
        sock.detach()
        raise BadBind(_expected(number, "a socket of another kind"))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise BadBind(_expected(number, "a socket that does not listen"))
    sock.setblocking(False)
    return sock


def _expected(number: int, found: str) -> str:
    return (
        f"descriptor {number} was handed down (LISTEN_FDS) and is {found}; expected a"
        " TCP or Unix socket that listens for streams (Accept=no)"
    )
