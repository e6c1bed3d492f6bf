"""The one writer: operations in, durable outcomes out, in one total order.

Whatever has queued up while the disk was busy is tried in order on one draft and
made durable in one transaction (group commit), so the cost of a sync is shared. Then
it is published, the watchers are woken, and the writers are answered, all in one
synchronous step. When the disk refuses, the whole batch is refused, and memory stays
as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from kv_trio.core import Destroy, Draft, Operation, Outcome, Store
from kv_trio.errors import StorageError
from kv_trio.log import Log
from kv_trio.watch import Watchers

_log = logging.getLogger(__name__)

_BATCH = 1024  # operations a transaction takes at most

Done = Callable[[Outcome | StorageError], None]
Observer = Callable[[set[bytes], int, float], None]
"""Called with the changed keys, the store's index, and when the first was queued."""


class Writer:
    """The queue of operations, and the sessions' clocks."""

    def __init__(
        self,
        store: Store,
        log: Log | None,
        watchers: Watchers,
        observe: Observer | None = None,
    ) -> None:
        self.renewed_at: dict[str, float] = {}
        self._store = store
        self._log = log
        self._watchers = watchers
        self._observe = observe
        self._queue: list[tuple[Operation, Done]] = []
        self._queued_at = 0.0
        self._work = trio.Event()
        self._sessions_changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Writer queued={len(self._queue)}>"

    def submit(self, operation: Operation, done: Done) -> None:
        """Queue an operation; `done` is called in the trio thread with what came of it."""
        if not self._queue:
            self._queued_at = trio.current_time()
        self._queue.append((operation, done))
        self._work.set()

    def renew(self, id_: str) -> bool:
        """Start a session's time anew; False if there is none."""
        if id_ not in self._store.sessions:
            return False
        self.renewed_at[id_] = trio.current_time()
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
        """End the sessions that nobody renewed in time, until cancelled."""
        now = trio.current_time()
        for (
            id_
        ) in self._store.sessions:  # a restarted server gives them their time again
            self.renewed_at.setdefault(id_, now)
        while True:
            self._sessions_changed = trio.Event()
            until = self._next_expiry()
            with trio.move_on_at(until):
                await self._sessions_changed.wait()
            now = trio.current_time()
            for id_, session in list(self._store.sessions.items()):
                at = self.renewed_at.setdefault(id_, now) + session.ttl_s
                if session.ttl_s and at <= now:
                    self.renewed_at[id_] = now  # not twice, should the disk refuse
                    self.submit(Destroy(id_), _ignore)

    def _next_expiry(self) -> float:
        now = trio.current_time()
        return min(
            (
                self.renewed_at.setdefault(id_, now) + session.ttl_s
                for id_, session in self._store.sessions.items()
                if session.ttl_s
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
            draft.fold_tombstones()
            try:
                if self._log is not None:
                    await trio.to_thread.run_sync(self._log.commit, draft)
            except StorageError as exc:
                _log.error("%d writes refused: %s", len(batch), exc)
                for _, done in batch:
                    done(exc)
                return
            changed = self._store.publish(draft, trio.current_time())
            self._watchers.wake(changed)
            if self._observe is not None:
                self._observe(changed, draft.index, queued_at)
            self._follow_sessions(draft)
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)

    def _follow_sessions(self, draft: Draft) -> None:
        now = trio.current_time()
        for id_, session in draft.sessions.items():
            if session is None:
                self.renewed_at.pop(id_, None)
            else:
                self.renewed_at[id_] = now
        if draft.sessions:
            self._sessions_changed.set()


def _ignore(_: Outcome | StorageError) -> None:
    """Take no notice: an expiry that the disk refused comes round again."""
