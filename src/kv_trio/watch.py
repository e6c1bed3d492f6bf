"""Watchers: blocking queries that wait for a change.

A watcher is a parked exchange, filed under the key or the prefix that it reads. A
change wakes just those whom it concerns, and renders each distinct answer once.

The rule that it obeys: reading the state and filing the watcher are one synchronous
step, so no change can fall between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from http_trio import Answer, Exchange
from kv_trio.access import Access
from kv_trio.core import Store
from kv_trio.interest import Interest
from kv_trio.query import Read
from kv_trio.render import answer_read

_DENIED = Answer(403, b"Permission denied")


@attrs.frozen(eq=False, slots=True)
class Watcher:
    """One who waits."""

    exchange: Exchange
    read: Read
    access: Access


class Watchers:
    """Those who wait for keys, and those who wait for sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: Interest[Watcher] = Interest()
        self._for_sessions: dict[Exchange, Callable[[Exchange], None]] = {}

    def __repr__(self) -> str:
        return f"<Watchers {len(self)}>"

    def __len__(self) -> int:
        return len(self._waiting) + len(self._for_sessions)

    def park(
        self, exchange: Exchange, read: Read, access: Access, wait_s: float
    ) -> None:
        """Answer the exchange at the next change of what it reads, or in wait_s."""
        watcher = Watcher(exchange, read, access)
        self._waiting.add(watcher, read.key, prefix=read.is_prefix)
        exchange.park(
            wait_s,
            lambda _: self._time_is_up(watcher),
            lambda _: self._forget(watcher),
        )

    def park_for_sessions(
        self, exchange: Exchange, answer: Callable[[Exchange], None], wait_s: float
    ) -> None:
        """Call `answer(exchange)` at the next change of a session, or in wait_s."""
        self._for_sessions[exchange] = answer

        def due(exchange: Exchange) -> None:
            forget(exchange)
            answer(exchange)

        def forget(exchange: Exchange) -> None:
            self._for_sessions.pop(exchange, None)

        exchange.park(wait_s, due, forget)

    def wake(self, changed: Iterable[bytes]) -> int:
        """Answer those whom the changed keys concern; give how many that were."""
        concerned: dict[Watcher, None] = {}
        for key in changed:
            concerned.update(dict.fromkeys(self._waiting.concerned(key)))
        rendered: dict[tuple[Read, Access], Answer] = {}
        for watcher in concerned:
            self._forget(watcher)
            sort = (watcher.read, watcher.access)
            answer = rendered.get(sort)
            if answer is None:
                answer = rendered[sort] = answer_read(self._store, *sort)
            watcher.exchange.respond(answer)
        return len(concerned)

    def wake_for_sessions(self) -> None:
        """Answer those who wait for a change of the sessions."""
        waiting, self._for_sessions = self._for_sessions, {}
        for exchange, answer in waiting.items():
            answer(exchange)

    def revoke(self, holds: Callable[[Access], bool]) -> None:
        """Refuse those whose rights do not hold any more."""
        for watcher in list(self._waiting):
            if not holds(watcher.access):
                self._forget(watcher)
                watcher.exchange.respond(_DENIED)

    def _time_is_up(self, watcher: Watcher) -> None:
        self._forget(watcher)
        answer = answer_read(self._store, watcher.read, watcher.access)
        watcher.exchange.respond(answer)

    def _forget(self, watcher: Watcher) -> None:
        read = watcher.read
        self._waiting.discard(watcher, read.key, prefix=read.is_prefix)


def must_wait(store: Store, index: int, current: int) -> bool:
    """Tell whether a query from `index` waits, when what it reads is at `current`.

    An index that this store never gave is answered at once. Consul lets such a query
    wait, so a store that was reset hides every change from its clients for minutes.
    """
    return current <= index <= store.index
