"""What can be done to a store, pure: write and delete keys, begin and end sessions.

An operation is a value. It is tried on a `WriteBatch`, and gives whether its condition held;
one that does not hold leaves the batch as it was.
"""

from __future__ import annotations

from itertools import islice

import attrs

from kv_trio.state.entry import Entry, Outcome, Session
from kv_trio.state.write_batch import WriteBatch

_SHOWN = 100  # bytes of a prefix in a text


@attrs.frozen
class Put:
    """Write a key, if the condition holds; at most one of the three is given."""

    key: bytes
    value: bytes
    flags: int = 0
    cas: int | None = None
    acquire: str | None = None
    release: str | None = None

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        """Write the key, or tell that the condition does not hold."""
        old = write_batch.get(self.key)
        if self.cas is not None and self.cas != (old.modify_index if old else 0):
            return Outcome(done=False, index=old.modify_index if old else 0)
        if self.acquire is not None:
            return self._acquire(write_batch, self.acquire, old, now)
        if self.release is not None:
            if old is None or old.session != self.release:
                return Outcome(done=False)
            return self._write(
                write_batch, old, session=None, lock_index=old.lock_index
            )
        if old is not None and (old.value, old.flags) == (self.value, self.flags):
            return Outcome(done=True, index=old.modify_index)
        return self._write(write_batch, old, session=old.session if old else None)

    def _acquire(
        self, write_batch: WriteBatch, session: str, old: Entry | None, now: float
    ) -> Outcome:
        if write_batch.session(session) is None:
            return Outcome(done=False, refused=f'invalid session "{session}"')
        holder = old.session if old else None
        locks = old.lock_index if old else 0
        if holder == session:
            return self._write(write_batch, old, session=session, lock_index=locks)
        if holder is not None or write_batch.is_delayed(self.key, now):
            return Outcome(done=False)
        return self._write(write_batch, old, session=session, lock_index=locks + 1)

    def _write(
        self,
        write_batch: WriteBatch,
        old: Entry | None,
        *,
        session: str | None,
        lock_index: int = 0,
    ) -> Outcome:
        index = write_batch.next_index()
        created = old.create_index if old else index
        return write_batch.set(
            Entry(self.key, self.value, self.flags, created, index, lock_index, session)
        )


@attrs.frozen
class Delete:
    """Remove a key, or all keys with a prefix.

    Attributes:
        limit: keys that are removed at most; where there are more, none is.
    """

    key: bytes
    recurse: bool = False
    cas: int | None = None
    limit: int | None = None

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        """Remove the keys; an absent one is as good as removed."""
        del now
        if self.recurse:
            doomed = self._doomed(write_batch)
            if self.limit is not None and len(doomed) > self.limit:
                return self._too_many()
        else:
            old = write_batch.get(self.key)
            if old is not None and self.cas not in (None, old.modify_index):
                return Outcome(done=False, index=old.modify_index)
            doomed = [self.key] if old is not None else []
        if doomed:
            index = write_batch.next_index()
            for key in doomed:
                write_batch.bury(key, index)
        return Outcome(done=True, index=write_batch.index)

    def _doomed(self, write_batch: WriteBatch) -> list[bytes]:
        most = None if self.limit is None else self.limit + 1
        doomed = list(islice(write_batch.keys_under(self.key), most))
        write_batch.work += len(doomed)
        return doomed

    def _too_many(self) -> Outcome:
        shown = self.key[:_SHOWN].decode("utf-8", "replace")
        return Outcome(
            done=False,
            refused=f"more than {self.limit} keys begin with {shown!r}, and one request"
            " deletes no more; give longer prefixes one by one, or raise the store's"
            " limit: --limit changed_keys=NUMBER",
            too_large=True,
        )


@attrs.frozen
class CreateSession:
    """Begin a session, if there is room for it.

    Attributes:
        limit: sessions at a time; where there are as many, it does not begin.
    """

    session: Session
    limit: int | None = None

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        """Begin the session, or tell that there are too many."""
        del now
        if self.limit is not None and write_batch.session_count >= self.limit:
            return Outcome(done=False)
        index = write_batch.next_index()
        session = attrs.evolve(self.session, create_index=index)
        write_batch.set_session(session.id, session)
        return Outcome(done=True, index=index)


@attrs.frozen
class DestroySession:
    """End a session; its locks are released, or their keys deleted."""

    id: str

    def apply_to(self, write_batch: WriteBatch, now: float) -> Outcome:
        """End the session; an unknown one is as good as ended."""
        del now
        session = write_batch.session(self.id)
        if session is None:
            return Outcome(done=True)
        held = write_batch.held_by(self.id)
        index = write_batch.next_index()
        write_batch.set_session(self.id, None)
        for key in sorted(held):
            entry = write_batch.get(key)
            assert entry is not None, "a lock's key exists"
            if session.lock_delay_s:
                write_batch.lock_delays[key] = session.lock_delay_s
            if session.deletes:
                write_batch.bury(key, index)
            else:
                write_batch.set(attrs.evolve(entry, session=None, modify_index=index))
        return Outcome(done=True, index=index)
