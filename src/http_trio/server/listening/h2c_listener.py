"""Listening without TLS where clients may speak HTTP/2 by prior knowledge ("h2c").

Nothing on such a connection says beforehand what will be spoken, so the first bytes do:
a client of HTTP/2 begins with its preface (RFC 9113 section 3.4), which no request of
HTTP/1.1 can begin with beyond its first four bytes. The rule that it obeys: nobody reads
those bytes but the one whose protocol it is; they are handed on as they came.

`Upgrade: h2c` is not offered: RFC 9113 section 3.1 took it back.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.limits import BUFFER
from http_trio.net.event_loop import EventLoop
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler
from http_trio.server.listening.listener import CarryHttp2, Listener, SpeakingClient
from http_trio.server.listening.prologue import ListenerClient, Prologue

Spoken = TypeVar("Spoken", bound=SpeakingClient)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 says first (RFC 9113 section 3.4)."""


class H2cListener(Listener):
    """A listening socket whose clients speak HTTP/1.1, or HTTP/2 by prior knowledge."""

    def __init__(
        self,
        loop: EventLoop,
        sock: socket.socket,
        handler: Handler,
        rules: ForwardedPolicy,
        overload: Response | None = None,
        *,
        carry_http2: CarryHttp2,
    ) -> None:
        super().__init__(loop, sock, handler, rules, overload)
        self._carry_http2 = carry_http2

    def connect(
        self, sock: socket.socket, client_address: str, rules: ForwardedPolicy
    ) -> ListenerClient:
        """Wait for what the client speaks."""
        return FirstBytes(self, sock, client_address, rules)

    def begin_http1(
        self, sock: socket.socket, client_address: str, rules: ForwardedPolicy
    ) -> Connection:
        """Go on with a client that speaks HTTP/1.1."""
        return Connection(self, sock, client_address, self._handler, rules)

    def begin_http2(
        self, sock: socket.socket, client_address: str, rules: ForwardedPolicy
    ) -> SpeakingClient:
        """Go on with a client that speaks HTTP/2."""
        return self._carry_http2(self, sock, client_address, self._handler, rules, None)


class FirstBytes(Prologue):
    """A client that has not said yet what it speaks, and what became of it."""

    def __init__(
        self,
        listener: H2cListener,
        sock: socket.socket,
        client_address: str,
        rules: ForwardedPolicy,
    ) -> None:
        within_s = listener.loop.limits.head_s
        super().__init__(listener, sock, client_address, rules, within_s=within_s)
        self._listener = listener

    def ready(self, mask: int) -> None:
        """Read what tells."""
        del mask
        try:
            data = self._sock.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.abort()
            return
        received = self._received = self._received + data
        if received.startswith(PREFACE):
            self._speak(self._listener.begin_http2).take(received)
        elif not PREFACE.startswith(received):
            self._speak(self._listener.begin_http1).take(received)
        if self.loop.draining and self._became is not None:
            self._became.drain()

    def expire(self) -> None:
        """Handle that it took too long: if anything came, the client is told so."""
        if self._received and not self.loop.draining:
            client = self._speak(self._listener.begin_http1)
            client.refuse(408, "the first bytes did not come in time")
        else:
            self.abort()

    def _speak(
        self, begin: Callable[[socket.socket, str, ForwardedPolicy], Spoken]
    ) -> Spoken:
        """Become a client of that protocol; what is left of the wait is its."""
        self._leave_loop()
        client = begin(self._sock, self._client_address, self._rules)
        client.deadline = self.deadline
        return self._become(client)
