"""Blocking queries (long polls): requests that wait for a change.

One that waits is a parked exchange. Those that read the same, with the same rights, are
a group, filed under the key or the prefix that it reads. A change looks up just the
groups that it concerns, and renders one response for each. One of a prefix may wait for
changes of several keys (`?changes=N`): its group counts them, and is answered by the last.

The rule that it obeys: reading the state and joining the group are one synchronous
step, so no change can fall between them. One file, since who waits, for what, and what ends
it are one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from http_trio import Exchange, Response, respond_all
from kv_trio.consul.parameters import MOST_CHANGES, Read
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.store import Store
from kv_trio.watch.client_counts import ClientCounts
from kv_trio.watch.key_index import KeyIndex
from kv_trio.watch.large_responses import LargeResponses
from kv_trio.watch.response_cache import ResponseCache


@attrs.frozen
class Gathering:
    """How many keys must change until a query is answered, and since when.

    Attributes:
        changes: so many, with those that have.
        after: the number of the change since which they count; 0 where any one is enough.
        changed: those that have.
    """

    changes: int = 1
    after: int = 0
    changed: set[bytes] = attrs.field(factory=set, eq=False)

    def note(self, key: bytes) -> None:
        """Take that a key changed."""
        if self.changes > 1:
            self.changed.add(key)

    @property
    def is_over(self) -> bool:
        """Tell, after a change, whether that was the last one that was waited for."""
        return self.changes <= max(1, len(self.changed))


ANY = Gathering()


@attrs.define(eq=False)
class _Group:
    """The exchanges that wait for the same response."""

    read: Read
    acl: Acl
    queries: BlockingQueries
    gathering: Gathering
    waiting: dict[Exchange, None] = attrs.field(factory=dict)

    def due(self, exchange: Exchange) -> None:
        """Answer an exchange whose time is up."""
        self.leave(exchange)
        self.queries.respond(exchange, self.read, self.acl)

    def leave(self, exchange: Exchange) -> None:
        """Forget an exchange; the last one ends the group."""
        if exchange in self.waiting:
            del self.waiting[exchange]
            self.queries.counts.discard([exchange.client])
            if not self.waiting:
                self.queries.disband(self)

    def respond(self, response: Response | None) -> int:
        """Answer all exchanges, end the group, and give how many they were.

        Args:
            response: None for one to each, in pieces.
        """
        queries = self.queries
        queries.disband(self)
        waiting, self.waiting = self.waiting, {}
        queries.counts.discard([exchange.client for exchange in waiting])
        if response is not None:
            respond_all(waiting, response)
        else:
            for exchange in waiting:
                exchange.unpark()
                queries.large.respond(exchange, self.read, self.acl)
        return len(waiting)


class BlockingQueries:
    """The requests that wait for keys, and those that wait for sessions.

    Attributes:
        large: sends responses that are too large to be rendered at once.
        responses: where all others are rendered.
        counts: how many of each client wait, event streams included.
    """

    def __init__(self, store: Store, limits: StoreLimits) -> None:
        self.large = LargeResponses(store, limits)
        self.responses = ResponseCache(store, self.large.takes)
        self.counts = ClientCounts(limits.watchers_per_client)
        self._groups: dict[tuple[Read, Acl, Gathering], _Group] = {}
        self._index: KeyIndex[_Group] = KeyIndex()
        self._for_sessions: dict[Exchange, tuple[Callable[[Exchange], None], Acl]] = {}

    def __repr__(self) -> str:
        return f"<BlockingQueries {len(self)}>"

    def __len__(self) -> int:
        waiting = sum(len(group.waiting) for group in self._groups.values())
        return waiting + len(self._for_sessions)

    def respond(self, exchange: Exchange, read: Read, acl: Acl) -> None:
        """Answer the exchange with what it reads, as it is now."""
        response = self.responses.find(read, acl)
        if response is None:
            self.large.respond(exchange, read, acl)
        else:
            exchange.respond(response)

    def park(
        self,
        exchange: Exchange,
        read: Read,
        acl: Acl,
        wait_s: float,
        gathering: Gathering = ANY,
    ) -> None:
        """Answer the exchange at the next change of what it reads, or in wait_s.

        Args:
            exchange: that waits.
            read: what it reads.
            acl: its rights.
            wait_s: for how long.
            gathering: of how many keys it waits for a change, as far as they have.

        Raises:
            BadQuery: too many of its client wait.
        """
        self.counts.add(exchange.client)
        group_key = (read, acl, gathering)
        group = self._groups.get(group_key)
        if group is None:
            group = self._groups[group_key] = _Group(read, acl, self, gathering)
            self._index.add(group, read.key, prefix=read.is_prefix)
        group.waiting[exchange] = None
        exchange.park(wait_s, group.due, group.leave)

    def park_for_sessions(
        self,
        exchange: Exchange,
        respond: Callable[[Exchange], None],
        acl: Acl,
        wait_s: float,
    ) -> None:
        """Call `respond(exchange)` at the next change of a session, or in wait_s.

        Raises:
            BadQuery: too many of its client wait.
        """
        self.counts.add(exchange.client)
        self._for_sessions[exchange] = respond, acl

        def due(exchange: Exchange) -> None:
            forget(exchange)
            respond(exchange)

        def forget(exchange: Exchange) -> None:
            if self._for_sessions.pop(exchange, None) is not None:
                self.counts.discard([exchange.client])

        exchange.park(wait_s, due, forget)

    def wake(self, changed: Iterable[bytes]) -> int:
        """Answer the requests that the changed keys concern; give how many they were."""
        groups: dict[_Group, None] = {}
        for key in changed:
            for group in self._index.matching(key):
                groups[group] = None
                if group.gathering is not ANY and group.acl.may_read(key):
                    group.gathering.note(key)
        woken = 0
        for group in groups:
            if group.gathering.is_over:
                response = self.responses.find(group.read, group.acl)
                woken += group.respond(response)
        return woken

    def wake_for_sessions(self) -> None:
        """Answer the requests that wait for a change of the sessions."""
        waiting, self._for_sessions = self._for_sessions, {}
        self.counts.discard([exchange.client for exchange in waiting])
        for exchange, (respond, _) in waiting.items():
            exchange.unpark()
            exchange.decide(respond, exchange)

    def revoke(self, holds: Callable[[Acl], bool]) -> None:
        """Refuse the requests whose rights do not hold any more."""
        denied = Response(403, b"Permission denied")
        for group in list(self._groups.values()):
            if not holds(group.acl):
                group.respond(denied)
        for exchange, (_, acl) in list(self._for_sessions.items()):
            if not holds(acl):
                del self._for_sessions[exchange]
                self.counts.discard([exchange.client])
                exchange.respond(denied)

    def disband(self, group: _Group) -> None:
        """End a group: nobody joins it any more."""
        del self._groups[group.read, group.acl, group.gathering]
        read = group.read
        self._index.discard(group, read.key, prefix=read.is_prefix)


def gather(
    store: Store, read: Read, acl: Acl, index: int, changes: int
) -> Gathering | None:
    """Tell for what a query of a prefix waits that asks for changes of several keys.

    Returns:
        None where it does not wait: so many have changed, or nobody can tell.
    """
    prefixes = acl.readable_under(read.key)
    if index > store.index or sum(map(store.count_under, prefixes)) > MOST_CHANGES:
        return None
    changed: set[bytes] = set()
    for prefix in prefixes:
        found = store.changed_under(prefix, index)
        if found is None:
            return None
        changed.update(found)
    if len(changed) >= changes:
        return None
    return Gathering(changes, index, changed)


def must_wait(store: Store, index: int, current: int) -> bool:
    """Tell whether a query from `index` waits, when what it reads is at `current`.

    An index that this store never gave is answered at once. Consul lets such a query
    wait, so a store that was reset hides every change from its clients for minutes.
    """
    return current <= index <= store.index
