"""A client whom a balancer introduces: the header of the PROXY protocol comes first.

Only what belongs to the header is taken from the kernel: what follows is read by the
one whose protocol it is, TLS or another. The rule that it obeys: who is not trusted, or says
what is no header, is closed without a word to it; the operator is told, for nobody gets in
where a balancer does not send the header, or is not trusted.
"""

from __future__ import annotations

import logging
import socket
from typing import Protocol

from http_trio.hosts.proxy_protocol import (
    HEADER_BYTES,
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.server.listening.prologue import ListenerClient, Prologue, PrologueOwner

_log = logging.getLogger(__name__)


class Introduces(PrologueOwner, Protocol):
    """A listener whose clients are introduced."""

    def introduced(
        self, sock: socket.socket, client_address: str, header: ProxyHeader
    ) -> ListenerClient:
        """Serve a socket whose client a balancer has named."""


class ProxyPreface(Prologue):
    """A connection whose balancer has not named its client yet, and what became of it."""

    def __init__(
        self,
        listener: Introduces,
        sock: socket.socket,
        peer: str,
        rules: ForwardedPolicy,
    ) -> None:
        super().__init__(
            listener, sock, peer, rules, within_s=listener.loop.limits.head_s
        )
        self._listener = listener
        self._is_trusted = rules.trusts(peer)

    def ready(self, mask: int) -> None:
        """Read the header, or a part of it."""
        del mask
        try:
            if not self._is_trusted:
                raise BadProxyHeader("its address is not trusted")
            self._read()
        except BlockingIOError:
            return
        except BadProxyHeader as exc:
            self.refuse(f"PROXY protocol: {exc}")
        except OSError as exc:
            _log.debug("%r is closed: %s", self, exc)
            self.abort()

    def expire(self) -> None:
        """Close a client of whom no header came in time."""
        self.refuse("PROXY protocol: no whole header came in time")

    def _read(self) -> None:
        ahead = self._sock.recv(HEADER_BYTES, socket.MSG_PEEK)
        if not ahead:
            raise ConnectionResetError("gone before its first byte")
        before = len(self._received)
        header = parse_proxy_header(self._received + ahead)
        end = len(ahead) if header is None else header.size - before
        self._received += self._sock.recv(end)
        if header is None:
            return
        self._leave_loop()
        address = header.address or self._client_address
        client = self._listener.introduced(self._sock, address, header)
        self._go_on(self._become(client))
