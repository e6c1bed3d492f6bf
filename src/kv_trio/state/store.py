"""The store's state, pure: entries, what was deleted, sessions and their locks.

There is one counter, `index`, for the whole store; each change takes the next
number, and an entry knows the numbers of its creation and of its last change. A
delete leaves a tombstone, so that the index of a prefix never slides back; when
there are too many, the oldest are folded into `floor`, below which no prefix's
index is ever given. That can only raise an index, which a watcher takes for a change.

The rule that it obeys: readers never see what is not durable. So changes are tried
on a `Draft` (draft.py), which the caller makes durable, and only then `publish`ed,
whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from sortedcontainers import SortedDict

if TYPE_CHECKING:
    from kv_trio.state.write_batch import Draft

FIRST_INDEX = 1
"""Where an empty store is. Its clients wait to pass it, so no change may have it."""

TOMBSTONES = 10_000
"""How many deleted keys are remembered one by one."""


@attrs.frozen
class Entry:
    """One key's value, with the numbers of Consul's API."""

    key: bytes
    value: bytes
    flags: int
    create_index: int
    modify_index: int
    lock_index: int = 0
    session: str | None = None


@attrs.frozen
class Revision:
    """One state that a key had.

    Attributes:
        index: the number of the change that brought it.
        entry: None where the change deleted the key.
        time_ms: when it was written, in milliseconds of Unix time; 0 if not yet.
    """

    key: bytes
    index: int
    entry: Entry | None
    time_ms: int = 0


@attrs.frozen
class Session:
    """What locks are bound to: they end with it.

    Attributes:
        ttl_s: seconds without a renewal after which it ends; 0 for never.
        lock_delay_s: seconds for which a lock cannot be taken after it was lost.
        deletes: whether the keys that it holds are deleted at its end, not released.
    """

    id: str
    name: str = ""
    ttl_s: float = 0.0
    ttl: str = ""
    lock_delay_s: float = 15.0
    deletes: bool = False
    create_index: int = 0


class View(Protocol):
    """A consistent state that can be read: a store, or a draft on top of one."""

    @property
    def index(self) -> int:
        """The number of the last change."""

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""

    def held_by(self, id_: str) -> set[bytes]:
        """Give the keys whose locks a session has."""

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""


class Store:
    """The published state.

    Attributes:
        index: the number of the last change.
        floor: no prefix's index is below it.
        base: nor is the index of anything below it: what was read before is of another
            store, whose copy this one is.
        kv_index: the number of the last change of a key; 0 before the first.
        session_index: the number of the last change of a session.
    """

    def __init__(self) -> None:
        self.index = FIRST_INDEX
        self.floor = 0
        self.base = 0
        self.kv_index = 0
        self.session_index = 0
        self.sessions: dict[str, Session] = {}
        self._entries: SortedDict[bytes, Entry] = SortedDict()
        self._tombstones: dict[bytes, int] = {}  # oldest first
        self._deleted: SortedDict[bytes, int] = SortedDict()  # the same, by key
        self._held: dict[str, set[bytes]] = {}
        self._lock_free_at: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Store index={self.index} keys={len(self)}>"

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""
        return self._entries.get(key)

    def under(self, prefix: bytes) -> list[Entry]:
        """Give the entries whose keys begin with prefix, sorted by key."""
        return [self._entries[key] for key in self.keys_under(prefix)]

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""
        return _under(self._entries, prefix)

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""
        return self.sessions.get(id_)

    def held_by(self, id_: str) -> set[bytes]:
        """Give the keys whose locks a session has."""
        return set(self._held.get(id_, ()))

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""
        return self._lock_free_at.get(key, now) > now

    def index_of(self, key: bytes) -> int:
        """Give the number of a key's last change, at least 1; it never falls."""
        entry = self._entries.get(key)
        if entry is not None:
            return max(entry.modify_index, self.base)
        return max(1, self.floor, self._tombstones.get(key, 0))

    def index_under(self, prefix: bytes) -> int:
        """Give the number of the last change under a prefix, at least 1."""
        live = (self._entries[key].modify_index for key in self.keys_under(prefix))
        gone = (self._deleted[key] for key in _under(self._deleted, prefix))
        return max(max(live, default=1), self.floor, max(gone, default=1))

    @property
    def tombstones(self) -> Mapping[bytes, int]:
        """The deleted keys that are remembered, oldest first, with their numbers."""
        return self._tombstones

    def restore(
        self,
        entries: list[Entry],
        tombstones: dict[bytes, int],
        sessions: list[Session],
        *,
        index: int,
        floor: int,
        base: int = 0,
    ) -> None:
        """Take up what was read from disk.

        Raises:
            ValueError: a change is newer than the store.
        """
        newest = [
            *(one.modify_index for one in entries),
            *tombstones.values(),
            floor,
            base,
        ]
        if max(newest) > index:
            raise ValueError(f"a change is at {max(newest)}, the store at {index}")
        self.index, self.floor, self.base = index, max(floor, base), base
        self._entries = SortedDict((entry.key, entry) for entry in entries)
        self._tombstones = dict(sorted(tombstones.items(), key=lambda pair: pair[1]))
        self._deleted = SortedDict(tombstones)
        self.sessions = {session.id: session for session in sessions}
        self.kv_index = max(newest)
        self.session_index = index
        for entry in entries:
            if entry.session is not None:
                self._held.setdefault(entry.session, set()).add(entry.key)

    def publish(self, draft: Draft, now: float) -> set[bytes]:
        """Make a draft visible; give the keys that changed.

        Args:
            draft: made from this store, durable, and the only one since.
            now: seconds, for the lock delays of sessions that ended.
        """
        for key in draft.forgotten:
            self._unbury(key)
        for key, entry in draft.entries.items():
            self._publish_entry(key, entry, draft.deleted_at.get(key, 0))
        for id_, session in draft.sessions.items():
            if session is None:
                self.sessions.pop(id_, None)
                self._held.pop(id_, None)
            else:
                self.sessions[id_] = session
        for key, delay_s in draft.lock_delays.items():
            self._lock_free_at[key] = now + delay_s
        if self._lock_free_at:
            waiting = self._lock_free_at.items()
            self._lock_free_at = {key: at for key, at in waiting if at > now}
        self.index, self.floor = draft.index, draft.floor
        if draft.entries:
            self.kv_index = draft.index
        if draft.sessions:
            self.session_index = draft.index
        return set(draft.entries)

    def _publish_entry(self, key: bytes, entry: Entry | None, deleted_at: int) -> None:
        old = self._entries.get(key)
        if old is not None and old.session is not None:
            self._held.get(old.session, set()).discard(key)
        self._unbury(key)
        if entry is None:
            self._tombstones[key] = self._deleted[key] = deleted_at
            if old is not None:
                del self._entries[key]
            return
        self._entries[key] = entry
        if entry.session is not None:
            self._held.setdefault(entry.session, set()).add(key)

    def _unbury(self, key: bytes) -> None:
        if self._tombstones.pop(key, None) is not None:
            del self._deleted[key]


def _under(keys: SortedDict[bytes, Any], prefix: bytes) -> Iterator[bytes]:
    return takewhile(lambda key: key.startswith(prefix), keys.irange(prefix))
