"""Which of the usable servers serves a request: one class per policy. Pure.

Each policy holds the servers that can be chosen now, and is told when one comes, goes
or changes its weight; so a choice never looks at all servers. The rule that all obey:
over time each server gets its weight's share of the requests, and what a policy owes a
server stays with the server (`debt`), whatever comes and goes.

A choice costs O(log n) at most; a change O(log n), or O(n) at the next choice for the
policies by chance, which is a few microseconds for a hundred servers.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

Draw = Callable[[], float]
"""A number by chance, uniform in [0, 1)."""


class Weighted(Protocol):
    """A server as the policies see it; it outlives configurations.

    Attributes:
        weight: its present share among the others, above 0.
        in_flight: requests in progress.
        debt: requests that round robin owes it, from -1 to 1.
    """

    weight: float
    in_flight: int
    debt: float


S = TypeVar("S", bound=Weighted)


class Policy(Protocol[S]):
    """The servers that can be chosen, and how one is."""

    def __len__(self) -> int:
        """Give the number of servers."""

    def __iter__(self) -> Iterator[S]:
        """Give them in the order in which they came."""

    def add(self, server: S) -> None:
        """Add a server that can be chosen; it must not be among them."""

    def remove(self, server: S) -> None:
        """Remove a server; it must be among them."""

    def reweigh(self, server: S) -> None:
        """Take note that its weight is another one."""

    def pick(self, key: bytes | None = None) -> S:
        """Choose one; there must be one.

        Args:
            key: of the user or request, for policies that go by it.
        """


class _Turn(Generic[S]):
    """A server's next turn: it may begin at `start` and should come before `end`."""

    __slots__ = ("end", "number", "server", "start", "weight")

    def __init__(self, server: S, start: float, number: int) -> None:
        self.server = server
        self.weight = server.weight
        self.start = start
        self.end = start + 1 / server.weight
        self.number = number


class RoundRobin(Generic[S]):
    """By turns, by weight, and smooth: no server is ever a whole request ahead or behind.

    Time runs so that a server of weight w is owed w requests per unit; each request is
    a turn with its earliest begin and its end, and of the turns that may begin the one
    that ends first is next. That is the worst-case fair queueing of J. Bennett and
    H. Zhang (WF2Q, 1996) for requests of one size, and what Tijdeman proved of the
    chairman assignment problem (1980). The smooth round robin of nginx gives much the
    same order, but looks at every server each time.
    """

    _REBASE = 4096.0  # units of time, after which floats would lose the finest weights
    _SLACK = 1e-9  # of time: far above rounding, far below the finest turn

    def __init__(self, servers: Iterable[S] = ()) -> None:
        self._turns: dict[S, _Turn[S]] = {}
        self._open: list[tuple[float, int, _Turn[S]]] = []
        self._later: list[tuple[float, int, _Turn[S]]] = []
        self._now = 0.0
        self._total = 0.0
        self._numbers = itertools.count()
        for server in servers:
            self.add(server)

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[S]:
        return iter(self._turns)

    def __repr__(self) -> str:
        return f"<RoundRobin of {len(self._turns)}>"

    def add(self, server: S) -> None:
        self._total += server.weight
        start = self._now - server.debt / server.weight
        turn = self._turns[server] = _Turn(server, start, next(self._numbers))
        self._queue(turn)

    def remove(self, server: S) -> None:
        turn = self._turns.pop(server)
        server.debt = max(-1.0, min(1.0, (self._now - turn.start) * turn.weight))
        self._total = self._total - turn.weight if self._turns else 0.0
        turn.number = -1  # what is queued of it is void

    def reweigh(self, server: S) -> None:
        self.remove(server)
        self.add(server)

    def pick(self, key: bytes | None = None) -> S:
        del key
        turn = self._next()
        turn.start = turn.end
        turn.end += 1 / turn.weight
        self._now += 1 / self._total
        self._queue(turn)
        if self._now > self._REBASE:
            self._rebase()
        return turn.server

    def _queue(self, turn: _Turn[S]) -> None:
        if turn.start <= self._now + self._SLACK:
            heapq.heappush(self._open, (turn.end, turn.number, turn))
        else:
            heapq.heappush(self._later, (turn.start, turn.number, turn))

    def _next(self) -> _Turn[S]:
        later, open_ = self._later, self._open
        while True:
            limit = self._now + self._SLACK
            while later and later[0][0] <= limit:
                _, number, turn = heapq.heappop(later)
                if number == turn.number:
                    heapq.heappush(open_, (turn.end, number, turn))
            while open_:
                _, number, turn = heapq.heappop(open_)
                if number == turn.number:
                    return turn
            self._now = later[0][0]  # only after a change: nobody is owed anything

    def _rebase(self) -> None:
        """Set the time back to 0, before floats cannot tell turns apart."""
        base, self._now = self._now, 0.0
        self._open, self._later = [], []
        for turn in self._turns.values():
            turn.start -= base
            turn.end -= base
            self._queue(turn)


class Random(Generic[S]):
    """Choose by chance; a server's chance is its weight's share."""

    def __init__(self, draw: Draw, servers: Iterable[S] = ()) -> None:
        self._draw = draw
        self._servers = dict.fromkeys(servers)
        self._list: list[S] = []
        self._ends: list[float] | None = None
        self._stale = True

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[S]:
        return iter(self._servers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._servers)}>"

    def add(self, server: S) -> None:
        self._servers[server] = None
        self._stale = True

    def remove(self, server: S) -> None:
        del self._servers[server]
        self._stale = True

    def reweigh(self, server: S) -> None:
        del server
        self._stale = True

    def pick(self, key: bytes | None = None) -> S:
        del key
        if self._stale:
            self._lay_out()
        return self._draw_server()

    def _draw_server(self) -> S:
        ends = self._ends
        if ends is None:
            return self._list[int(self._draw() * len(self._list))]
        number = bisect(ends, self._draw() * ends[-1])
        return self._list[min(number, len(ends) - 1)]  # rounding may go one too far

    def _lay_out(self) -> None:
        self._list = list(self._servers)
        weights = [server.weight for server in self._list]
        even = min(weights) == max(weights)
        self._ends = None if even else list(itertools.accumulate(weights))
        self._stale = False


class LeastRequests(Random[S]):
    """The less busy one, for its weight, of two drawn by chance.

    The power of two choices: M. Mitzenmacher, "The power of two choices in randomized
    load balancing", 2001. Looking at all would send everyone to the same server
    between two looks.
    """

    def pick(self, key: bytes | None = None) -> S:
        del key
        if self._stale:
            self._lay_out()
        first = self._draw_server()
        second = self._draw_server()
        if first is second:
            second = self._draw_server()
        less = second.in_flight * first.weight < first.in_flight * second.weight
        return second if less else first
