"""Listening with TLS: a handshake in the event loop, then a client's connection.

HTTP/1.1 stays in the event loop: its connection is the same as on a plain listener, over a
socket that encrypts. HTTP/2, where the client chose it (ALPN, RFC 7301), is handed on.
A client that dawdles in its handshake is swept away like any other.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.net.tls_context import Certificate
from http_trio.net.tls_socket import TlsSocket
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler
from http_trio.server.listener import Listener, ListenerClient

_log = logging.getLogger(__name__)

CarryHttp2 = Callable[[TlsSocket, str, Listener], ListenerClient]
"""Takes over a connection of the given client, and gives what stands for it."""


class TlsListener(Listener):
    """A listening socket whose clients speak TLS."""

    def __init__(
        self,
        loop: EventLoop,
        sock: socket.socket,
        handler: Handler,
        rules: ForwardedPolicy,
        overload: Response | None = None,
        *,
        certificate: Certificate,
        carry_http2: CarryHttp2,
    ) -> None:
        super().__init__(loop, sock, handler, rules, overload)
        self._certificate = certificate
        self._carry_http2 = carry_http2

    def connect(self, sock: socket.socket, client_address: str) -> ListenerClient:
        """Begin the handshake."""
        secured = TlsSocket(sock, self._certificate.context())
        return Handshake(self, secured, client_address)

    def secured(self, sock: TlsSocket, client_address: str) -> ListenerClient:
        """Go on after the handshake."""
        if sock.alpn == "h2":
            return self._carry_http2(sock, client_address, self)
        return Connection(self, sock, client_address, self._handler, self._rules)


class Handshake:
    """A client in its handshake, and what became of it."""

    def __init__(
        self, listener: TlsListener, sock: TlsSocket, client_address: str
    ) -> None:
        self.loop = listener.loop
        self.deadline = self.loop.now + self.loop.limits.handshake_s
        self._listener = listener
        self._sock = sock
        self._client_address = client_address
        self._mask = READ
        self._overload: Response | None = None
        self._became: ListenerClient | None = None
        self.loop.watch(sock.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<Handshake with {self._client_address}>"

    def ready(self, mask: int) -> None:
        """Go on with the handshake."""
        del mask
        try:
            wanted = self._sock.handshake()
        except OSError as exc:
            _log.debug("no handshake with %s: %s", self._client_address, exc)
            self.abort()
            return
        if not wanted:
            self._done()
        elif wanted != self._mask:
            self._mask = wanted
            self.loop.poller.modify(self._sock.fileno(), wanted)

    def expire(self) -> None:
        """Handle that it took too long."""
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._became is not None:
            self._became.abort()
            return
        self.loop.unwatch(self._sock.fileno())
        self._sock.close()
        self._listener.ended(self)

    def drain(self) -> None:
        """Close at once: no request has come yet."""
        self.abort()

    def turn_away(self, response: Response) -> None:
        """Turn the client away once it can be told so."""
        self._overload = response

    def _done(self) -> None:
        self.loop.unwatch(self._sock.fileno())
        client = self._became = self._listener.secured(self._sock, self._client_address)
        self._listener.replace(self, client)
        if self._overload is not None:
            client.turn_away(self._overload)
        elif isinstance(client, Connection):
            client.ready(READ)  # its request may have come with the handshake's end
