"""A request's body on its way into memory, as a stream brings it.

HTTP/2 says where a body ends, so nothing is looked for in it; the rule that it obeys is
its sender's pace (`body_pace.py`), and who feeds it looks at its size.
"""

from __future__ import annotations

from collections.abc import Callable

from http_trio.http1.body_pace import BodyPace
from http_trio.server.exchange import Exchange


class CollectedBody:
    """One body.

    Attributes:
        exchange: whose request it is of.
        takes: whether it is taken from the stream, whose sender so gets room.
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

    takes = True

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

    def is_over(self, *, ended: bool) -> bool:
        """Whether it is to be told of: all of it is here, or more than the limit."""
        return ended or self.size > self.limit

    def tell(self) -> None:
        """Tell the one who asked for it."""
        if self.size > self.limit:
            self.exchange.decide(self.on_too_large, self.exchange, self.size)
        else:
            self.exchange.decide(self.then, self.exchange, b"".join(self.pieces))


class AwaitedBody(CollectedBody):
    """The beginning of a body, which the stream keeps."""

    __slots__ = ("_then",)
    takes = False

    def __init__(
        self,
        exchange: Exchange,
        enough: int,
        then: Callable[[Exchange], None],
        now: float,
    ) -> None:
        super().__init__(exchange, enough, lambda *_: None, lambda *_: None, now)
        self._then = then

    def is_over(self, *, ended: bool) -> bool:
        """Whether it is to be told of: enough of it is here."""
        return ended or self.size >= self.limit

    def tell(self) -> None:
        """Tell the one who waits for it."""
        self.exchange.unpark()
        self.exchange.decide(self._then, self.exchange)
