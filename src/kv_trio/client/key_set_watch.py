"""Following many keys at once: one poll, which a change of any of them ends.

A kv-trio waits for a set of keys itself (`POST /v1/watch`), and gives what has changed. A
Consul does not; there one poll of all keys with the prefix that they share does the same,
at the cost of reading all that lies below it at each change. Which of the two a store can
do is found out by asking it.

As a watch of one key does, it survives what happens to servers (`watch`), it may skip
states that were soon replaced, never skips the last one, and never gives one twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Self

import attrs
import trio

from kv_trio.client.client import GRACE_S, WAIT_S, Client
from kv_trio.client.poll_budget import PollBudget
from kv_trio.client.watch import Backoff, Contact, OwnLoad, wait_turn
from kv_trio.consul.decode import read_changes, read_index
from kv_trio.consul.durations import format_duration
from kv_trio.errors import KvError, StoreRefused
from kv_trio.state.entry import Entry

MOST_KEYS = 16_384
"""Keys of one watch at most."""

_UNKNOWN = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})

_SHOWN = 3  # keys of a message

Changes = Mapping[str, Entry | None]
"""What each key that changed is now; None for one that is absent."""


@attrs.frozen
class _State:
    """What a poll gave.

    Attributes:
        entries: that are there, by key.
        gone: keys that were deleted since; None where all that is not among the
            entries is absent.
    """

    index: int
    entries: Mapping[str, Entry]
    gone: frozenset[str] | None


class KeySetWatch:
    """The states of a set of keys, as they come: an iterator of their changes.

    Attributes:
        contact: how it stands with the server.
        wait_s: seconds that the next poll waits; may be changed at any time.
        reads: polls that were answered.
    """

    def __init__(
        self,
        client: Client,
        keys: Iterable[str] = (),
        *,
        wait_s: float = WAIT_S,
        contact: Contact | None = None,
    ) -> None:
        """Begin with keys, whose present states come first.

        Args:
            client: of the store.
            keys: to follow.
            wait_s: the longest time after which the store is asked again.
            contact: kept up to date.
        """
        self.contact = contact or Contact()
        self.wait_s = wait_s
        self.reads = 0
        self._client = client
        self._known: dict[str, object] = {}  # what was given of each last
        self._index = 0
        self._by_prefix = False
        self._backoff = Backoff()
        self._budget = PollBudget()
        self._load = OwnLoad()
        self._polling: trio.CancelScope | None = None
        self._keys: tuple[str, ...] = ()
        self._body = b""
        self.follow(keys)

    def __repr__(self) -> str:
        return f"<KeySetWatch of {len(self._keys)} keys index={self._index}>"

    def follow(self, keys: Iterable[str]) -> None:
        """Follow these keys from now on; the states of new ones come next.

        Raises:
            ValueError: they are too many.
        """
        found = tuple(sorted(set(keys)))
        if len(found) > MOST_KEYS:
            raise ValueError(f"{len(found)} keys, expected at most {MOST_KEYS}")
        if found == self._keys:
            return
        self._keys = found
        self._body = json.dumps(found, separators=(",", ":")).encode()
        self._known = {key: self._known[key] for key in found if key in self._known}
        self._index = 0
        if self._polling is not None:
            self._polling.cancel()

    def ask_anew(self) -> None:
        """Read at once, as if nothing were known: the store may be another one now."""
        self._index = 0
        if self._polling is not None:
            self._polling.cancel()

    def __aiter__(self) -> Self:
        """Give the watch itself, which is its own iterator."""
        return self

    async def __anext__(self) -> Changes:
        """Wait for changes that were not given yet."""
        while True:
            await wait_turn(self._budget)
            asked, state = self._keys, None
            try:
                with trio.CancelScope() as self._polling:
                    state = await self._poll()
            except KvError as exc:
                self.contact.failed(exc)
                self._index = 0
                await self._backoff.pause()
                continue
            finally:
                self._polling = None
            if state is None or asked is not self._keys:
                continue  # it is to follow others meanwhile
            self.reads += 1
            self.contact.heard()
            self._backoff.reset()
            if state.index < self._index:
                self._index = 0  # the store was reset, or restored: read it anew
                continue
            self._index = max(1, state.index)
            changes = self._take(state)
            if changes:
                self._budget.brought_news(is_busy=self._load.is_busy())
                return changes

    # === private ===

    def _take(self, state: _State) -> Changes:
        changes: dict[str, Entry | None] = {}
        keys = self._keys
        if state.gone is not None:
            keys = tuple(k for k in keys if k in state.entries or k in state.gone)
        for key in keys:
            entry = state.entries.get(key)
            # Its number alone is not enough: a store that was restored gives it twice.
            at = entry and (entry.modify_index, hash(entry.value))
            if self._known.get(key, _UNKNOWN) != at:
                self._known[key] = at
                changes[key] = entry
        return changes

    async def _poll(self) -> _State:
        if not self._by_prefix:
            try:
                return await self._poll_keys()
            except StoreRefused as exc:
                if exc.status == HTTPStatus.FORBIDDEN:
                    raise self._denied() from exc
                if exc.status not in _UNKNOWN:
                    raise
                self._by_prefix, self._index = True, 0
        prefix = os.path.commonprefix(self._keys)  # noqa: RUF071  # of keys, not of paths
        listing = await self._client.list(prefix, index=self._index, wait_s=self.wait_s)
        entries = {e.key.decode("utf-8", "replace"): e for e in listing.entries}
        return _State(listing.index, entries, None)

    def _denied(self) -> StoreRefused:
        """Say that none of the keys may be read."""
        words = (
            "Permission denied (POST /v1/watch); the token must have the right to read"
            f" {', '.join(self._keys[:_SHOWN])}"
        )
        return StoreRefused(403, words, key=self._keys[0], right="key:read")

    async def _poll_keys(self) -> _State:
        index = self._index
        parameters = {"index": str(index), "wait": format_duration(self.wait_s)}
        client = self._client
        reply = await client._transport.request(  # noqa: SLF001  # a part of it
            "POST",
            "/v1/watch",
            parameters if index else {},
            self._body,
            limit=client.limits.listing,
            deadline_s=self.wait_s * 17 / 16 + GRACE_S if index else None,
        )
        entries, gone = read_changes(reply.url, reply.body)
        return _State(
            read_index(reply.url, reply.index), entries, gone if index else None
        )
