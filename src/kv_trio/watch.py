"""Watchers: blocking queries that wait for a change.

A watcher is a parked exchange, filed under the key or the prefix that it reads. A
change looks up the watchers of its key and of those of its prefixes that anybody
watches, wakes just these, and renders each distinct answer once.

The rule that it obeys: reading the state and filing the watcher are one synchronous
step, so no change can fall between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from http_trio import Answer, Exchange
from kv_trio.core import Store
from kv_trio.query import Read
from kv_trio.render import answer_read


class Watchers:
    """Those who wait, by what they wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of_key: dict[bytes, dict[Exchange, Read]] = {}
        self._of_prefix: dict[bytes, dict[Exchange, Read]] = {}
        self._lengths: Counter[int] = Counter()  # of the prefixes that are watched

    def __repr__(self) -> str:
        return f"<Watchers {len(self)}>"

    def __len__(self) -> int:
        groups = (*self._of_key.values(), *self._of_prefix.values())
        return sum(map(len, groups))

    def park(self, exchange: Exchange, read: Read, wait_s: float) -> None:
        """Answer the exchange at the next change of what it reads, or in wait_s."""
        groups = self._of_prefix if read.is_prefix else self._of_key
        group = groups.get(read.key)
        if group is None:
            group = groups[read.key] = {}
            if read.is_prefix:
                self._lengths[len(read.key)] += 1
        group[exchange] = read
        exchange.park(
            wait_s,
            lambda ex: self._time_is_up(ex, read),
            lambda ex: self._forget(ex, read),
        )

    def wake(self, changed: Iterable[bytes]) -> int:
        """Answer those whom the changed keys concern; give how many that were."""
        concerned: dict[Exchange, Read] = {}
        for key in changed:
            concerned.update(self._of_key.get(key, {}))
            for length in self._lengths:
                if length <= len(key):
                    concerned.update(self._of_prefix.get(key[:length], {}))
        rendered: dict[Read, Answer] = {}
        for exchange, read in concerned.items():
            self._forget(exchange, read)
            answer = rendered.get(read)
            if answer is None:
                answer = rendered[read] = answer_read(self._store, read)
            exchange.respond(answer)
        return len(concerned)

    def _time_is_up(self, exchange: Exchange, read: Read) -> None:
        self._forget(exchange, read)
        exchange.respond(answer_read(self._store, read))

    def _forget(self, exchange: Exchange, read: Read) -> None:
        groups = self._of_prefix if read.is_prefix else self._of_key
        group = groups.get(read.key)
        if group is None or group.pop(exchange, None) is None or group:
            return
        del groups[read.key]
        if read.is_prefix:
            self._lengths[len(read.key)] -= 1
            self._lengths += Counter()  # drops what came to zero


def must_wait(store: Store, index: int, current: int) -> bool:
    """Tell whether a query from `index` waits, when what it reads is at `current`.

    An index that this store never gave is answered at once. Consul lets such a query
    wait, so a store that was reset hides every change from its clients for minutes.
    """
    return current <= index <= store.index
