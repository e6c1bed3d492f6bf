"""Consistent hashing: a key keeps its server when others come, go or change weight. Pure.

Each server has a few fixed points on a circle, computed from its name. A key is hashed
to a few probes; the server is the one that has the point nearest behind a probe, all
distances divided by the servers' weights. That is multi-probe consistent hashing
(B. Appleton and M. O'Reilly, 2015) with the weighted distances of C. Schindelhauer and
G. Schomaker ("Weighted distributed hash tables", 2005).

So a server that comes takes keys from all others, for itself only; when it goes, only
its own keys move, to where they would be had it never been there; more weight only ever
draws keys to it. Every proxy agrees, whatever it has lived through. With 8
points and 8 probes a server's share differs from its weight's by 9 % (sigma; 1 over the
root of 8 * 15). A ring with one probe needs 120 points for that; so a thousand servers are
laid out in a few milliseconds. Rendezvous hashing needs no layout, but would look at all
thousand for each request.
"""

from __future__ import annotations

import functools
import math
import struct
from bisect import bisect, bisect_left
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from canary_trio.upstream.balancers import Draw, Weighted

_EIGHT = struct.Struct("<8Q")  # one digest: the points of a server, the probes of a key
_WHOLE = 2.0**-64


class Named(Weighted, Protocol):
    """A server with the name by which every proxy knows it."""

    @property
    def name(self) -> str:
        """The name, such as its URL."""


S = TypeVar("S", bound=Named)


@functools.lru_cache(maxsize=8192)
def points_of(name: str) -> tuple[float, ...]:
    """Give a server's places on the circle, in [0, 1)."""
    digest = blake2b(name.encode(), person=b"point").digest()
    return tuple(map(_WHOLE.__mul__, _EIGHT.unpack(digest)))


class ConsistentHash(Generic[S]):
    """Choose by a key; a request without one goes by chance."""

    def __init__(self, draw: Draw, servers: Iterable[S] = ()) -> None:
        self._draw = draw
        self._servers = dict.fromkeys(servers)
        self._owners = {
            point: server
            for server in self._servers
            for point in points_of(server.name)
        }
        self._points = sorted(self._owners)
        # It only ever grows: one that is too large costs a longer look, nothing else.
        self._heaviest = max((server.weight for server in self._servers), default=0.0)

    def copy(self) -> ConsistentHash[S]:
        """Give another one of the same servers."""
        made: ConsistentHash[S] = ConsistentHash(self._draw)
        made._servers = self._servers.copy()
        made._owners = self._owners.copy()
        made._points = self._points.copy()
        made._heaviest = self._heaviest
        return made

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[S]:
        return iter(self._servers)

    def __repr__(self) -> str:
        return f"<Hash of {len(self._servers)}>"

    def add(self, server: S) -> None:
        self._servers[server] = None
        for point in points_of(server.name):
            number = bisect_left(self._points, point)
            if self._owners.setdefault(point, server) is server:
                self._points.insert(number, point)
        self._heaviest = max(self._heaviest, server.weight)

    def remove(self, server: S) -> None:
        del self._servers[server]
        for point in points_of(server.name):
            if self._owners.get(point) is server:
                del self._owners[point]
                del self._points[bisect_left(self._points, point)]

    def reweigh(self, server: S) -> None:
        self._heaviest = max(self._heaviest, server.weight)

    def pick(self, key: bytes | None = None, tried: Collection[S] = ()) -> S:
        """Choose the key's server, or the next one that was not tried yet."""
        points, owners, heaviest = self._points, self._owners, self._heaviest
        if key is None:
            key = struct.pack("d", self._draw())
        count = len(points)
        best: S | None = None
        least = math.inf
        for raw in _EIGHT.unpack(blake2b(key, person=b"server").digest()):
            probe = raw * _WHOLE
            number = bisect(points, probe)
            reach = least * heaviest  # farther away not even the heaviest would win
            for _ in range(count):
                if number == count:
                    number, probe = 0, probe - 1
                point = points[number]
                distance = point - probe
                if distance >= reach:
                    break
                server = owners[point]
                if distance < least * server.weight and server not in tried:
                    best, least = server, distance / server.weight
                    reach = least * heaviest
                number += 1
        assert best is not None, "there is a server that was not tried"
        return best
