"""Listening: addresses to bind, and the sockets that accept.

A bind is `HOST:PORT` (`127.0.0.1:8080`, `[::1]:8080`, port 0 for any free one) or
`unix:PATH`. Where descriptors run out, or the limit on connections is reached, a
listener stops accepting until one is free; the clients wait in the kernel's queue.
With an answer for an overload, those beyond the limit get that instead, and are closed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from http_trio.errors import BadBind
from http_trio.http1.forwarded import Forwarding
from http_trio.http1.response import Answer
from http_trio.net.poller import READ
from http_trio.server.connection import Connection
from http_trio.upstream.pool import OUT_OF_RESOURCES

if TYPE_CHECKING:
    from http_trio.net.event_loop import Lane
    from http_trio.server.exchange import Handler

_log = logging.getLogger(__name__)

_BACKLOG = 4096
_ACCEPTS = 64  # connections accepted per turn, so that a storm delays nobody for long
_OVERLOADED = 64  # connections beyond the limit that are being turned away at a time
_RETRY_S = 0.1  # after descriptors ran out
_BIND = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})"
)


class UnixListener(socket.socket):
    """A listening Unix socket that takes its path with it when it is closed."""

    path: Path | None = None

    def close(self) -> None:
        """Close it, as `socket.close`."""
        path, self.path = self.path, None
        super().close()
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def open_listener(
    bind: str, *, reuse_port: bool = False, listening: bool = True
) -> socket.socket:
    """Open a listening socket.

    Args:
        bind: the address.
        reuse_port: whether other processes of this user may listen on the same TCP
            port, each getting its part of the connections (SO_REUSEPORT).
        listening: False to have the TCP port, but no connections until it is served.

    Raises:
        BadBind: the address makes no sense, is taken, or is not ours.
    """
    if bind.startswith("unix:"):
        return _open_unix(bind)
    match = _BIND.fullmatch(bind)
    if match is None or int(match["port"]) > 65535:
        raise BadBind(
            f"cannot listen on {bind!r}: expected HOST:PORT, such as 127.0.0.1:8080 or"
            " [::1]:8080, or unix:PATH"
        )
    host, port = match["six"] or match["host"] or "0.0.0.0", int(match["port"])  # noqa: S104
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise BadBind(f"cannot listen on {bind}: {exc.strerror or exc}") from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if listening:
            sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise BadBind(f"cannot listen on {bind}: {_what_to_do(exc)}") from exc
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> str:
    """Give the address that a socket is really bound to, in the form of a bind."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


class Client(Protocol):
    """One client of a listener, whatever it speaks."""

    def drain(self) -> None:
        """Take no further request."""

    def abort(self) -> None:
        """Close at once."""

    def turn_away(self, answer: Answer) -> None:
        """Answer, whatever is asked, and close."""


class Listener:
    """A listening socket on the lane, and the connections that it accepted."""

    def __init__(
        self,
        lane: Lane,
        sock: socket.socket,
        handler: Handler,
        rules: Forwarding,
        overload: Answer | None = None,
    ) -> None:
        self.lane = lane
        self.sock = sock
        self.address = address_of(sock)
        self.deadline = math.inf
        self.connections: set[Client] = set()
        self._handler = handler
        self._rules = rules
        self._overload = overload
        self._accepting = True
        self._starved = False
        self._open = True
        sock.listen(_BACKLOG)  # most do already
        lane.watch(sock.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<Listener {self.address} connections={len(self.connections)}>"

    def ready(self, mask: int) -> None:
        """Accept what waits."""
        del mask
        for _ in range(_ACCEPTS):
            room = self.lane.limits.connections - len(self.connections)
            if room <= (0 if self._overload is None else -_OVERLOADED):
                self._pause(math.inf)
                return
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in OUT_OF_RESOURCES:
                    if not self._starved:
                        self._starved = True
                        _log.warning("%s accepts nothing for now: %s", self, exc)
                    self._pause(self.lane.now + _RETRY_S)
                    return
                continue  # that client was gone before it was accepted
            self._starved = False
            client = self._accepted(sock, address)
            if room <= 0 and self._overload is not None:
                client.turn_away(self._overload)

    def expire(self) -> None:
        """Try again after a pause."""
        self._resume()

    def abort(self) -> None:
        """Stop listening."""
        if self._open:
            self._open = False
            self._pause(math.inf)
            self.sock.close()

    def ended(self, client: Client) -> None:
        """Forget a client that is gone."""
        self.connections.discard(client)
        if not self._accepting and self.deadline == math.inf:
            self._resume()

    def replace(self, client: Client, by: Client) -> None:
        """Note that a client has become another kind of one."""
        self.connections.discard(client)
        self.connections.add(by)

    def connect(self, sock: socket.socket, peer: str) -> Client:
        """Serve a socket that was accepted."""
        return Connection(self, sock, peer, self._handler, self._rules)

    def _accepted(self, sock: socket.socket, address: object) -> Client:
        sock.setblocking(False)
        if isinstance(address, tuple):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = str(address[0]).removeprefix("::ffff:")
        else:
            peer = "unix"
        client = self.connect(sock, peer)
        self.connections.add(client)
        return client

    def _pause(self, until: float) -> None:
        self._accepting = False
        self.deadline = until
        if self._open:
            self.lane.poller.modify(self.sock.fileno(), 0)
        else:
            self.lane.unwatch(self.sock.fileno())

    def _resume(self) -> None:
        if self._open and not self._accepting:
            self._accepting = True
            self.deadline = math.inf
            self.lane.poller.modify(self.sock.fileno(), READ)


def _open_unix(bind: str) -> socket.socket:
    path = Path(bind.removeprefix("unix:"))
    sock = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        sock.path = path
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise BadBind(f"cannot listen on {bind}: {_what_to_do(exc)}") from exc
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a server that is gone; leave anything else alone."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _what_to_do(exc: OSError) -> str:
    reason = exc.strerror or str(exc)
    if exc.errno == errno.EADDRINUSE:
        return f"{reason}; stop what listens there, or choose another port"
    if exc.errno == errno.EACCES:
        return f"{reason}; ports below 1024 need privileges, so choose a higher one"
    if exc.errno == errno.EADDRNOTAVAIL:
        return f"{reason}; that is no address of this machine"
    return f"{reason} ({errno.errorcode.get(exc.errno or 0, os.strerror(0))})"
