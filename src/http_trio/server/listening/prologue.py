"""What a client is before it speaks HTTP: it is being introduced, secured or recognised.

A balancer's header, a handshake and the first bytes of who may speak one of two protocols
come before any request. They differ in what they read, and in nothing else: one wait for all
of it, and then the connection goes on as what it turned out to be. The rule that it obeys:
in a drain it may still become that, since a request may be on its way behind it.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Protocol, TypeVar

from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.server.exchange import Exchange


class ListenerClient(Protocol):
    """One client of a listener, whatever it speaks."""

    @property
    def protocol(self) -> str:
        """What it speaks: `"HTTP/1.1"` or `"HTTP/2"`; empty if it is not known yet."""

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges that are in progress."""

    def ready(self, mask: int) -> None:
        """Handle readiness."""

    def drain(self) -> None:
        """Take no further request."""

    def abort(self) -> None:
        """Close at once."""

    def turn_away(self, response: Response) -> None:
        """Answer, whatever is asked, and close."""


ClientT = TypeVar("ClientT", bound=ListenerClient)


class PrologueOwner(Protocol):
    """The listener, as far as a prologue needs it."""

    loop: EventLoop

    def ended(self, client: ListenerClient) -> None:
        """Forget a client that is gone."""

    def refused(self, client_address: str, why: str) -> None:
        """Note that a client is closed for how it began."""

    def replace(self, client: ListenerClient, by: ListenerClient) -> None:
        """Note that a client has become another kind of one."""


class Prologue(ABC):
    """A client that has not begun to speak HTTP, and what became of it.

    Attributes:
        protocol: empty: it is not known yet.
        deadline: when it has taken too long; the loop's clock, in seconds.
    """

    protocol = ""

    def __init__(
        self,
        owner: PrologueOwner,
        sock: socket.socket,
        client_address: str,
        rules: ForwardedPolicy,
        *,
        within_s: float,
    ) -> None:
        """Begin to read.

        Args:
            owner: the listener.
            sock: the client's.
            client_address: the client's address as text, or "unix".
            rules: of the listener.
            within_s: how long all of it may take.
        """
        self.loop = owner.loop
        self.deadline = self.loop.now + within_s
        self._began = self.loop.now
        self._owner = owner
        self._sock = sock
        self._client_address = client_address
        self._rules = rules
        self._received = b""
        self._overload: Response | None = None
        self._became: ListenerClient | None = None
        self.loop.watch(sock.fileno(), self, READ)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client_address}>"

    @property
    def exchanges(self) -> list[Exchange]:
        """Those of what it became."""
        return [] if self._became is None else self._became.exchanges

    @abstractmethod
    def ready(self, mask: int) -> None:
        """Read more of it."""

    def expire(self) -> None:
        """Handle that it took too long."""
        self.abort()

    def idle(self) -> tuple[bool, float] | None:
        """Say that no request came, and since when it is waited for."""
        return False, self._began

    def abort(self) -> None:
        """Close at once."""
        if self._became is not None:
            self._became.abort()
            return
        self.loop.unwatch(self._sock.fileno())
        self._sock.close()
        self._owner.ended(self)

    def refuse(self, why: str) -> None:
        """Close it for how it began, and have that told."""
        self._owner.refused(self._client_address, why)
        self.abort()

    def drain(self) -> None:
        """Let it end soon: a request may follow at once."""
        self.deadline = min(self.deadline, self.loop.now + self.loop.limits.notice_s)

    def turn_away(self, response: Response) -> None:
        """Turn the client away once it can be told so."""
        self._overload = response

    def _leave_loop(self) -> None:
        """Read no more: what follows is for whoever it becomes."""
        self.loop.unwatch(self._sock.fileno())

    def _become(self, client: ClientT) -> ClientT:
        """Be another kind of client from now on, and give it."""
        self._became = client
        self._owner.replace(self, client)
        if self._overload is not None:
            client.turn_away(self._overload)
        return client

    def _go_on(self, client: ListenerClient) -> None:
        """Let it read what has come with the end of the prologue."""
        if self._overload is None:
            client.ready(READ)
        if self.loop.draining:
            client.drain()
