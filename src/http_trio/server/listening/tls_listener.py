"""Listening with TLS: a handshake in the event loop, then a client's connection.

HTTP/1.1 stays in the event loop: its connection is the same as on a plain listener, over a
socket that encrypts. HTTP/2, where the client chose it (ALPN, RFC 7301), is handed on.
A client that dawdles in its handshake is swept away like any other.

The client's first message is read here, for the name that it asks for: of several
certificates it chooses one, and servers may be told of it. It then goes to OpenSSL as it
came.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.net.certificates.client_hello import (
    HELLO_BYTES,
    Unfinished,
    server_name,
)
from http_trio.net.certificates.held_names import HeldNames
from http_trio.net.certificates.store import CertificateStore
from http_trio.net.certificates.x509 import Certificate, read_der
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.net.tls_socket import TlsSocket
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler
from http_trio.server.listening.listener import CarryHttp2, Listener
from http_trio.server.listening.prologue import ListenerClient, Prologue

_log = logging.getLogger(__name__)


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
        certificates: CertificateStore,
        carry_http2: CarryHttp2,
    ) -> None:
        super().__init__(loop, sock, handler, rules, overload)
        self.certificates = certificates
        self._carry_http2 = carry_http2

    def connect(
        self, sock: socket.socket, client_address: str, rules: ForwardedPolicy
    ) -> ListenerClient:
        """Begin the handshake."""
        return Handshake(self, sock, client_address, rules)

    def secured(
        self, sock: TlsSocket, client_address: str, rules: ForwardedPolicy
    ) -> ListenerClient:
        """Go on after the handshake."""
        if sock.alpn == "h2":
            held = self._names_of(sock)
            return self._carry_http2(
                self, sock, client_address, self._handler, rules, held
            )
        return Connection(self, sock, client_address, self._handler, rules)

    def _names_of(self, sock: TlsSocket) -> HeldNames | None:
        """Give the names that a connection is for; None where it is for any.

        With one certificate every connection is the same to a server, and whether it
        holds a name is for the client to judge. With several, a request for a name that
        this one does not hold has come the wrong way (RFC 9110 section 7.4).
        """
        served = sock.certificate
        return None if served is None or not self.certificates.several else served.held


class Handshake(Prologue):
    """A client in its handshake, and what became of it."""

    def __init__(
        self,
        listener: TlsListener,
        sock: socket.socket,
        client_address: str,
        rules: ForwardedPolicy,
    ) -> None:
        within_s = listener.loop.limits.handshake_s
        super().__init__(listener, sock, client_address, rules, within_s=within_s)
        self._listener = listener
        self._secured: TlsSocket | None = None
        self._mask = READ

    def ready(self, mask: int) -> None:
        """Go on with the handshake."""
        del mask
        try:
            sock = self._secured or self._begin()
            wanted = READ if sock is None else sock.handshake()
            if not wanted and sock is not None:
                self._done(sock)
                return
        except (ConnectionError, ssl.SSLEOFError) as exc:
            _log.debug("%s left its handshake: %s", self._client_address, exc)
            self.abort()
            return
        except (OSError, ValueError) as exc:
            self.refuse(f"TLS: {exc}")
            return
        if wanted != self._mask:
            self._mask = wanted
            self.loop.poller.modify(self._sock.fileno(), wanted)

    def _begin(self) -> TlsSocket | None:
        """Choose the certificate, and put TLS on the socket; None if it is too early."""
        store = self._listener.certificates
        try:
            data = self._sock.recv(HELLO_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError("gone before its first message")
        self._received += data
        try:
            name = server_name(self._received)
        except Unfinished:
            return None
        served = store.choose(name)
        sock = TlsSocket(self._sock, store.context_for(served), received=self._received)
        sock.certificate, sock.asked_name = served, name
        self._secured, self._received = sock, b""
        return sock

    def _done(self, sock: TlsSocket) -> None:
        der = sock.verified
        sock.client_certificate = None if der is None else _still_valid(der)
        self._leave_loop()
        self._go_on(
            self._become(
                self._listener.secured(sock, self._client_address, self._rules)
            )
        )


def _still_valid(der: bytes) -> Certificate:
    """Read the certificate of a client.

    Raises:
        ValueError: it is over. OpenSSL looks only when it is shown, and not when a
            session is resumed.
    """
    certificate = read_der(der)
    if not certificate.not_before <= time.time() <= certificate.not_after:
        raise ValueError("its certificate has expired, or is not valid yet")
    return certificate
