"""Accepting: a listening socket in the event loop, and the clients that it let in.

Where descriptors run out, or the limit on connections is reached, a listener stops
accepting until one is free; the clients wait in the kernel's queue. With a response
for an overload, those beyond the limit get that instead, and are closed.
"""

from __future__ import annotations

import logging
import math
import socket
from typing import Protocol

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.net.bind import BACKLOG, address_of
from http_trio.net.errnos import OUT_OF_RESOURCES
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler

_log = logging.getLogger(__name__)

_ACCEPTS = 64  # connections accepted per turn, so that a storm delays nobody for long
_OVERLOADED = 64  # connections beyond the limit that are being turned away at a time
_RETRY_S = 0.1  # after descriptors ran out


class ListenerClient(Protocol):
    """One client of a listener, whatever it speaks."""

    def drain(self) -> None:
        """Take no further request."""

    def abort(self) -> None:
        """Close at once."""

    def turn_away(self, response: Response) -> None:
        """Answer, whatever is asked, and close."""


class Listener:
    """A listening socket in the event loop, and the connections that it accepted."""

    def __init__(
        self,
        loop: EventLoop,
        sock: socket.socket,
        handler: Handler,
        rules: ForwardedPolicy,
        overload: Response | None = None,
    ) -> None:
        self.loop = loop
        self.sock = sock
        self.address = address_of(sock)
        self.deadline = math.inf
        self.connections: set[ListenerClient] = set()
        self._handler = handler
        self._rules = rules
        self._overload = overload
        self._accepting = True
        self._starved = False
        self._open = True
        sock.listen(BACKLOG)  # most do already
        loop.watch(sock.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<Listener {self.address} connections={len(self.connections)}>"

    def ready(self, mask: int) -> None:
        """Accept what waits."""
        del mask
        for _ in range(_ACCEPTS):
            room = self.loop.limits.connections - len(self.connections)
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
                    self._pause(self.loop.now + _RETRY_S)
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

    def ended(self, client: ListenerClient) -> None:
        """Forget a client that is gone."""
        self.connections.discard(client)
        if not self._accepting and self.deadline == math.inf:
            self._resume()

    def replace(self, client: ListenerClient, by: ListenerClient) -> None:
        """Note that a client has become another kind of one."""
        self.connections.discard(client)
        self.connections.add(by)

    def connect(self, sock: socket.socket, client_address: str) -> ListenerClient:
        """Serve a socket that was accepted."""
        return Connection(self, sock, client_address, self._handler, self._rules)

    def _accepted(self, sock: socket.socket, address: object) -> ListenerClient:
        sock.setblocking(False)
        if isinstance(address, tuple):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client_address = str(address[0]).removeprefix("::ffff:")
        else:
            client_address = "unix"
        client = self.connect(sock, client_address)
        self.connections.add(client)
        return client

    def _pause(self, until: float) -> None:
        self._accepting = False
        self.deadline = until
        if self._open:
            self.loop.poller.modify(self.sock.fileno(), 0)
        else:
            self.loop.unwatch(self.sock.fileno())

    def _resume(self) -> None:
        if self._open and not self._accepting:
            self._accepting = True
            self.deadline = math.inf
            self.loop.poller.modify(self.sock.fileno(), READ)
