"""The one writer: operations in, durable outcomes out, in one total order.

Whatever has queued up while the disk was busy is tried in order on one draft and
made durable in one transaction (group commit), so the cost of a sync is shared. Then
it is published, the watchers are woken, and the writers are answered, all in one
synchronous step. When the disk refuses, the whole batch is refused, and memory stays
as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import attrs
import trio

from kv_trio.core import Store
from kv_trio.draft import Destroy, Draft, Operation, Outcome
from kv_trio.errors import StorageError
from kv_trio.log import Log

_log = logging.getLogger(__name__)

_BATCH = 1024  # operations a transaction takes at most
_FOLD_EVERY = 100  # transactions

Done = Callable[[Outcome | StorageError], None]


@attrs.frozen
class Committed:
    """A batch that is on disk and visible.

    Attributes:
        draft: what it changed.
        keys: those that changed.
        operations: how many it had.
        queued_at: `trio.current_time()` of its first one.
        commit_s: seconds that the disk took.
    """

    draft: Draft
    keys: set[bytes]
    operations: int
    queued_at: float
    commit_s: float


class Writer:
    """The queue of operations, and the sessions' clocks.

    Attributes:
        refused: operations that the disk refused so far.
    """

    def __init__(
        self, store: Store, log: Log, committed: Callable[[Committed], None]
    ) -> None:
        """Prepare to write.

        Args:
            store: what is written to.
            log: makes it durable.
            committed: called after each batch, before its writers are answered.
        """
        self.refused = 0
        self._renewed_at: dict[str, float] = {}
        self._store = store
        self._log = log
        self._committed = committed
        self._queue: list[tuple[Operation, Done]] = []
        self._queued_at = 0.0
        self._work = trio.Event()
        self._sessions_changed = trio.Event()
        self._expiring: set[str] = set()
        self._unfolded = 0  # transactions since the log was folded
        self._full = trio.Event()

    def __repr__(self) -> str:
        return f"<Writer queued={len(self._queue)}>"

    def submit(self, operation: Operation, done: Done) -> None:
        """Queue an operation; `done` is called in the trio thread with what came of it."""
        if not self._queue:
            self._queued_at = trio.current_time()
        self._queue.append((operation, done))
        self._work.set()

    def renew(self, id_: str) -> bool:
        """Start a session's time anew; False if there is none, or its time is over."""
        if id_ not in self._store.sessions or id_ in self._expiring:
            return False
        self._renewed_at[id_] = trio.current_time()
        return True

    async def run(self) -> None:
        """Write until cancelled. Cancelled, it finishes the transaction that is on.

        What is queued behind it is not written, and its writers are not answered.
        """
        while True:
            while not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            queued_at = self._queued_at
            with trio.CancelScope(shield=True):  # half a transaction helps nobody
                await self._write(batch, queued_at)
            await trio.lowlevel.checkpoint()

    async def expire_sessions(self) -> None:
        """End the sessions that nobody renewed in time, until cancelled.

        After a restart they have their whole time again.
        """
        while True:
            self._sessions_changed = trio.Event()
            with trio.move_on_at(self._next_expiry()):
                await self._sessions_changed.wait()
            now = trio.current_time()
            for id_, session in self._store.sessions.items():
                over = self._renewed_at.setdefault(id_, now) + session.ttl_s <= now
                if session.ttl_s and over and id_ not in self._expiring:
                    self._expiring.add(id_)
                    self.submit(Destroy(id_), partial(self._expired, id_))

    async def fold_log(self) -> None:
        """Keep the database's log short, beside the writes, until cancelled."""
        while True:
            self._full = trio.Event()
            await self._full.wait()
            await trio.to_thread.run_sync(self._log.fold)

    def _expired(self, id_: str, _: Outcome | StorageError) -> None:
        """Have another try later, should the disk have refused."""
        self._expiring.discard(id_)
        if id_ in self._store.sessions:
            self._renewed_at[id_] = trio.current_time()

    def _next_expiry(self) -> float:
        now = trio.current_time()
        return min(
            (
                self._renewed_at.setdefault(id_, now) + session.ttl_s
                for id_, session in self._store.sessions.items()
                if session.ttl_s and id_ not in self._expiring
            ),
            default=float("inf"),
        )

    async def _write(
        self, batch: list[tuple[Operation, Done]], queued_at: float
    ) -> None:
        draft = Draft(self._store)
        now = trio.current_time()
        outcomes = [draft.apply(operation, now) for operation, _ in batch]
        if draft.changed:
            draft.fold_tombstones(self._store)
            started = time.perf_counter()
            try:
                await self._commit(draft)
            except StorageError as exc:
                _log.error("%d writes refused: %s", len(batch), exc)
                self.refused += len(batch)
                for _, done in batch:
                    done(exc)
                return
            commit_s = time.perf_counter() - started
            keys = self._store.publish(draft, trio.current_time())
            self._follow_sessions(draft)
            self._committed(Committed(draft, keys, len(batch), queued_at, commit_s))
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)

    async def _commit(self, draft: Draft) -> None:
        if not self._log.commit_at_once(draft):
            await trio.to_thread.run_sync(self._log.commit, draft)
        self._unfolded += 1
        if self._unfolded >= _FOLD_EVERY:
            self._unfolded = 0
            self._full.set()

    def _follow_sessions(self, draft: Draft) -> None:
        now = trio.current_time()
        for id_, session in draft.sessions.items():
            if session is None:
                self._renewed_at.pop(id_, None)
            else:
                self._renewed_at[id_] = now
        if draft.sessions:
            self._sessions_changed.set()
