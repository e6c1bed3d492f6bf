"""Who waits for a place at a full server: by turns among clients, each in order. Pure.

A server is given so many requests at a time (`limits.in_flight`). Beyond that, requests
wait in a `PendingQueue` of the server, which is told whenever one of its requests has
ended. A waiting request holds no task, and leaves from anywhere in the queue at once.

One client's requests are served first come, first served; among clients it goes by turns
(fair queueing, Nagle, RFC 970), so that a thousand requests of one are not a thousand
turns. Who already has its share of the places is passed over until one of them ends.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Protocol

_SITE = 64  # bits of an IPv6 address that are one customer's; the rest it may choose


class Waiter(Protocol):
    """A request that waits."""

    def admit(self) -> None:
        """Take the place that is free now; it is out of the queue already."""


class Place(Protocol):
    """The server that is waited for."""

    @property
    def full(self) -> bool:
        """Whether it has no place for another request."""

    def has_room_for(self, client: str) -> bool:
        """Whether it has a place for another request of a client."""


class PendingQueue:
    """The requests that wait for one server.

    A place that is given is taken before `freed` returns, so that nobody who came later
    gets in between.
    """

    __slots__ = ("_client_of", "_place", "_waiting")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client_of: dict[Waiter, str] = {}
        self._waiting: OrderedDict[str, OrderedDict[Waiter, None]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<PendingQueue waiting={len(self)} clients={len(self._waiting)}>"

    def __len__(self) -> int:
        return len(self._client_of)

    def count(self, client: str) -> int:
        """Give how many requests of a client wait."""
        return len(self._waiting.get(client, ()))

    def join(self, waiter: Waiter, client: str) -> None:
        """Add a waiter at the end of its client's."""
        self._client_of[waiter] = client
        self._waiting.setdefault(client, OrderedDict())[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter; nothing happens if it does not wait."""
        client = self._client_of.pop(waiter, None)
        if client is not None:
            waiting = self._waiting[client]
            del waiting[waiter]
            if not waiting:
                del self._waiting[client]

    def freed(self) -> None:
        """Admit as many waiters as there are places for."""
        while not self._place.full:
            client = self._next_client()
            if client is None:
                return
            waiter = next(iter(self._waiting[client]))
            self._waiting.move_to_end(client)
            self.leave(waiter)
            waiter.admit()

    def _next_client(self) -> str | None:
        """Give whose turn it is. Only few can have had their share: it is a fraction."""
        for client in self._waiting:
            if self._place.has_room_for(client):
                return client
        return None


def client_of(address: str) -> str:
    """Give whose requests count as one client's; "" for those that no share holds for.

    Args:
        address: of the client as text; "unix", or "" for unknown.

    >>> client_of("192.0.2.7"), client_of("2001:db8:1:2:3::4"), client_of("unix")
    ('192.0.2.7', '2001:db8:1:2::', '')
    """
    if ":" in address:
        network = ipaddress.ip_network((address.partition("%")[0], _SITE), strict=False)
        return str(network.network_address)
    return "" if address == "unix" else address
