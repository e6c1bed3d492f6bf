"""The store's state and what changes it, pure.

There is one counter, `index`, for the whole store; each change takes the next
number, and an entry knows the numbers of its creation and of its last change. A
delete leaves a tombstone, so that the index of a prefix never slides back; when
there are too many, the oldest are folded into `floor`, below which no prefix's
index is ever given. That can only raise an index, which a watcher takes for a change.

The rule that it obeys: readers never see what is not durable. So changes are tried
on a `Draft`, which the caller makes durable, and only then `publish`ed, whole.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import attrs

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


@attrs.frozen
class Put:
    """Write a key, if the condition holds; at most one of the three is given."""

    key: bytes
    value: bytes
    flags: int = 0
    cas: int | None = None
    acquire: str | None = None
    release: str | None = None


@attrs.frozen
class Delete:
    """Remove a key, or all keys with a prefix."""

    key: bytes
    recurse: bool = False
    cas: int | None = None


@attrs.frozen
class Create:
    """Begin a session."""

    session: Session


@attrs.frozen
class Destroy:
    """End a session."""

    id: str


Operation = Put | Delete | Create | Destroy


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


class Store:
    """The published state."""

    def __init__(self, first_index: int = 0) -> None:
        self.index = first_index
        self.floor = 0
        self.sessions: dict[str, Session] = {}
        self.held: dict[str, set[bytes]] = {}
        self.lock_free_at: dict[bytes, float] = {}
        self._entries: dict[bytes, Entry] = {}
        self._keys: list[bytes] = []
        self._tombstones: dict[bytes, int] = {}  # oldest first

    def __repr__(self) -> str:
        return f"<Store index={self.index} keys={len(self._keys)}>"

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""
        return self._entries.get(key)

    def under(self, prefix: bytes) -> list[Entry]:
        """Give the entries whose keys begin with prefix, sorted by key."""
        return [self._entries[key] for key in self.keys_under(prefix)]

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""
        at = bisect.bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            yield self._keys[at]
            at += 1

    def index_of(self, key: bytes) -> int:
        """Give the number of a key's last change, at least 1; it never falls."""
        entry = self._entries.get(key)
        if entry is not None:
            return entry.modify_index
        return max(1, self.floor, self._tombstones.get(key, 0))

    def index_under(self, prefix: bytes) -> int:
        """Give the number of the last change under a prefix, at least 1."""
        live = max((entry.modify_index for entry in self.under(prefix)), default=1)
        gone = (at for key, at in self._tombstones.items() if key.startswith(prefix))
        return max(live, self.floor, max(gone, default=1))

    def tombstones(self) -> dict[bytes, int]:
        """Give the deleted keys that are remembered, with their numbers."""
        return dict(self._tombstones)

    def restore(
        self,
        entries: list[Entry],
        tombstones: dict[bytes, int],
        sessions: list[Session],
        *,
        index: int,
        floor: int,
    ) -> None:
        """Take up what was read from disk."""
        self.index, self.floor = index, floor
        self._entries = {entry.key: entry for entry in entries}
        self._keys = sorted(self._entries)
        self._tombstones = dict(sorted(tombstones.items(), key=lambda pair: pair[1]))
        self.sessions = {session.id: session for session in sessions}
        for entry in entries:
            if entry.session is not None:
                self.held.setdefault(entry.session, set()).add(entry.key)

    def publish(self, draft: Draft, now: float) -> set[bytes]:
        """Make a draft visible; give the keys that changed.

        Args:
            draft: made from this store, durable, and the only one since.
            now: seconds, for the lock delays of sessions that ended.
        """
        for key, entry in draft.entries.items():
            self._publish_entry(key, entry, draft.deleted_at.get(key, 0))
        for id_, session in draft.sessions.items():
            if session is None:
                self.sessions.pop(id_, None)
                self.held.pop(id_, None)
            else:
                self.sessions[id_] = session
        for key, delay_s in draft.lock_delays.items():
            self.lock_free_at[key] = now + delay_s
        self.lock_free_at = {k: at for k, at in self.lock_free_at.items() if at > now}
        self.index, self.floor = draft.index, draft.floor
        for key in draft.forgotten:
            self._tombstones.pop(key, None)
        return set(draft.entries)

    def _publish_entry(self, key: bytes, entry: Entry | None, deleted_at: int) -> None:
        old = self._entries.get(key)
        if old is not None and old.session is not None:
            self.held.get(old.session, set()).discard(key)
        if entry is None:
            self._tombstones.pop(key, None)
            self._tombstones[key] = deleted_at
            if old is not None:
                del self._entries[key]
                del self._keys[bisect.bisect_left(self._keys, key)]
            return
        self._tombstones.pop(key, None)
        self._entries[key] = entry
        if old is None:
            bisect.insort(self._keys, key)
        if entry.session is not None:
            self.held.setdefault(entry.session, set()).add(key)


class Draft:
    """Changes on top of a store, not yet visible.

    Attributes:
        entries: what is new of each changed key; None for a deleted one.
        deleted_at: the numbers of the deletes.
        sessions: what is new of each session; None for an ended one.
        lock_delays: keys whose lock was lost, with the seconds to wait.
        forgotten: keys whose tombstones are folded into `floor`.
    """

    def __init__(self, store: Store) -> None:
        self.index = store.index
        self.floor = store.floor
        self.entries: dict[bytes, Entry | None] = {}
        self.deleted_at: dict[bytes, int] = {}
        self.sessions: dict[str, Session | None] = {}
        self.lock_delays: dict[bytes, float] = {}
        self.forgotten: list[bytes] = []
        self._store = store

    @property
    def changed(self) -> bool:
        """Whether there is anything to make durable."""
        return self.index != self._store.index

    def apply(self, operation: Operation, now: float) -> Outcome:
        """Try an operation; now is in seconds."""
        match operation:
            case Put():
                return self._put(operation, now)
            case Delete():
                return self._delete(operation)
            case Create(session):
                self.index += 1
                new = attrs.evolve(session, create_index=self.index)
                self.sessions[session.id] = new
                return Outcome(done=True, index=self.index)
            case Destroy(id_):
                self._end_session(id_)
                return Outcome(done=True)

    def fold_tombstones(self) -> None:
        """Forget the oldest deletes, when there are too many."""
        old = self._store.tombstones()
        old = {key: at for key, at in old.items() if key not in self.entries}
        excess = len(old) + len(self.deleted_at) - TOMBSTONES
        for key in list(old)[: max(0, excess)]:
            self.forgotten.append(key)
            self.floor = max(self.floor, old[key])

    def _get(self, key: bytes) -> Entry | None:
        return self.entries[key] if key in self.entries else self._store.get(key)

    def _session(self, id_: str) -> Session | None:
        if id_ in self.sessions:
            return self.sessions[id_]
        return self._store.sessions.get(id_)

    def _set(self, entry: Entry) -> Outcome:
        self.entries[entry.key] = entry
        self.deleted_at.pop(entry.key, None)
        return Outcome(done=True, index=entry.modify_index)

    def _put(self, put: Put, now: float) -> Outcome:
        old = self._get(put.key)
        if put.cas is not None and put.cas != (old.modify_index if old else 0):
            return Outcome(done=False, index=old.modify_index if old else 0)
        if put.acquire is not None:
            return self._acquire(put, put.acquire, old, now)
        if put.release is not None:
            return self._release(put, put.release, old)
        if old is not None and (old.value, old.flags) == (put.value, put.flags):
            return Outcome(done=True, index=old.modify_index)
        return self._write(put, old, session=old.session if old else None, lock_index=0)

    def _write(
        self, put: Put, old: Entry | None, *, session: str | None, lock_index: int
    ) -> Outcome:
        self.index += 1
        created = old.create_index if old else self.index
        return self._set(
            Entry(
                *(put.key, put.value, put.flags, created, self.index),
                lock_index=lock_index,
                session=session,
            )
        )

    def _acquire(
        self, put: Put, session: str, old: Entry | None, now: float
    ) -> Outcome:
        if self._session(session) is None:
            return Outcome(done=False, refused=f'invalid session "{session}"')
        holder = old.session if old else None
        locks = old.lock_index if old else 0
        if holder == session:
            return self._write(put, old, session=session, lock_index=locks)
        if holder is not None or self._delayed(put.key, now):
            return Outcome(done=False)
        return self._write(put, old, session=session, lock_index=locks + 1)

    def _delayed(self, key: bytes, now: float) -> bool:
        """Whether the key's lock was lost too recently to be taken."""
        return key in self.lock_delays or self._store.lock_free_at.get(key, now) > now

    def _release(self, put: Put, session: str, old: Entry | None) -> Outcome:
        if old is None or old.session != session:
            return Outcome(done=False)
        return self._write(put, old, session=None, lock_index=old.lock_index)

    def _delete(self, delete: Delete) -> Outcome:
        if delete.recurse:
            found = set(self._store.keys_under(delete.key))
            found |= {key for key in self.entries if key.startswith(delete.key)}
            doomed = [key for key in sorted(found) if self._get(key) is not None]
        else:
            old = self._get(delete.key)
            if old is not None and delete.cas not in (None, old.modify_index):
                return Outcome(done=False, index=old.modify_index)
            doomed = [delete.key] if old is not None else []
        if doomed:
            self.index += 1
            for key in doomed:
                self._bury(key)
        return Outcome(done=True, index=self.index)

    def _bury(self, key: bytes) -> None:
        self.entries[key] = None
        self.deleted_at[key] = self.index

    def _end_session(self, id_: str) -> None:
        session = self._session(id_)
        if session is None:
            return
        self.index += 1
        self.sessions[id_] = None
        held = set(self._store.held.get(id_, ()))
        held |= {
            k for k, e in self.entries.items() if e is not None and e.session == id_
        }
        for key in sorted(held):
            entry = self._get(key)
            if entry is None or entry.session != id_:
                continue
            if session.lock_delay_s:
                self.lock_delays[key] = session.lock_delay_s
            if session.deletes:
                self._bury(key)
            else:
                self._set(attrs.evolve(entry, session=None, modify_index=self.index))
