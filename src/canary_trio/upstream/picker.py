"""Of an arm's usable servers, the one that serves a request. Pure.

A `Picker` is told which servers are usable, and when one is full; it holds the others in
the arm's policy. Users that are sticky to servers have a layout of their own, in which
draining and full servers stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from canary_trio.config.model import Balance
from canary_trio.upstream.balancers import (
    Draw,
    LeastRequests,
    Policy,
    Random,
    RoundRobin,
)
from canary_trio.upstream.consistent_hash import ConsistentHash
from canary_trio.upstream.server import ServerState

Layout = ConsistentHash[ServerState]


class Picker:
    """Chooses among the servers of one arm.

    Attributes:
        usable: those that may serve new users now.
        sticky: those that users may be sticky to; None if users are not.
    """

    def __init__(self, draw: Draw) -> None:
        self.usable: dict[ServerState, None] = {}
        self.sticky: Layout | None = None
        self._draw = draw
        self._open: Policy[ServerState] = Random(draw)
        self._only: ServerState | None = None

    def __repr__(self) -> str:
        return f"<Picker of {len(self._open)} of {len(self.usable)} by {self._open!r}>"

    def pick(self, key: bytes | None = None) -> ServerState | None:
        """Choose a server for a request; None if none is usable.

        What is chosen is full only if all usable ones are, or if the user is sticky
        to it: then the request may wait there.

        Args:
            key: of the user, or of the request, if it has one.
        """
        if key is not None and self.sticky:
            return self.sticky.pick(key)
        if self._only is not None:
            return self._only
        if self._open:
            return self._open.pick(key)
        return self._any_of(self.usable)

    def pick_other(
        self, tried: Collection[ServerState], key: bytes | None = None
    ) -> ServerState | None:
        """Choose a server for another try of a request; None if there is no other.

        A healthy one first, should the arm be in a panic. It looks at all servers:
        tries are few.
        """
        others = [server for server in self._open if server not in tried]
        if not others:
            return None
        healthy = [server for server in others if server.healthy] or others
        if key is not None and isinstance(self._open, ConsistentHash):
            avoided = {*tried, *(set(others) - set(healthy))}
            chosen: ServerState = self._open.pick(key, avoided)
            return chosen
        return self._any_of(healthy)

    @property
    def open(self) -> Collection[ServerState]:
        """The servers that are usable and not full."""
        return tuple(self._open)

    @property
    def is_hashed(self) -> bool:
        """Whether servers are chosen by a key."""
        return isinstance(self._open, ConsistentHash)

    # === what changes ===

    def add(self, server: ServerState) -> None:
        """Take that a server is usable."""
        self.usable[server] = None
        if not server.full:
            self._open.add(server)
            self._look_for_only()

    def remove(self, server: ServerState) -> None:
        """Take that a server is usable no more."""
        del self.usable[server]
        if not server.full:
            self._open.remove(server)
            self._look_for_only()

    def filled(self, server: ServerState) -> None:
        """Take that a server has become full."""
        if server in self.usable:
            self._open.remove(server)
            self._look_for_only()

    def freed(self, server: ServerState) -> None:
        """Take that a server is full no more."""
        if server in self.usable:
            self._open.add(server)
            self._look_for_only()

    def reweigh(self, server: ServerState) -> None:
        """Take that a server's weight is another one."""
        if server in self.usable and not server.full:
            self._open.reweigh(server)
        if self.sticky is not None:
            self.sticky.reweigh(server)

    def choose_by(self, balance: Balance) -> None:
        """Choose by a policy from now on."""
        self._replace_policy(_POLICIES[balance])

    def suspend_policy(self) -> None:
        """Hold the servers in a way that is cheap to change, until `choose_by_layout`."""
        self._replace_policy(_POLICIES[Balance.RANDOM])

    def choose_by_layout(self, layout: Layout) -> None:
        """Choose by a key and this layout from now on."""
        self._replace_policy(lambda _, servers: follow(layout, servers))

    def lay_out(self, servers: Collection[ServerState]) -> Layout:
        """Lay servers out for hashing."""
        return ConsistentHash(self._draw, servers)

    # === private ===

    def _replace_policy(self, make: _MakePolicy) -> None:
        before = list(self._open)
        if isinstance(self._open, RoundRobin):
            for server in before:
                self._open.remove(server)  # it leaves what it owes with the server
        self._open = make(self._draw, before)

    def _any_of(self, servers: Collection[ServerState]) -> ServerState | None:
        """Give the least busy of them for its weight, by chance if there are several."""
        if not servers:
            return None
        return min(
            servers, key=lambda server: (server.in_flight / server.weight, self._draw())
        )

    def _look_for_only(self) -> None:
        self._only = next(iter(self._open)) if len(self._open) == 1 else None


def follow(layout: Layout, servers: Sequence[ServerState]) -> Layout:
    """Bring a layout to hold just these servers, with the weights of now."""
    wanted = dict.fromkeys(servers)
    for server in [other for other in layout if other not in wanted]:
        layout.remove(server)
    present = set(layout)
    for server in wanted:
        if server in present:
            layout.reweigh(server)
        else:
            layout.add(server)
    return layout


_MakePolicy = Callable[[Draw, Sequence[ServerState]], Policy[ServerState]]
_POLICIES: dict[Balance, _MakePolicy] = {
    Balance.ROUND_ROBIN: lambda _, servers: RoundRobin(servers),
    Balance.RANDOM: Random,
    Balance.LEAST_REQUESTS: LeastRequests,
    Balance.HASH: ConsistentHash,
}
