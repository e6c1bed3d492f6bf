"""The store's state, pure: entries, what was deleted, sessions and their locks.

There is one counter, `index`, for the whole store; each change takes the next
number, and an entry knows the numbers of its creation and of its last change. A
delete leaves a tombstone, so that the index of a prefix never slides back; when
there are too many, the oldest are folded into `floor`, below which no prefix's
index is ever given. That can only raise an index, which a watcher takes for a change.

The rule that it obeys: readers never see what is not durable. So changes are gathered
elsewhere (`kv_trio.state.write_batch`), made durable by the caller, and only then
`publish`ed, whole. One file, since it is one state, and each read of it a few lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Protocol

from sortedcontainers import SortedDict

from kv_trio.state.entry import Entry, Session
from kv_trio.state.ordered_keys import range_under
from kv_trio.state.prefix_indexes import PrefixIndexes

FIRST_INDEX = 1
"""The index of an empty store. Clients wait for it to be passed, so no change has it."""


_DELAYS = 1024  # lock delays that are never worth a sweep
_NONE: frozenset[bytes] = frozenset()


class Changes(Protocol):
    """What a store takes over when it publishes, all of it durable."""

    @property
    def index(self) -> int:
        """The number of the last change."""

    @property
    def floor(self) -> int:
        """The new floor of the store."""

    @property
    def entries(self) -> Mapping[bytes, Entry | None]:
        """What is new of each changed key; None for a deleted one."""

    @property
    def deleted_at(self) -> Mapping[bytes, int]:
        """The numbers of the deletes."""

    @property
    def sessions(self) -> Mapping[str, Session | None]:
        """What is new of each session; None for an ended one."""

    @property
    def lock_delays(self) -> Mapping[bytes, float]:
        """The keys whose lock was lost, with the seconds to wait."""

    @property
    def forgotten(self) -> Sequence[bytes]:
        """The keys whose tombstones go."""


class Store:
    """The published state.

    Attributes:
        index: the number of the last change.
        floor: no prefix's index is below it.
        kv_index: the number of the last change of a key; 0 before the first.
        session_index: the number of the last change of a session.
    """

    def __init__(self) -> None:
        self.index = FIRST_INDEX
        self.floor = 0
        self.kv_index = 0
        self.session_index = 0
        self.sessions: SortedDict[str, Session] = SortedDict()
        self._entries: SortedDict[bytes, Entry] = SortedDict()
        self._tombstones: dict[bytes, int] = {}  # oldest first
        self._deleted: SortedDict[bytes, int] = SortedDict()  # the same, by key
        self._held: dict[str, set[bytes]] = {}
        self._prefix_indexes = PrefixIndexes()
        self._lock_free_at: dict[bytes, float] = {}
        self._delays_kept = _DELAYS  # beyond which those that are over are dropped

    def __repr__(self) -> str:
        return f"<Store index={self.index} keys={len(self)}>"

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""
        return self._entries.get(key)

    def under(self, prefix: bytes) -> list[Entry]:
        """Give the entries whose keys begin with prefix, sorted by key."""
        entries = self._entries
        return [entries[key] for key in entries.islice(*range_under(entries, prefix))]

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""
        return self._entries.islice(*range_under(self._entries, prefix))

    def count_under(self, prefix: bytes) -> int:
        """Give how many keys begin with prefix, without a look at each."""
        start, stop = range_under(self._entries, prefix)
        return stop - start

    @property
    def session_count(self) -> int:
        """How many sessions there are."""
        return len(self.sessions)

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""
        return self.sessions.get(id_)

    def held_by(self, id_: str) -> AbstractSet[bytes]:
        """Give the keys whose locks a session has; it changes with the state."""
        return self._held.get(id_, _NONE)

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""
        return self._lock_free_at.get(key, now) > now

    def index_of(self, key: bytes) -> int:
        """Give the number of a key's last change, at least 1; it never falls."""
        entry = self._entries.get(key)
        if entry is not None:
            return entry.modify_index
        return max(1, self.floor, self._tombstones.get(key, 0))

    def index_under(self, prefix: bytes) -> int:
        """Give the number of the last change under a prefix, at least 1."""
        indexes = self._prefix_indexes
        found = indexes.find(
            prefix, self.index, self.index_of, partial(self._look_under, prefix)
        )
        return max(found, self.floor)

    def changed_under(self, prefix: bytes, after: int) -> list[bytes] | None:
        """Give the keys with a prefix that changed after a number, deleted ones too.

        Returns:
            None where some that were deleted may be forgotten.
        """
        if self.floor > after:
            return None
        deleted = self._deleted
        gone = deleted.islice(*range_under(deleted, prefix))
        return [
            *(one.key for one in self.under(prefix) if one.modify_index > after),
            *(key for key in gone if deleted[key] > after),
        ]

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
    ) -> None:
        """Take up what was read from disk.

        Raises:
            ValueError: a change is newer than the store.
        """
        written = max((entry.modify_index for entry in entries), default=0)
        newest = max(written, *tombstones.values(), floor)
        if newest > index:
            raise ValueError(f"a change is at {newest}, the store at {index}")
        self.index, self.floor = index, floor
        self._entries = SortedDict((entry.key, entry) for entry in entries)
        self._tombstones = dict(sorted(tombstones.items(), key=lambda pair: pair[1]))
        self._deleted = SortedDict(tombstones)
        self.sessions = SortedDict((session.id, session) for session in sessions)
        self._prefix_indexes.forget()
        self.kv_index = newest
        self.session_index = index
        for entry in entries:
            if entry.session is not None:
                self._held.setdefault(entry.session, set()).add(entry.key)

    def publish(self, changes: Changes, now: float) -> set[bytes]:
        """Make changes visible; give the keys that changed.

        Args:
            changes: made from this store, durable, and the only one since.
            now: seconds, for the lock delays of sessions that ended.
        """
        for key in changes.forgotten:
            self._unbury(key)
        for key, entry in changes.entries.items():
            self._publish_entry(key, entry, changes.deleted_at.get(key, 0))
        for id_, session in changes.sessions.items():
            if session is None:
                self.sessions.pop(id_, None)
                self._held.pop(id_, None)
            else:
                self.sessions[id_] = session
        for key, delay_s in changes.lock_delays.items():
            self._lock_free_at[key] = now + delay_s
        if len(self._lock_free_at) > self._delays_kept:
            self._drop_delays(now)
        self.index, self.floor = changes.index, changes.floor
        if changes.entries:
            self.kv_index = changes.index
            self._prefix_indexes.note(changes.entries, changes.index)
        if changes.sessions:
            self.session_index = changes.index
        return set(changes.entries)

    def _look_under(self, prefix: bytes) -> int:
        """Give the number of the last change under a prefix, by a look at each key."""
        deleted = self._deleted
        live = (entry.modify_index for entry in self.under(prefix))
        gone = (deleted[key] for key in deleted.islice(*range_under(deleted, prefix)))
        return max(max(live, default=1), max(gone, default=1))

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

    def _drop_delays(self, now: float) -> None:
        """Drop the lock delays that are over; the next time when there are twice as many."""
        self._lock_free_at = {
            key: free_at for key, free_at in self._lock_free_at.items() if free_at > now
        }
        self._delays_kept = max(_DELAYS, 2 * len(self._lock_free_at))

    def _unbury(self, key: bytes) -> None:
        if self._tombstones.pop(key, None) is not None:
            del self._deleted[key]
