"""Bodies of requests on their way: as many bytes as there is room for, in all and by client.

A body that is here with its head takes no room. Any other takes what it may become, from
before its first byte is waited for until its last is here; so those that were let in are
never refused later, and half-sent bodies by the thousand hold no more than the room. A
client, which is an address, has a share of it.

A body may take its time, in which its sender's rights may end; then it is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from http_trio import Exchange, Response
from kv_trio.state.acl import Acl

_SHARE = 4  # of the room, a quarter is one client's at most
_RETRY = ((b"Retry-After", b"1"),)

Then = Callable[[Exchange, bytes], None]
OnTooLarge = Callable[[Exchange, int], None]


class RequestBodies:
    """The room for bodies that are on their way.

    Attributes:
        taken: bytes of it that are taken.
    """

    def __init__(self, room: int, holds: Callable[[Acl], bool]) -> None:
        """Give room.

        Args:
            room: bytes of it.
            holds: tells whether rights are granted still.
        """
        self._room = room
        self._holds = holds
        self._share = max(1, room // _SHARE)
        self._taken: Counter[str] = Counter()
        self.taken = 0

    def __repr__(self) -> str:
        return f"<RequestBodies taken={self.taken}>"

    def collect(
        self,
        exchange: Exchange,
        acl: Acl,
        limit: int,
        then: Then,
        on_too_large: OnTooLarge,
    ) -> None:
        """Gather a body as `Exchange.collect` does, if there is room for it.

        Args:
            exchange: whose body it is.
            acl: the rights by which it is taken.
            limit: bytes of it at most.
            then: called with the body, if the rights hold still.
            on_too_large: called with the size of a body beyond the limit.
        """
        connection, framing = exchange.connection, exchange.head.framing
        is_here = connection is None or 0 <= framing <= len(connection.buffer)
        if is_here or framing > limit:
            exchange.collect(limit, then, on_too_large)
            return
        size = framing if framing > 0 else limit
        refusal = self._refusal(exchange.client, size)
        if refusal is not None:
            exchange.respond(refusal)
            return
        self._taken[exchange.client] += size
        self.taken += size
        place = _Place(self, exchange, size)
        exchange.attached = place

        def collected(exchange: Exchange, body: bytes) -> None:
            exchange.attached = None
            place.leave()
            if self._holds(acl):
                then(exchange, body)
            else:
                exchange.respond(Response(403, b"Permission denied"))

        def too_large(exchange: Exchange, size: int) -> None:
            exchange.attached = None
            place.leave()
            on_too_large(exchange, size)

        exchange.collect(limit, collected, too_large)

    def give_back(self, client: str, size: int) -> None:
        """Give room back."""
        self._taken[client] -= size
        self.taken -= size
        if self._taken[client] <= 0:
            del self._taken[client]

    def _refusal(self, client: str, size: int) -> Response | None:
        own, taken = self._taken[client], self.taken
        if own and own + size > self._share:
            text = (
                f"{own} bytes of bodies from {client} are on their way, and"
                f" {self._share} may be; send fewer at a time, or raise the store's"
                " limit: --limit bodies_bytes=NUMBER"
            )
            return Response(429, text.encode(), headers=_RETRY)
        if taken and taken + size > self._room:
            text = (
                f"{taken} bytes of bodies are on their way, and {self._room} may be; try"
                " again, or raise the store's limit: --limit bodies_bytes=NUMBER"
            )
            return Response(503, text.encode(), headers=_RETRY)
        return None


@attrs.define(eq=False)
class _Place:
    """The room that one body has taken, until it is here or its client is gone."""

    bodies: RequestBodies
    exchange: Exchange
    size: int

    def client_gone(self) -> None:
        """Take that the client went away, or was too slow."""
        self.leave()

    def crashed(self) -> None:
        """Take that code raised while the body came; nobody else answers."""
        self.leave()
        self.exchange.attached = None
        self.exchange.respond(Response(500, b"the store failed at this body"))

    def leave(self) -> None:
        """Give the room back, once."""
        self.bodies.give_back(self.exchange.client, self.size)
        self.size = 0
