"""Which server of an arm serves a request: one small function per policy. Pure.

`round_robin` is the smooth weighted round robin of nginx: the weights' proportion is
kept over any stretch, and no server is served in bursts. `least_requests` is the
power of two choices (M. Mitzenmacher, 2001): of two servers drawn by their weights,
the one with fewer requests in flight per weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Weighted(Protocol):
    """A server as the policies see it; it outlives configurations."""

    weight: int
    in_flight: int
    turn: int
    """What smooth round robin owes it."""


S = TypeVar("S", bound=Weighted)


def round_robin(servers: Sequence[S]) -> S:
    """Give the server whose turn it is."""
    total = 0
    best = servers[0]
    for server in servers:
        total += server.weight
        server.turn += server.weight
        if server.turn > best.turn:
            best = server
    best.turn -= total
    return best


def random_choice(servers: Sequence[S], draw: Callable[[], float]) -> S:
    """Give a server by chance, by weight; draw() is uniform in [0, 1)."""
    at = draw() * sum(server.weight for server in servers)
    for server in servers:
        at -= server.weight
        if at < 0:
            return server
    return servers[-1]


def least_requests(servers: Sequence[S], draw: Callable[[], float]) -> S:
    """Give the less busy one of two servers drawn by chance."""
    one, other = random_choice(servers, draw), random_choice(servers, draw)
    less = other.in_flight * one.weight < one.in_flight * other.weight
    return other if less else one
