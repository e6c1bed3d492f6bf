"""Changes of a store that are not visible yet, pure.

An operation applied to a `WriteBatch` says at once what comes of it, and sees what those
before it changed; nobody else sees anything until the batch is durable and
`Store.publish`ed. A batch can stand on another one, which takes it over whole or not at
all: that is what makes a transaction atomic.

One file, since a batch is read as a store is and written by the operations: its two
halves share all that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from heapq import merge
from itertools import islice
from typing import Protocol

from sortedcontainers import SortedList

from kv_trio.state.entry import Entry, Outcome, Revision, Session, View
from kv_trio.state.ordered_keys import range_under
from kv_trio.state.store import Store

TOMBSTONES = 10_000
"""How many deleted keys are remembered one by one."""


class Operation(Protocol):
    """A change that can be tried."""

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        """Try the operation on a batch.

        Args:
            write_batch: what it reads and changes.
            now: seconds, by the clock of the lock delays.
        """


class WriteBatch:
    """Changes on top of a view, not yet visible.

    Attributes:
        index: the number of the last change in it.
        session_count: how many sessions there are after it.
        entries: what is new of each changed key; None for a deleted one.
        deleted_at: the numbers of the deletes.
        sessions: what is new of each session; None for an ended one.
        lock_delays: keys whose lock was lost, with the seconds to wait.
        forgotten: keys whose tombstones go: written again, or folded into `floor`.
        work: keys that its operations looked at beyond one each, so what they cost.
    """

    def __init__(self, base: View, *, one_index: bool = False) -> None:
        """Begin without changes; with `one_index`, all of them share a number."""
        self.index = base.index
        self.session_count = base.session_count
        self.floor = 0
        self.entries: dict[bytes, Entry | None] = {}
        self.deleted_at: dict[bytes, int] = {}
        self.sessions: dict[str, Session | None] = {}
        self.lock_delays: dict[bytes, float] = {}
        self.forgotten: list[bytes] = []
        self.work = 0
        self._revisions: dict[tuple[bytes, int], Revision] = {}
        self._locked: dict[
            str, set[bytes]
        ] = {}  # by session, what it took in the batch
        self._ordered: SortedList[bytes] | None = (
            None  # the keys of entries, if asked for
        )
        self._base = base
        self._first_index = base.index
        self._one_index = one_index
        self._folded = False  # whether tombstones were folded into the floor

    def __repr__(self) -> str:
        return f"<WriteBatch index={self.index} changed={len(self.entries)}>"

    @property
    def changed(self) -> bool:
        """Whether there is anything to make durable."""
        return self.index != self._first_index

    @property
    def is_plain(self) -> bool:
        """Whether it does nothing but write and delete keys."""
        return not self.sessions and not self._folded

    def revisions(self) -> list[Revision]:
        """Give each state that a key took, in order."""
        return list(self._revisions.values())

    def apply(self, operation: Operation, now: float) -> Outcome:
        """Try an operation; now is in seconds."""
        return operation.apply_to(self, now)

    def fold_tombstones(self, store: Store) -> None:
        """Forget the oldest deletes of the store, if there are too many.

        And those of keys that are there again.

        Args:
            store: the one that this batch stands on.
        """
        self.floor = store.floor
        if store.tombstones:
            entries = self.entries.items()
            live = [key for key, entry in entries if entry is not None]
            self.forgotten = [key for key in live if key in store.tombstones]
        if len(store.tombstones) + len(self.deleted_at) <= TOMBSTONES:
            return
        again = sum(key in store.tombstones for key in self.entries)
        excess = len(store.tombstones) - again + len(self.deleted_at) - TOMBSTONES
        old = (pair for pair in store.tombstones.items() if pair[0] not in self.entries)
        for key, deleted_at in islice(old, max(0, excess)):
            self.forgotten.append(key)
            self.floor = max(self.floor, deleted_at)
            self._folded = True

    def absorb(self, write_batch: WriteBatch) -> None:
        """Take over the changes of a batch that stands on this one."""
        for key, entry in write_batch.entries.items():
            self._change(key, entry)
            self.deleted_at.pop(key, None)
        self.deleted_at |= write_batch.deleted_at
        self.sessions |= write_batch.sessions
        self.session_count = write_batch.session_count
        self.lock_delays |= write_batch.lock_delays
        self._revisions |= write_batch._revisions
        for id_, keys in write_batch._locked.items():
            self._locked.setdefault(id_, set()).update(keys)
        self.index = write_batch.index

    # === a view ===

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""
        return self.entries[key] if key in self.entries else self._base.get(key)

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""
        entries = self.entries
        if not entries:
            return self._base.keys_under(prefix)
        if self._ordered is None:
            self._ordered = SortedList(entries)
        changed = self._ordered.islice(*range_under(self._ordered, prefix))
        written = [key for key in changed if entries[key] is not None]
        old = (key for key in self._base.keys_under(prefix) if key not in entries)
        return merge(old, written) if written else old

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""
        return self.sessions[id_] if id_ in self.sessions else self._base.session(id_)

    def held_by(self, id_: str) -> AbstractSet[bytes]:
        """Give the keys whose locks a session has."""
        entries = self.entries
        held = {key for key in self._base.held_by(id_) if key not in entries}
        for key in self._locked.get(id_, ()):
            entry = entries[key]
            if entry is not None and entry.session == id_:
                held.add(key)
        return held

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""
        return key in self.lock_delays or self._base.is_delayed(key, now)

    # === for the operations ===

    def next_index(self) -> int:
        """Take the number of a change."""
        if not self._one_index or not self.changed:
            self.index += 1
        return self.index

    def set(self, entry: Entry) -> Outcome:
        """Give a key a new entry."""
        self._change(entry.key, entry)
        self.deleted_at.pop(entry.key, None)
        key, index = entry.key, entry.modify_index
        if entry.session is not None:
            self._locked.setdefault(entry.session, set()).add(key)
        self._revisions[key, index] = Revision(key, index, entry)
        return Outcome(done=True, index=index)

    def set_session(self, id_: str, session: Session | None) -> None:
        """Begin a session, or end it with None."""
        was = self.session(id_) is not None
        self.session_count += (session is not None) - was
        self.sessions[id_] = session

    def bury(self, key: bytes, index: int) -> None:
        """Remove a key, and remember that it was."""
        self._change(key, None)
        self.deleted_at[key] = index
        self._revisions[key, index] = Revision(key, index, None)

    def _change(self, key: bytes, entry: Entry | None) -> None:
        if self._ordered is not None and key not in self.entries:
            self._ordered.add(key)
        self.entries[key] = entry
