"""One server: its addresses, and the pool of connections to it.

Idle connections stay in the event loop's selector, so one that the server closes is
seen, and dropped, at once. The newest idle connection is used first, so that the rest
can age out. An address that did not accept is the last one to be tried, for a while. One
file, since an address, its connections and their limits are one choice.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Collection, Container, Sequence

from http_trio.hosts.introduction import ProxyVersion
from http_trio.limits import Limits
from http_trio.net.connect import Address, begin_connect, begin_tls
from http_trio.net.descriptors import (
    OUT_OF_RESOURCES,
    OWN_FILES,
    close_idlest,
    is_reserved,
)
from http_trio.net.event_loop import EventLoop
from http_trio.net.stream import ByteStream
from http_trio.net.tls_socket import AnySocket, TlsSocket
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.connection import Pool, UpstreamConnection
from http_trio.upstream.failure import Failure, FailureReason

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
        epoch: of which a connection is of use; see `use_tls` and `move_to`.
        lead: what each begins with: nothing, see `IntroducingUpstream`.
        own_lead: what one begins with that is for no client, such as a check.
        proxy_protocol: the PROXY protocol by which it is told of clients; None for none.
    """

    lead = own_lead = b""
    proxy_protocol: ProxyVersion | None = None
    __slots__ = (
        "_at",
        "_shunned",
        "addresses",
        "epoch",
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
        self.epoch = 0
        self._at = 0
        self._shunned: dict[Address, float] = {}

    def __repr__(self) -> str:
        return f"<Upstream {self.name} open={self.open} idle={len(self.idle)}>"

    def take_idle(self, *, peek: bool, lead: bytes = b"") -> UpstreamChannel | None:
        """Take the newest idle connection.

        Args:
            peek: look first whether the server has closed it a moment ago. One
                system call; for a request that could not be repeated.
            lead: what it must have begun with, where there is a `proxy_protocol`.
        """
        del lead
        idle = self.idle
        if peek or not idle:
            return take_newest(idle, peek=peek)
        return idle.popitem()[0]

    def connect(self, loop: EventLoop, lead: bytes = b"") -> UpstreamChannel | Failure:
        """Begin a new connection; whoever begins on it is told when it is made.

        Args:
            loop: that serves it.
            lead: what it begins with, where there is a `proxy_protocol`.
        """
        del lead
        return self._begin_connection(loop)

    def leave(self, lead: bytes) -> None:
        """Close the idle connections that began so: their client is gone."""

    def refusal(self, sock: AnySocket) -> str:
        """Say why the protocol cannot be spoken over a connection; "" if it can."""
        del sock  # HTTP/1.1 needs no agreement
        return ""

    def speak(self, stream: ByteStream, limits: Limits) -> ByteStream:
        """Give a stream of HTTP/1.1 for one request, over a connection of its own."""
        del limits
        return stream

    def _begin_connection(
        self, loop: EventLoop, pool: Pool | None = None
    ) -> UpstreamConnection | Failure:
        if self.open >= loop.limits.upstream_connections:
            return self._failure(
                FailureReason.FULL, f"{self.open} connections are open"
            )
        if not self.addresses:
            return self._failure(FailureReason.UNREACHABLE, "its name does not resolve")
        try:
            sock, address = self._open_within_files(loop)
        except OSError as exc:
            starved = exc.errno in OUT_OF_RESOURCES  # no fault of the server
            condition = FailureReason.FULL if starved else FailureReason.UNREACHABLE
            return self._failure(condition, exc.strerror or str(exc))
        self._at += 1
        return UpstreamConnection(pool or self, loop, sock, address)

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
                return self._begin(address), address
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
        """Go to these addresses from now on; connections to others are closed.

        If one is gone, so is each connection that is busy now, once its request is over.
        """
        if not set(self.addresses) <= set(addresses):
            self.epoch += 1
        self.addresses = tuple(addresses)
        self._shunned = {
            at: until for at, until in self._shunned.items() if at in self.addresses
        }
        kept = {at[:2] for family, at in self.addresses if family != socket.AF_UNIX}
        self._keep_only(kept)

    def close_idle(self) -> None:
        """Close the connections, busy ones when their request is over: they are done with."""
        self.epoch += 1
        while self.idle:
            self.idle.popitem()[0].close()

    def _keep_only(self, addresses: Container[tuple[str, int] | None]) -> None:
        """Close the idle connections to other addresses."""
        idle = self.idle
        for connection in [one for one in idle if one.remote_address not in addresses]:
            connection.close()

    def _open_within_files(self, loop: EventLoop) -> tuple[AnySocket, Address]:
        """Open a socket; where descriptors run short, idle connections make way."""
        try:
            sock, address = self.open_socket(loop.now, ())
        except OSError as exc:
            if exc.errno not in OUT_OF_RESOURCES or not close_idlest(loop):
                raise
            return self.open_socket(loop.now, ())
        if is_reserved(sock.fileno(), OWN_FILES) and not close_idlest(loop):
            sock.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return sock, address

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Make connections with another context from now on; the others are closed."""
        self.tls, self.session = context, None
        self.close_idle()

    def keep_session(self, sock: TlsSocket) -> None:
        """Let the next connection resume the session of this one."""
        if sock.context is self.tls:  # else it began before `use_tls`
            self.session = sock.session

    def _begin(self, address: Address) -> AnySocket:
        sock = begin_connect(address)
        if self.tls is None:
            return sock
        try:
            return begin_tls(
                sock, self.tls, server_name=self.server_name, session=self.session
            )
        except BaseException:
            sock.close()
            raise

    def _failure(self, condition: FailureReason, detail: str) -> Failure:
        return Failure(condition, self.name, sent=False, detail=detail)


def take_newest(
    idle: dict[UpstreamConnection, None], *, peek: bool
) -> UpstreamConnection | None:
    """Take the newest of these that is usable, as `Upstream.take_idle`."""
    while idle:
        connection, _ = idle.popitem()
        if not peek or connection.alive():
            return connection
        connection.close()
    return None


def _without_port(host: bytes) -> str:
    """Give the name or address of an authority.

    >>> _without_port(b"example.org:8443"), _without_port(b"[::1]:80")
    ('example.org', '::1')
    """
    text = host.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
