"""Addresses to listen on, and the sockets that listen there.

A bind is `HOST:PORT` (`127.0.0.1:8080`, `[::1]:8080`, port 0 for any free one) or
`unix:PATH`; with `,proxy` behind it each connection begins with a header of the PROXY
protocol. The rule that it obeys: an address that cannot be had is an error that says what to
do, before anything is started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from http_trio.errors import BadBind

BACKLOG = 4096
"""Connections that the kernel holds for us until they are accepted."""

_BIND = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})"
)


_PROXY = ",proxy"


class BoundListener(socket.socket):
    """A listening socket.

    Attributes:
        proxy_protocol: whether each connection begins with a header of it.
    """

    proxy_protocol = False


class UnixListener(BoundListener):
    """A listening Unix socket that takes its path with it when it is closed."""

    path: Path | None = None
    inode = 0

    def listen(self, backlog: int = BACKLOG, /) -> None:
        """Listen, as `socket.listen`, unless its place was taken meanwhile.

        Raises:
            BadBind: another process has bound the path since.
        """
        if self.path is not None and _inode(self.path) != self.inode:
            path, self.path = self.path, None  # it is not ours to remove
            raise BadBind(
                f"cannot listen on unix:{path}: another process has taken its place;"
                " stop one of them, or choose another path"
            )
        super().listen(backlog)

    def close(self) -> None:
        """Close it, as `socket.close`."""
        path, self.path = self.path, None
        super().close()
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


class InheritedListener(BoundListener):
    """A listening socket that others hold too: what waits in its queue is theirs as well."""


def open_listeners(
    binds: Sequence[str | socket.socket],
    *,
    reuse_port: bool = False,
    listening: bool = True,
    introduced: bool = False,
) -> list[socket.socket]:
    """Open all of them, or none: so that a caller can fail before it starts anything.

    Args:
        binds: addresses, or sockets that are bound already.
        reuse_port: whether other processes of this user may listen on the same TCP
            ports, each getting its part of the connections (SO_REUSEPORT).
        listening: False to have the addresses, but no connections until `serve` has
            them.
        introduced: whether they are for `serve`, which takes the PROXY protocol
            (`,proxy`) from networks that are trusted.

    Raises:
        BadBind: an address cannot be had.
    """
    for bind in binds:
        if isinstance(bind, str) and bind.endswith(_PROXY) and not introduced:
            raise BadBind(
                f"cannot listen on {bind}: the PROXY protocol is not spoken there;"
                f" leave {_PROXY!r} out"
            )
    with contextlib.ExitStack() as opened:
        sockets = []
        for bind in binds:
            if isinstance(bind, str):
                sock = open_listener(bind, reuse_port=reuse_port, listening=listening)
                sockets.append(opened.enter_context(sock))
                continue
            sockets.append(opened.enter_context(bind))
            if listening and not isinstance(bind, InheritedListener):
                _listen(bind)
        opened.pop_all()
        return sockets


def open_listener(
    bind: str, *, reuse_port: bool = False, listening: bool = True
) -> socket.socket:
    """Open a listening socket.

    Args:
        bind: the address.
        reuse_port: whether other processes of this user may listen on the same TCP
            port, each getting its part of the connections (SO_REUSEPORT).
        listening: False to have the address, but no connections until it is served.

    Raises:
        BadBind: the address makes no sense, is taken, or is not ours.
    """
    address = bind.removesuffix(_PROXY)
    sock = _open(address, reuse_port=reuse_port, listening=listening)
    sock.proxy_protocol = address != bind
    return sock


def _open(bind: str, *, reuse_port: bool, listening: bool) -> BoundListener:
    if bind.startswith("unix:"):
        return _open_unix(bind, listening=listening)
    match = _BIND.fullmatch(bind)
    if match is None or int(match["port"]) > 65535:
        raise BadBind(
            f"cannot listen on {bind!r}: expected HOST:PORT, such as 127.0.0.1:8080 or"
            " [::1]:8080, or unix:PATH, with ,proxy behind it for the PROXY protocol"
        )
    host, port = match["six"] or match["host"] or "0.0.0.0", int(match["port"])  # noqa: S104
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        sock = BoundListener(family, socket.SOCK_STREAM)
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
            sock.listen(BACKLOG)
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


def begins_with_proxy(sock: socket.socket) -> bool:
    """Tell whether each connection to a socket begins with the PROXY protocol."""
    return isinstance(sock, BoundListener) and sock.proxy_protocol


def bind_of(sock: socket.socket) -> str:
    """Give the bind by which a socket could be opened again."""
    return address_of(sock) + (_PROXY if begins_with_proxy(sock) else "")


def _listen(sock: socket.socket) -> None:
    try:
        sock.listen(BACKLOG)  # most do already
    except OSError as exc:
        raise BadBind(
            f"cannot listen on {address_of(sock)}: {_what_to_do(exc)}"
        ) from exc


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _open_unix(bind: str, *, listening: bool) -> BoundListener:
    path = Path(bind.removeprefix("unix:"))
    sock = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        sock.path, sock.inode = path, _inode(path)
        if listening:
            sock.listen(BACKLOG)
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
