"""Requests that wait for a change of any of many keys.

A proxy of a thousand services follows two thousand keys. One request names them all, and
is answered when one of them changes, with what has changed since the index that it gives.
Those that name the same keys, with the same index and rights, are a group: they are filed
once under each key, and answered with one response that is rendered once.

The rule of `blocking_queries` holds here, too: reading the state and joining the group are
one synchronous step, so no change can fall between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from http_trio import Exchange, Response, respond_all
from kv_trio.consul.encode import (
    JSON,
    describe_delete,
    dump_json,
    index_headers,
    write_entry,
)
from kv_trio.consul.listing import LargeListing, size_of
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Entry, Revision
from kv_trio.state.store import Store
from kv_trio.watch.client_counts import ClientCounts
from kv_trio.watch.key_index import KeyIndex
from kv_trio.watch.large_responses import LargeResponses


@attrs.frozen(eq=False)
class KeySet:
    """Keys that one request names; two are the same if they are one object."""

    keys: tuple[bytes, ...]


@attrs.define(eq=False)
class _SetGroup:
    """The exchanges that wait for the same keys since the same index."""

    keys: tuple[bytes, ...]
    identity: tuple[KeySet, int, Acl]
    sets: KeySets
    waiting: dict[Exchange, None] = attrs.field(factory=dict)

    def due(self, exchange: Exchange) -> None:
        """Answer an exchange whose time is up."""
        self.leave(exchange)
        self.sets.respond(exchange, *self.identity)

    def leave(self, exchange: Exchange) -> None:
        """Forget an exchange; the last one ends the group."""
        if exchange in self.waiting:
            del self.waiting[exchange]
            self.sets.counts.discard([exchange.client])
            if not self.waiting:
                self.sets.disband(self)


class KeySets:
    """The requests that wait for sets of keys.

    Attributes:
        counts: how many requests of each client wait.
        watched: keys that are waited for, those of each group counted.
    """

    def __init__(
        self,
        store: Store,
        large: LargeResponses,
        counts: ClientCounts,
        limits: StoreLimits,
    ) -> None:
        self.counts = counts
        self.watched = 0
        self._store = store
        self._large = large
        self._limits = limits
        self._groups: dict[tuple[KeySet, int, Acl], _SetGroup] = {}
        self._index: KeyIndex[_SetGroup] = KeyIndex()

    def __repr__(self) -> str:
        return f"<KeySets {self.waiting} wait for {self.watched} keys>"

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(len(group.waiting) for group in self._groups.values())

    def must_wait(self, named: KeySet, index: int, acl: Acl) -> bool:
        """Tell whether a request waits; one from a time that never was does not."""
        index_of, store = self._store.index_of, self._store
        if not 0 < index <= store.index:
            return False
        return all(index_of(key) <= index for key in named.keys if acl.may_read(key))

    def respond(self, exchange: Exchange, named: KeySet, index: int, acl: Acl) -> None:
        """Answer with what has changed since an index; with 0, with all that is there."""
        listing = self._changes(named, index, acl)
        if listing.is_small:
            exchange.respond(_rendered(listing))
        else:
            self._large.send(exchange, lambda: self._changes(named, index, acl))

    def park(
        self, exchange: Exchange, named: KeySet, index: int, acl: Acl, wait_s: float
    ) -> None:
        """Answer the exchange at the next change of one of its keys, or in wait_s.

        Raises:
            BadQuery: too many of its client wait, or too many keys are waited for.
        """
        identity = (named, index, acl)
        group = self._groups.get(identity)
        if group is None:
            keys = tuple(key for key in named.keys if acl.may_read(key))
            if self.watched + len(keys) > self._limits.watched_keys_in_all:
                raise BadQuery(
                    429,
                    f"{self.watched} keys are waited for already; follow fewer, or raise"
                    " the store's limit: --limit watched_keys_in_all=NUMBER",
                )
            self.counts.add(exchange.client)
            group = self._groups[identity] = _SetGroup(keys, identity, self)
            self.watched += len(keys)
            for key in keys:
                self._index.add(group, key, prefix=False)
        else:
            self.counts.add(exchange.client)
        group.waiting[exchange] = None
        exchange.park(wait_s, group.due, group.leave)

    def wake(self, changed: Iterable[bytes]) -> int:
        """Answer the requests that the changed keys concern; give how many they were."""
        groups = {group: None for key in changed for group in self._index.matching(key)}
        return sum(map(self._answer, groups))

    def revoke(self, holds: Callable[[Acl], bool]) -> None:
        """Refuse the requests whose rights do not hold any more."""
        denied = Response(403, b"Permission denied")
        for group in list(self._groups.values()):
            if not holds(group.identity[2]):
                respond_all(self._end(group), denied)

    def disband(self, group: _SetGroup) -> None:
        """End a group: nobody joins it any more."""
        del self._groups[group.identity]
        self.watched -= len(group.keys)
        for key in group.keys:
            self._index.discard(group, key, prefix=False)

    # === private ===

    def _answer(self, group: _SetGroup) -> int:
        waiting = self._end(group)
        listing = self._changes(*group.identity)
        if listing.is_small:
            respond_all(waiting, _rendered(listing))
        else:
            for exchange in waiting:
                exchange.unpark()
                self.respond(exchange, *group.identity)
        return len(waiting)

    def _end(self, group: _SetGroup) -> dict[Exchange, None]:
        self.disband(group)
        waiting, group.waiting = group.waiting, {}
        self.counts.discard([exchange.client for exchange in waiting])
        return waiting

    def _changes(self, named: KeySet, index: int, acl: Acl) -> LargeListing:
        store = self._store
        if index > store.index:
            index = 0  # of another store, or of this one before it was reset
        rows: list[Entry | Revision] = []
        for key in named.keys:
            if not acl.may_read(key):
                continue
            entry = store.get(key)
            if entry is not None:
                if entry.modify_index > index:
                    rows.append(entry)
            elif index and store.index_of(key) > index:
                rows.append(Revision(key, store.index_of(key), None, 0))
        return LargeListing(rows, _write, _size_of, index_headers(max(1, store.index)))


def _write(row: Entry | Revision) -> bytes:
    if isinstance(row, Entry):
        return write_entry(row)
    return dump_json(describe_delete(row) | {"Deleted": True})


def _size_of(row: Entry | Revision) -> int:
    return size_of(row) if isinstance(row, Entry) else len(row.key)


def _rendered(listing: LargeListing) -> Response:
    body = b"[%b]" % b",".join(map(_write, listing.items))
    return Response(200, body, JSON, listing.headers)
