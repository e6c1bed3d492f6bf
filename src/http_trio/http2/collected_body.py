"""A request's body on its way into memory, as a stream brings it.

HTTP/2 says where a body ends, so nothing is looked for in it; the rule that it obeys is
its sender's pace (`body_pace.py`), and who feeds it looks at its size.
"""

from __future__ import annotations

from collections.abc import Callable

from http_trio.server.body_pace import BodyPace
from http_trio.server.exchange import Exchange


class CollectedBody:
    """One body.

    Attributes:
        exchange: whose request it is of.
        limit: bytes of it at most.
        pieces: what has come.
        size: how much that is.
        pace: how long its sender may be waited for.
        then: called with the whole body.
        on_too_large: called with the size of one beyond the limit.
    """

    __slots__ = (
        "_waits_from",
        "exchange",
        "limit",
        "on_too_large",
        "pace",
        "pieces",
        "size",
        "then",
    )

    def __init__(
        self,
        exchange: Exchange,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None],
        now: float,
    ) -> None:
        self.exchange = exchange
        self.limit = limit
        self.then = then
        self.on_too_large = on_too_large
        self.pace = BodyPace(exchange.limits)
        self.pieces: list[bytes] = []
        self.size = 0
        self._waits_from = now

    def take(self, data: bytes, now: float) -> None:
        """Take some of it, at a time."""
        self.pace.took(len(data), now - self._waits_from)
        self._waits_from = now
        self.pieces.append(data)
        self.size += len(data)
