"""Connections to the event loop from inside the process, for what is no TCP connection.

One end of a socket pair is an ordinary client's connection in the event loop, which knows
the address and the scheme that it stands for; who opened it speaks HTTP/1.1 over the
other end. So whatever the event loop does for a connection (limits, waits, both paths,
draining) it does for these, and closing the other end is a client that left.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.net.event_loop import EventLoop
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler, Http2Exchange


class InProcessListener:
    """The inner connections of one handler.

    Attributes:
        connections: those that are open.
    """

    def __init__(
        self, loop: EventLoop, handler: Handler, rules: ForwardedPolicy
    ) -> None:
        self.loop = loop
        self.connections: set[Connection] = set()
        self._handler = handler
        self._rules = {
            scheme: attrs.evolve(rules, proto=scheme) for scheme in (b"http", b"https")
        }

    def __repr__(self) -> str:
        return f"<InProcessListener connections={len(self.connections)}>"

    @contextmanager
    def open(
        self, client_address: str, scheme: bytes, *, http2: bool = False
    ) -> Iterator[socket.socket]:
        """Connect to the event loop; the connection is closed at the end of the block.

        Args:
            client_address: the address of the client that it is for, or "unix".
            scheme: how that client reached us, `b"http"` or `b"https"`.
            http2: whether it did so over HTTP/2.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with ours:
            kind = _OfHttp2 if http2 else Connection
            connection = kind(
                self, theirs, client_address, self._handler, self._rules[scheme]
            )
            self.connections.add(connection)
            yield ours

    def ended(self, client: Connection) -> None:
        """Forget a connection that is closed."""
        self.connections.discard(client)

    def drain(self) -> None:
        """Answer the parked. No connection is idle: each carries one exchange."""
        for connection in list(self.connections):
            connection.answer_parked()


class _OfHttp2(Connection):
    """A connection that stands for a client's stream over HTTP/2."""

    __slots__ = ()
    _exchange_kind = Http2Exchange
    _version = b"2.0"
