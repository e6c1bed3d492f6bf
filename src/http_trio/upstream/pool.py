"""The upstream side: a pool per server, and the connections in it.

An `Upstream` is one server's address and the connections to it. Idle connections
stay in the lane's selector, so one that the server closes is seen, and dropped, at
once. The newest idle connection is used first, so that the rest can age out.

An `UpstreamConnection` moves bytes and knows nothing of HTTP: what it reads, and
how it ended, it tells the `Transit` that uses it.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from http_trio.errors import Condition, Failure
from http_trio.limits import BUFFER
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import AnySocket, TlsSocket, held, what_failed

if TYPE_CHECKING:
    from http_trio.net.event_loop import Lane
    from http_trio.proxy.upstream_request import Transit

Address = tuple[socket.AddressFamily, Any]
"""A resolved address: its family, and what `socket.connect` takes."""

_CONNECTING, _SECURING, _BUSY, _IDLE, _CLOSED = range(5)
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EAGAIN)

SHUN_S = 10.0
"""How long an address that did not accept is the last one to be tried."""


class Upstream:
    """One server: where it is, and the connections to it.

    It outlives configurations, so that a change keeps the warm connections.

    Attributes:
        name: what logs and metrics call it, such as its URL.
        addresses: resolved; each connection begins at the next one, and goes on to the
            others while it is refused.
        host: the Host for a request that has none.
        prefix: what is put before the target of every request, such as `b"/base"`.
        tls: the context for TLS, see `client_context`; None for plain HTTP.
        server_name: whom the certificate must name; by default the host.
        idle: the connections that wait for a request, oldest first.
        open: how many connections there are, idle ones included.
    """

    __slots__ = (
        "_at",
        "_shunned",
        "addresses",
        "host",
        "idle",
        "name",
        "open",
        "prefix",
        "server_name",
        "session",
        "tls",
    )

    def __init__(
        self,
        name: str,
        addresses: Sequence[Address],
        host: bytes,
        *,
        prefix: bytes = b"",
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.host = host
        self.prefix = prefix
        self.tls = tls
        self.server_name = server_name or _without_port(host)
        self.session: ssl.SSLSession | None = None
        self.idle: dict[UpstreamConnection, None] = {}
        self.open = 0
        self._at = 0
        self._shunned: dict[Address, float] = {}

    def __repr__(self) -> str:
        return f"<Upstream {self.name} open={self.open} idle={len(self.idle)}>"

    def take_idle(self, *, peek: bool) -> UpstreamConnection | None:
        """Take the newest idle connection.

        Args:
            peek: look first whether the server has closed it a moment ago. One
                system call; for a request that could not be repeated.
        """
        while self.idle:
            connection, _ = self.idle.popitem()
            if not peek or connection.alive():
                return connection
            connection.close()
        return None

    def connect(self, lane: Lane) -> UpstreamConnection | Failure:
        """Begin a new connection; it tells its transit when it is made."""
        if self.open >= lane.limits.upstream_connections:
            return self._failure(Condition.FULL, f"{self.open} connections are open")
        if not self.addresses:
            return self._failure(Condition.UNREACHABLE, "its name does not resolve")
        try:
            sock, address = self.open_socket(lane.now, ())
        except OSError as exc:
            starved = exc.errno in OUT_OF_RESOURCES  # no fault of the server
            condition = Condition.FULL if starved else Condition.UNREACHABLE
            return self._failure(condition, exc.strerror or str(exc))
        self._at += 1
        return UpstreamConnection(self, lane, sock, address)

    def open_socket(
        self, now: float, tried: Collection[Address]
    ) -> tuple[AnySocket, Address]:
        """Begin to connect to an address that was not tried; those shunned come last.

        Raises:
            OSError: none of them can even be begun with.
        """
        at = self._at % len(self.addresses)
        order = [*self.addresses[at:], *self.addresses[:at]]
        if self._shunned:
            order.sort(key=lambda one: self._shunned.get(one, 0.0) > now)
        failure = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        for address in order:
            if address in tried:
                continue
            try:
                return self._begin(*address), address
            except OSError as exc:
                if exc.errno in OUT_OF_RESOURCES:
                    raise
                self.shun(address, now)
                failure = exc
        raise failure

    def shun(self, address: Address, now: float) -> None:
        """Note that an address did not accept."""
        self._shunned[address] = now + SHUN_S

    def move_to(self, addresses: Sequence[Address]) -> None:
        """Go to these addresses from now on; idle connections to others are closed."""
        self.addresses = tuple(addresses)
        self._shunned = {
            at: until for at, until in self._shunned.items() if at in self.addresses
        }
        kept = {at[:2] for family, at in self.addresses if family != socket.AF_UNIX}
        for connection in [one for one in self.idle if one.peer not in kept]:
            connection.close()

    def close_idle(self) -> None:
        """Close the idle connections: this server is used no more."""
        while self.idle:
            self.idle.popitem()[0].close()

    def _begin(self, family: socket.AddressFamily, at: Any) -> AnySocket:
        sock = _open_socket(family)
        try:
            code = sock.connect_ex(at)
            if code not in _IN_PROGRESS:
                raise OSError(code, os.strerror(code))
            return self._secured(sock)
        except BaseException:
            sock.close()
            raise

    def _secured(self, sock: socket.socket) -> AnySocket:
        if self.tls is None:
            return sock
        try:
            return TlsSocket(
                sock, self.tls, server_name=self.server_name, session=self.session
            )
        except ValueError as exc:  # the name cannot be one
            raise OSError(errno.EINVAL, str(exc)) from exc

    def _failure(self, condition: Condition, detail: str) -> Failure:
        return Failure(condition, self.name, sent=False, detail=detail)


def _without_port(host: bytes) -> str:
    """Give the name or address of an authority.

    >>> _without_port(b"example.org:8443"), _without_port(b"[::1]:80")
    ('example.org', '::1')
    """
    text = host.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _open_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class UpstreamConnection:
    """One connection to an upstream.

    Attributes:
        fresh: whether no request has been answered over it yet.
        sent: whether a byte of the present request may have reached the server.
    """

    __slots__ = (
        "_lane",
        "_outbox",
        "_phase",
        "_transit",
        "_tried",
        "deadline",
        "fd",
        "fresh",
        "sent",
        "sock",
        "upstream",
    )

    def __init__(
        self, upstream: Upstream, lane: Lane, sock: AnySocket, address: Address
    ) -> None:
        self.upstream = upstream
        self.sock = sock
        self.fd = sock.fileno()
        self.deadline = lane.now + lane.limits.connect_s
        self.fresh = True
        self.sent = False
        self._lane = lane
        self._phase = _CONNECTING
        self._transit: Transit | None = None
        self._outbox = b""
        self._tried = [address]
        upstream.open += 1
        lane.watch(self.fd, self, WRITE)

    def __repr__(self) -> str:
        return f"<UpstreamConnection to {self.upstream.name} phase={self._phase}>"

    @property
    def connecting(self) -> bool:
        """Whether the connection is not made, or not secured, yet."""
        return self._phase <= _SECURING

    def blame_address(self) -> None:
        """Note that the address is at fault; the next connections begin elsewhere."""
        self.upstream.shun(self._tried[-1], self._lane.now)

    def reconnect(self) -> bool:
        """Begin again at another address of the server; False if all were tried.

        The socket is another one then.
        """
        self.blame_address()
        try:
            sock, address = self.upstream.open_socket(self._lane.now, self._tried)
        except OSError:
            return False
        watched = self._lane.sockets.get(self.fd) is self
        if watched:
            self._lane.unwatch(self.fd)
        self.sock.close()
        self.sock, self.fd = sock, sock.fileno()
        self._tried.append(address)
        self._phase = _CONNECTING
        if watched:
            self._lane.watch(self.fd, self, WRITE)
        return True

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address at the other end; None if it is none, or gone."""
        try:
            at = self.sock.getpeername()
        except OSError:
            return None
        return (at[0], at[1]) if isinstance(at, tuple) else None

    def alive(self) -> bool:
        """Tell whether an idle connection can still be used."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # it was closed, or the server speaks without being asked

    def begin(self, transit: Transit, request: bytes) -> None:
        """Send a request; from here on the transit is told what happens."""
        self._transit = transit
        if self._phase <= _SECURING:
            self._outbox = request
            self.deadline = self._lane.now + transit.waits.connect_s
            return
        self._phase = _BUSY
        self.sent = False
        lane = self._lane
        self.deadline = lane.now + transit.waits.answer_s
        self._outbox = request
        if lane.in_batch:
            lane.unsent.append(self)
        else:
            self.flush()

    def flush(self) -> None:
        """Send what there is of the request, as far as the server takes it."""
        if self._outbox and self._phase == _BUSY:
            data, self._outbox = self._outbox, b""
            self.sent = True
            self._send(data)

    def touch(self, stream_idle_s: float) -> None:
        """Note that the server goes on with its answer; it may rest so long again."""
        self.deadline = self._lane.now + stream_idle_s

    def release(self) -> None:
        """Go idle, to be used again; or close, where that cannot be."""
        limits = self._lane.limits
        idle = self.upstream.idle
        self._transit = None
        if self._outbox or len(idle) >= limits.upstream_idle or self._lane.draining:
            self.close()
            return
        self._phase = _IDLE
        if self.fresh:
            self.fresh = False
            if isinstance(self.sock, TlsSocket):
                self.upstream.session = self.sock.session
        self.deadline = self._lane.now + limits.upstream_idle_s
        idle[self] = None

    def close(self) -> None:
        """Close at once; nobody is told."""
        if self._phase == _CLOSED:
            return
        self.leave_lane()
        self._phase = _CLOSED
        self.sock.close()
        self.upstream.open -= 1

    def leave_lane(self) -> None:
        """Be served by a task from now on."""
        self._transit = None
        self._lane.unwatch(self.fd)
        self.upstream.idle.pop(self, None)

    def rejoin(self) -> None:
        """Come back from a task, ready for another request."""
        self._lane.watch(self.fd, self, READ)
        if held(self.sock):
            self.close()  # it speaks without being asked
        else:
            self.release()

    def ready(self, mask: int) -> None:
        """Handle readiness."""
        if self._phase == _BUSY:
            if self._outbox and mask & WRITE:
                self._send(self._outbox)
            if mask & ~WRITE and self._transit is not None:
                self._receive(self._transit)
        elif self._phase <= _SECURING:
            self._connected()
        elif self.upstream.tls is None or not self.alive():
            self.close()  # nothing may come on an idle connection but its end

    def expire(self) -> None:
        """Handle that the server was too slow, or not asked for too long."""
        if self._transit is None:
            self.close()
        elif self._phase <= _SECURING:
            self.blame_address()
            self._transit.failed(Condition.CONNECT_TIMEOUT, "")
        else:
            self._transit.expired()

    def abort(self) -> None:
        """Close at once; a transit in progress fails."""
        transit = self._transit
        self.close()
        if transit is not None:
            transit.failed(Condition.CLOSED, "we are closing")

    def _connected(self) -> None:
        transit = self._transit
        assert transit is not None, "a connection is begun for a transit"
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            if not self.reconnect():
                transit.failed(Condition.UNREACHABLE, os.strerror(code))
            return
        if isinstance(self.sock, TlsSocket):
            try:
                wanted = self.sock.handshake()
            except OSError as exc:
                self.blame_address()
                transit.failed(Condition.UNTRUSTED, what_failed(exc))
                return
            if wanted:
                self._phase = _SECURING
                self._lane.poller.modify(self.fd, wanted)
                return
        self._lane.poller.modify(self.fd, READ)
        self._phase = _BUSY
        request, self._outbox = self._outbox, b""
        self.begin(transit, request)

    def _send(self, data: bytes) -> None:
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            count = len(data)  # it may have answered before it closed: the read tells
        if count == len(data) and not self._outbox:
            return
        self._outbox = data[count:]
        self._lane.poller.modify(self.fd, READ | WRITE if self._outbox else READ)

    def _receive(self, transit: Transit) -> None:
        try:
            data = self.sock.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError as exc:
            transit.failed(Condition.CLOSED, exc.strerror or str(exc))
            return
        if not data:
            transit.closed()
        elif self.sent:
            transit.received(data)
        else:  # what came is no answer to what is still here
            transit.failed(Condition.CLOSED, "spoke without being asked")
