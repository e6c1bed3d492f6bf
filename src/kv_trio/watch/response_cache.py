"""The response cache: the response to each read of the present is rendered once.

A response holds as long as the store's index and the second of its Date do. Those beyond
`_KEPT_BYTES` are rendered anew each time, so the cache has at most `_KEPT` times that.
What is too large to be written at once has no response here: see `large_responses`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from http_trio.http1.response import Response
from kv_trio.consul.encode import render_read
from kv_trio.consul.parameters import Read
from kv_trio.state.acl import Acl
from kv_trio.state.store import Store

_KEPT = 1024
_KEPT_BYTES = 8 * 1024


class ResponseCache:
    """The responses of a store to reads, each kept while it holds."""

    def __init__(
        self,
        store: Store,
        is_large: Callable[[Read, Acl], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Answer from a store.

        Args:
            store: what is read.
            is_large: tells whether what a prefix gives is too large.
            clock: gives seconds of Unix time.
        """
        self._store = store
        self._is_large = is_large
        self._clock = clock
        self._kept: dict[tuple[Read, Acl], Response] = {}
        self._index = 0
        self._second = 0

    def __repr__(self) -> str:
        return f"<ResponseCache {len(self._kept)} kept>"

    def find(self, read: Read, acl: Acl) -> Response | None:
        """Give what is read, as it is now, and as far as it may be seen; None if large."""
        index, second = self._store.index, int(self._clock())
        if index != self._index or second != self._second:
            self._kept.clear()
            self._index, self._second = index, second
        response = self._kept.get((read, acl))
        if response is None:
            if read.is_prefix and self._is_large(read, acl):
                return None
            response = render_read(self._store, read, acl)
            if len(response.body) <= _KEPT_BYTES and len(self._kept) < _KEPT:
                self._kept[read, acl] = response
        return response
