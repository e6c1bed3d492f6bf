"""Accepting: a listening socket in the event loop, and the clients that it let in.

Where descriptors run short, or the limit on connections is reached, those that have
waited longest for a request are closed. Where none waits, a listener stops accepting until
one is free; the clients wait in the kernel's queue. With a response for an overload, those
beyond the limit get that instead, and are closed: of a crowd the first make way for the next,
so that nobody waits behind them to hear it. One file, since it is one queue.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from http_trio.hosts.addresses import plain_address
from http_trio.hosts.proxy_protocol import ProxyHeader
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.net.bind import BACKLOG, InheritedListener, address_of
from http_trio.net.certificates.held_names import HeldNames
from http_trio.net.descriptors import (
    OUT_OF_RESOURCES,
    close_idlest,
    is_next_reserved,
)
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.net.process.notices import Field, Notice, Trouble
from http_trio.net.process.port_handover import PortHandover, others_on_port
from http_trio.net.tls_socket import AnySocket
from http_trio.server.connection import Connection
from http_trio.server.exchange import Handler
from http_trio.server.listening.prologue import ListenerClient
from http_trio.server.listening.proxy_preface import ProxyPreface

_ACCEPTS = 64  # connections accepted per turn, so that a storm delays nobody for long
_OVERLOADED = 256  # connections beyond the limit that are being turned away at a time
_READ_S = 0.1  # what each of them has at least to read why, where others wait
_RETRY_S = 0.1  # after none was accepted
_SETTLED_S = 0.5  # a client's time for its first request, before it counts as idle


class SpeakingClient(ListenerClient, Protocol):
    """One of which it is known what it speaks.

    Attributes:
        deadline: when it is too slow; the loop's clock, in seconds.
    """

    deadline: float

    def take(self, data: bytes) -> None:
        """Take what was read of it before that was known."""


CarryHttp2 = Callable[
    ["Listener", AnySocket, str, Handler, ForwardedPolicy, HeldNames | None],
    SpeakingClient,
]
"""Serves a client that speaks HTTP/2; it may ask for certain names only, if given."""


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
        self._turned_away: deque[tuple[float, ListenerClient]] = deque()
        self._will_retry = False
        self._starving = Trouble()
        self._refusing = Trouble()  # never over: who comes next may be another client
        self._open = True
        self._handover = PortHandover(sock)
        loop.watch(sock.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<Listener {self.address} connections={len(self.connections)}>"

    def ready(self, mask: int) -> None:
        """Accept what waits."""
        del mask
        if not self._make_room():
            return
        for _ in range(_ACCEPTS):
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in OUT_OF_RESOURCES:
                    continue  # that client was gone before it was accepted
                if not close_idlest(self.loop, least_s=_SETTLED_S):
                    self._starve(exc.strerror)
                    return
                continue
            client = self._accepted(sock, address)
            if self._room < 0 and self._overload is not None:
                client.turn_away(self._overload)
                self._turned_away.append((self.loop.now, client))
            if self._room <= 0 or self._is_short():
                return  # room is made when another one is known to wait

    def expire(self) -> None:
        """Do nothing: a listener is never too late."""

    def idle(self) -> tuple[bool, float] | None:
        """Say that it is never closed to make room."""
        return None

    @property
    def has_others(self) -> bool:
        """Whether other sockets listen on this port."""
        return self._open and bool(others_on_port(self.sock))

    def lead_away(self) -> bool:
        """Let new clients go to others that listen on this port; False if nobody does."""
        return self._open and self._handover.lead_away()

    def stop(self) -> None:
        """Take who waits in the kernel's queue, then stop listening.

        Who waits at a socket that others hold too is theirs.
        """
        if not isinstance(self.sock, InheritedListener):
            for _ in range(2 * BACKLOG // _ACCEPTS):
                if not (self._open and self._accepting and _has_waiting(self.sock)):
                    break
                self.ready(READ)
        self.abort()

    def abort(self) -> None:
        """Stop listening."""
        if self._open:
            self._open = False
            self._pause()
            self.sock.close()

    def ended(self, client: ListenerClient) -> None:
        """Forget a client that is gone."""
        if client in self.connections:
            self.connections.remove(client)
            self.loop.counts.disconnected(client.protocol)
        if not self._accepting:
            self._resume()

    def refused(self, client_address: str, why: str) -> None:
        """Tell that a client is closed for how it began: at once, then once in 30 s."""
        if times := self._refusing.happens(self.loop.now):
            crowd = "" if times == 1 else f", the last of {times}"
            told = f"{self.address} closed {client_address}{crowd}: {why}"
            shown: dict[str, Field] = {"address": self.address, "times": times}
            shown["client"] = client_address
            self.loop.tell(Notice("client", told, logging.WARNING, shown))

    def replace(self, client: ListenerClient, by: ListenerClient) -> None:
        """Note that a client has become another kind of one."""
        self.ended(client)
        self._entered(by)

    def connect(
        self, sock: socket.socket, client_address: str, rules: ForwardedPolicy
    ) -> ListenerClient:
        """Serve a socket that was accepted."""
        return Connection(self, sock, client_address, self._handler, rules)

    def _accepted(self, sock: socket.socket, address: object) -> ListenerClient:
        sock.setblocking(False)
        if isinstance(address, tuple):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client_address = plain_address(str(address[0]))
        else:
            client_address = "unix"
        client: ListenerClient
        if self._rules.proxy_protocol:
            client = ProxyPreface(self, sock, client_address, self._rules)
        else:
            client = self.connect(sock, client_address, self._rules)
        self._entered(client)
        if self._starving.since is not None:
            self._tell_accepting()
        return client

    def introduced(
        self, sock: socket.socket, client_address: str, header: ProxyHeader
    ) -> ListenerClient:
        """Serve a socket whose client a balancer has named."""
        proto = b"https" if header.secure else self._rules.proto
        rules = attrs.evolve(self._rules, proto=proto, introduced=header)
        return self.connect(sock, client_address, rules)

    def _entered(self, client: ListenerClient) -> None:
        self.connections.add(client)
        self.loop.counts.connected(client.protocol)

    @property
    def _room(self) -> int:
        """How many more there may be; below 0 if they are too many."""
        return self.loop.limits.connections - len(self.connections)

    def _is_short(self) -> bool:
        """Tell whether the next descriptor is one that is left to others."""
        return is_next_reserved(self.sock.fileno(), self.loop.limits.spare_files)

    def _make_room(self) -> bool:
        """Make room for one more, who waits already; pause where there can be none."""
        if self._room <= 0:
            close_idlest(self.loop, least_s=_SETTLED_S, among=self.connections)
            if self._overload is not None:
                self._let_go_of_the_turned_away()
            if self._room <= (0 if self._overload is None else -_OVERLOADED):
                self._pause_a_moment()
                return False
        if self._is_short() and not close_idlest(self.loop, least_s=_SETTLED_S):
            self._starve(os.strerror(errno.EMFILE))
            return False
        if self.loop.shortage.since is not None and self._has_enough:
            self._tell_enough()
        return True

    @property
    def _has_enough(self) -> bool:
        return self._room > 1 and not self._is_short()

    def _tell_enough(self) -> None:
        lasted_s = self.loop.shortage.ends(self.loop.now)
        if lasted_s is not None:
            told = "there are enough connections and descriptors again"
            shown = {"lasted_s": round(lasted_s, 1)}
            self.loop.tell(Notice("limit", told, logging.INFO, shown))

    def _let_go_of_the_turned_away(self) -> None:
        """Close those that had time to read why, as far as their places are needed."""
        turned_away = self._turned_away
        while turned_away:
            since, client = turned_away[0]
            if client in self.connections:
                is_needed = self._room <= -_OVERLOADED
                if not is_needed or self.loop.now - since < _READ_S:
                    return
                client.abort()
            turned_away.popleft()

    def _tell_accepting(self) -> None:
        lasted_s = self._starving.ends(self.loop.now)
        if lasted_s is not None:
            address = self.address
            shown: dict[str, Field] = {"address": address, "lasted_s": lasted_s}
            told = f"{self!r} accepts clients again"
            self.loop.tell(Notice("limit", told, logging.INFO, shown))

    def _starve(self, why: str | None) -> None:
        if times := self._starving.happens(self.loop.now):
            told = f"{self!r} accepts nothing for now: {why}"
            shown: dict[str, Field] = {"address": self.address, "times": times}
            self.loop.tell(Notice("limit", told, logging.WARNING, shown))
        self._pause_a_moment()

    def _pause_a_moment(self) -> None:
        self._pause()
        if not self._will_retry:
            self._will_retry = True
            self.loop.call_later(_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._will_retry = False
        self._resume()

    def _pause(self) -> None:
        self._accepting = False
        if self._open:
            self.loop.poller.modify(self.sock.fileno(), 0)
        else:
            self.loop.unwatch(self.sock.fileno())

    def _resume(self) -> None:
        if self._open and not self._accepting:
            self._accepting = True
            self.loop.poller.modify(self.sock.fileno(), READ)


def _has_waiting(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
