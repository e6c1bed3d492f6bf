"""What changes a store, pure: operations, tried on a draft.

An operation applied to a `Draft` says at once what comes of it; nothing is visible
until the draft is durable and `Store.publish`ed. A draft can stand on another one,
which takes it over whole or not at all: that is what makes a transaction atomic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

from kv_trio.state import store as core
from kv_trio.state.store import Entry, Revision, Session, Store, View


@attrs.frozen
class Outcome:
    """What came of an operation.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change, where one is known.
        refused: why it made no sense at all; empty if it did.
    """

    done: bool
    index: int = 0
    refused: str = ""


class Operation(Protocol):
    """A change that can be tried."""

    def apply_to(self, draft: Draft, now: float) -> Outcome:
        """Try it on a draft; now is in seconds, of the clock of lock delays."""


@attrs.frozen
class Put:
    """Write a key, if the condition holds; at most one of the three is given."""

    key: bytes
    value: bytes
    flags: int = 0
    cas: int | None = None
    acquire: str | None = None
    release: str | None = None

    def apply_to(self, draft: Draft, now: float) -> Outcome:
        """Write, or tell that the condition does not hold."""
        old = draft.get(self.key)
        if self.cas is not None and self.cas != (old.modify_index if old else 0):
            return Outcome(done=False, index=old.modify_index if old else 0)
        if self.acquire is not None:
            return self._acquire(draft, self.acquire, old, now)
        if self.release is not None:
            if old is None or old.session != self.release:
                return Outcome(done=False)
            return draft.write(self, old, session=None, lock_index=old.lock_index)
        if old is not None and (old.value, old.flags) == (self.value, self.flags):
            return Outcome(done=True, index=old.modify_index)
        return draft.write(self, old, session=old.session if old else None)

    def _acquire(
        self, draft: Draft, session: str, old: Entry | None, now: float
    ) -> Outcome:
        if draft.session(session) is None:
            return Outcome(done=False, refused=f'invalid session "{session}"')
        holder = old.session if old else None
        locks = old.lock_index if old else 0
        if holder == session:
            return draft.write(self, old, session=session, lock_index=locks)
        if holder is not None or draft.is_delayed(self.key, now):
            return Outcome(done=False)
        return draft.write(self, old, session=session, lock_index=locks + 1)


@attrs.frozen
class Delete:
    """Remove a key, or all keys with a prefix."""

    key: bytes
    recurse: bool = False
    cas: int | None = None

    def apply_to(self, draft: Draft, now: float) -> Outcome:
        """Remove; an absent key is as good as removed."""
        del now
        if self.recurse:
            doomed = list(draft.keys_under(self.key))
        else:
            old = draft.get(self.key)
            if old is not None and self.cas not in (None, old.modify_index):
                return Outcome(done=False, index=old.modify_index)
            doomed = [self.key] if old is not None else []
        if doomed:
            index = draft.next_index()
            for key in doomed:
                draft.bury(key, index)
        return Outcome(done=True, index=draft.index)


@attrs.frozen
class Create:
    """Begin a session."""

    session: Session

    def apply_to(self, draft: Draft, now: float) -> Outcome:
        """Begin it."""
        del now
        index = draft.next_index()
        draft.sessions[self.session.id] = attrs.evolve(self.session, create_index=index)
        return Outcome(done=True, index=index)


@attrs.frozen
class Destroy:
    """End a session; its locks are released, or their keys deleted."""

    id: str

    def apply_to(self, draft: Draft, now: float) -> Outcome:
        """End it; an unknown one is as good as ended."""
        del now
        session = draft.session(self.id)
        if session is None:
            return Outcome(done=True)
        held = draft.held_by(self.id)
        index = draft.next_index()
        draft.sessions[self.id] = None
        for key in sorted(held):
            entry = draft.get(key)
            assert entry is not None, "a lock's key exists"
            if session.lock_delay_s:
                draft.lock_delays[key] = session.lock_delay_s
            if session.deletes:
                draft.bury(key, index)
            else:
                draft.set(attrs.evolve(entry, session=None, modify_index=index))
        return Outcome(done=True, index=index)


class Draft:
    """Changes on top of a view, not yet visible.

    Attributes:
        index: the number of the last change in it.
        entries: what is new of each changed key; None for a deleted one.
        deleted_at: the numbers of the deletes.
        sessions: what is new of each session; None for an ended one.
        lock_delays: keys whose lock was lost, with the seconds to wait.
        forgotten: keys whose tombstones go: written again, or folded into `floor`.
    """

    def __init__(self, base: View, *, one_index: bool = False) -> None:
        """Begin without changes; with `one_index`, all of them share a number."""
        self.index = base.index
        self.floor = 0
        self.entries: dict[bytes, Entry | None] = {}
        self.deleted_at: dict[bytes, int] = {}
        self.sessions: dict[str, Session | None] = {}
        self.lock_delays: dict[bytes, float] = {}
        self.forgotten: list[bytes] = []
        self._revisions: dict[tuple[bytes, int], Revision] = {}
        self._base = base
        self._first_index = base.index
        self._one_index = one_index
        self._folded = False  # tombstones into the floor

    def __repr__(self) -> str:
        return f"<Draft index={self.index} changed={len(self.entries)}>"

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
        """Forget the oldest deletes of the store that it stands on, if too many.

        And those of keys that are there again.
        """
        self.floor = store.floor
        if store.tombstones:
            entries = self.entries.items()
            live = [key for key, entry in entries if entry is not None]
            self.forgotten = [key for key in live if key in store.tombstones]
        if len(store.tombstones) + len(self.deleted_at) <= core.TOMBSTONES:
            return
        old = [pair for pair in store.tombstones.items() if pair[0] not in self.entries]
        for key, at in old[: max(0, len(old) + len(self.deleted_at) - core.TOMBSTONES)]:
            self.forgotten.append(key)
            self.floor = max(self.floor, at)
            self._folded = True

    def absorb(self, draft: Draft) -> None:
        """Take over the changes of a draft that stands on this one."""
        for key, entry in draft.entries.items():
            self.entries[key] = entry
            self.deleted_at.pop(key, None)
        self.deleted_at |= draft.deleted_at
        self.sessions |= draft.sessions
        self.lock_delays |= draft.lock_delays
        self._revisions |= draft._revisions
        self.index = draft.index

    # === a view ===

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""
        return self.entries[key] if key in self.entries else self._base.get(key)

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""
        found = set(self._base.keys_under(prefix))
        for key, entry in self.entries.items():
            if key.startswith(prefix):
                if entry is None:
                    found.discard(key)
                else:
                    found.add(key)
        return iter(sorted(found))

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""
        return self.sessions[id_] if id_ in self.sessions else self._base.session(id_)

    def held_by(self, id_: str) -> set[bytes]:
        """Give the keys whose locks a session has."""
        held = {key for key in self._base.held_by(id_) if key not in self.entries}
        mine = self.entries.items()
        return held | {key for key, entry in mine if entry and entry.session == id_}

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""
        return key in self.lock_delays or self._base.is_delayed(key, now)

    # === for the operations ===

    def next_index(self) -> int:
        """Take the number of a change."""
        if not self._one_index or not self.changed:
            self.index += 1
        return self.index

    def write(
        self, put: Put, old: Entry | None, *, session: str | None, lock_index: int = 0
    ) -> Outcome:
        """Let a key have what is put."""
        index = self.next_index()
        created = old.create_index if old else index
        numbers = (created, index, lock_index)
        return self.set(Entry(put.key, put.value, put.flags, *numbers, session))

    def set(self, entry: Entry) -> Outcome:
        """Let a key have an entry."""
        self.entries[entry.key] = entry
        self.deleted_at.pop(entry.key, None)
        key, index = entry.key, entry.modify_index
        self._revisions[key, index] = Revision(key, index, entry)
        return Outcome(done=True, index=index)

    def bury(self, key: bytes, index: int) -> None:
        """Remove a key."""
        self.entries[key] = None
        self.deleted_at[key] = index
        self._revisions[key, index] = Revision(key, index, None)
