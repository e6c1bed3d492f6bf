"""The one writer: operations in, durable outcomes out, in one total order.

The operations that queued up while the disk was busy are tried in order on one batch
and made durable in one transaction (group commit), so they share the cost of a sync.
Then the batch is published, the writers are answered, and the watchers are woken, all
in one synchronous step. When the disk refuses, the whole batch is refused, and memory
stays as it was.

An error that nobody foresaw is the fault of one operation. Its batch is rolled back and
tried again by halves until the operation is alone; it is refused, and all others are
written.

One file, since what becomes of a batch decides which operations the next one takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import attrs
import trio

from http_trio import Trouble
from kv_trio.errors import KvError, OperationFailed, StorageError
from kv_trio.state.entry import Outcome
from kv_trio.state.operations import DestroySession
from kv_trio.state.session_clocks import SessionClocks
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage.engine import StorageEngine

_log = logging.getLogger(__name__)

_BATCH = 1024  # operations that a transaction takes at most
_WORK = 4096  # keys that its operations looked at, beyond which it takes no more

Done = Callable[[Outcome | KvError], None]
_Queued = tuple[Operation, Done]
AfterBatch = Callable[[Callable[[], None]], bool]
"""Calls a function once the present events are handled; False if it will not."""


@attrs.frozen
class CommittedBatch:
    """A batch that is on disk and visible.

    Attributes:
        write_batch: its changes.
        keys: the changed keys.
        operations: how many it had.
        queued_at: the `trio.current_time()` at which the first one was queued.
        commit_s: seconds that the disk took.
    """

    write_batch: WriteBatch
    keys: set[bytes]
    operations: int
    queued_at: float
    commit_s: float


@attrs.frozen
class _Batch:
    """Operations that were tried on a batch which is not durable yet.

    Attributes:
        queued_at: the `trio.current_time()` at which the first one was queued.
        began: the `time.perf_counter()` of the commit's begin.
    """

    operations: list[_Queued]
    write_batch: WriteBatch
    outcomes: list[Outcome]
    queued_at: float
    began: float


class Writer:
    """The queue of operations, and the sessions' clocks.

    Attributes:
        refused: operations that the disk refused so far, or that failed.
        after_batch: the event loop's, where requests queue operations; so all that
            come in one turn share a transaction.
    """

    def __init__(
        self,
        store: Store,
        engine: StorageEngine,
        committed: Callable[[CommittedBatch], None],
    ) -> None:
        """Prepare to write.

        Args:
            store: what is written to.
            engine: makes it durable.
            committed: called after each batch, when its writers are answered.
        """
        self.refused = 0
        self._refusing = Trouble()
        self.after_batch: AfterBatch = lambda _: False
        self._clocks = SessionClocks()
        self._store = store
        self._engine = engine
        self._committed = committed
        self._queue: list[_Queued] = []
        self._queued_at = 0.0
        self._batch_limit = _BATCH  # less after an error that nobody foresaw
        self._taken: _Batch | None = None  # the one that the task writes, or will
        self._work = trio.Event()
        self._sessions_changed = trio.Event()
        self._expiring: set[str] = set()
        self._checkpoint_due = trio.Event()

    def __repr__(self) -> str:
        return f"<Writer queued={len(self._queue)}>"

    def submit(self, operation: Operation, done: Done) -> None:
        """Queue an operation; `done` is called in the trio thread with what came of it."""
        self._queue.append((operation, done))
        if len(self._queue) > 1:
            return
        self._queued_at = trio.current_time()
        if self._taken is not None or not self.after_batch(self._write_at_once):
            self._work.set()

    def renew(self, id_: str) -> bool:
        """Start a session's time anew; False if it is unknown, or its time is over."""
        if id_ not in self._store.sessions or id_ in self._expiring:
            return False
        self._clocks.renew(id_, trio.current_time())
        return True

    async def run(self) -> None:
        """Write until cancelled. Cancelled, it finishes the transaction in progress.

        The operations queued behind it are not written, nor their writers answered.
        """
        while True:
            while self._taken is None and not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            if self._taken is None:
                self._taken = self._take_batch()
            if self._taken is not None:
                with trio.CancelScope(shield=True):  # half a transaction helps nobody
                    await self._write(self._taken)
            self._taken = None
            await trio.lowlevel.checkpoint()

    async def expire_sessions(self) -> None:
        """End the sessions that nobody renewed in time, until cancelled.

        After a restart they have their whole time again.
        """
        for session in self._store.sessions.values():
            self._clocks.start(session, trio.current_time())
        while True:
            self._sessions_changed = trio.Event()
            with trio.move_on_at(self._clocks.next_look()):
                await self._sessions_changed.wait()
            for id_ in self._clocks.look(trio.current_time()):
                self._expiring.add(id_)
                self.submit(DestroySession(id_), partial(self._expired, id_))

    async def run_checkpoints(self) -> None:
        """Checkpoint when it is time, beside the writes, until cancelled."""
        while True:
            self._checkpoint_due = trio.Event()
            await self._checkpoint_due.wait()
            try:
                if self._engine.blocks:
                    await trio.to_thread.run_sync(self._engine.checkpoint)
                else:
                    self._engine.checkpoint()
            except Exception:
                _log.exception("the checkpoint failed; the next one is tried in time")

    def _expired(self, id_: str, _: Outcome | KvError) -> None:
        """Try again later if the disk refused, and the session is still there."""
        self._expiring.discard(id_)
        session = self._store.sessions.get(id_)
        if session is not None:
            self._clocks.start(session, trio.current_time())
            self._sessions_changed.set()

    def _write_at_once(self) -> None:
        """Write the queue, if that is quick; leave it to the task if not."""
        batch = self._take_batch()
        if batch is not None:
            self._write_if_quick(batch)
        if self._queue or self._taken is not None:
            self._work.set()

    def _write_if_quick(self, batch: _Batch) -> None:
        try:
            quick = not batch.write_batch.changed or self._engine.commit_at_once(
                batch.write_batch
            )
        except StorageError as exc:
            self._refuse(batch, exc)
        except Exception as exc:
            self._divide(batch.operations, exc)
        else:
            if quick:
                self._finish(batch)
            else:
                self._taken = batch

    async def _write(self, batch: _Batch) -> None:
        try:
            if batch.write_batch.changed and not self._engine.commit_at_once(
                batch.write_batch
            ):
                await trio.to_thread.run_sync(self._engine.commit, batch.write_batch)
        except StorageError as exc:
            self._refuse(batch, exc)
        except Exception as exc:
            self._divide(batch.operations, exc)
        else:
            self._finish(batch)

    def _take_batch(self) -> _Batch | None:
        """Take operations from the queue, and try them on a batch; None if one failed."""
        limit = self._batch_limit
        operations, self._queue = self._queue[:limit], self._queue[limit:]
        write_batch = WriteBatch(self._store)
        outcomes: list[Outcome] = []
        now = trio.current_time()
        try:
            for operation, _ in operations:
                outcomes.append(write_batch.apply(operation, now))
                if write_batch.work > _WORK:
                    break
            if len(outcomes) < len(operations):  # others are served before these
                count = len(outcomes)
                operations, later = operations[:count], operations[count:]
                self._queue = later + self._queue
            if write_batch.changed:
                write_batch.fold_tombstones(self._store)
        except Exception as exc:
            self._divide(operations, exc)
            return None
        began = time.perf_counter()
        return _Batch(operations, write_batch, outcomes, self._queued_at, began)

    def _divide(self, operations: list[_Queued], exc: Exception) -> None:
        """Try operations again by halves, since one of them failed; refuse one alone."""
        if len(operations) > 1:
            self._queue = operations + self._queue
            self._batch_limit = len(operations) // 2
            return
        ((operation, done),) = operations
        kind = type(operation).__name__
        _log.error("an operation failed, and is refused: %s", kind, exc_info=exc)
        self.refused += 1
        failure = OperationFailed(f"the store failed at this {kind}; its log says why")
        _respond(done, failure)

    def _refuse(self, batch: _Batch, exc: StorageError) -> None:
        count = len(batch.operations)
        self.refused += count
        if times := self._refusing.happens(trio.current_time(), count):
            _log.error("%d writes refused: %s", times, exc, extra={"refused": times})
        for _, done in batch.operations:
            _respond(done, exc)

    def _tell_taken(self, now: float) -> None:
        lasted_s = self._refusing.ends(now)
        if lasted_s is not None:
            shown = {"refused": self.refused, "lasted_s": round(lasted_s, 1)}
            _log.info("writes are taken again", extra=shown)

    def _finish(self, batch: _Batch) -> None:
        """Publish a batch that is durable, respond to its writers, wake its watchers.

        An error of `publish` ends the server, for its memory is not what is on disk.
        """
        self._batch_limit = min(_BATCH, 2 * self._batch_limit)
        write_batch = batch.write_batch
        if not write_batch.changed:
            self._respond(batch)
            return
        commit_s = time.perf_counter() - batch.began
        now = trio.current_time()
        if self._refusing.since is not None:
            self._tell_taken(now)
        keys = self._store.publish(write_batch, now)
        if write_batch.sessions:
            self._follow_sessions(write_batch, now)
        self._respond(batch)  # before the watchers, who may be many
        count = len(batch.operations)
        try:
            self._committed(
                CommittedBatch(write_batch, keys, count, batch.queued_at, commit_s)
            )
        except Exception:
            _log.exception("not all who wait for a change were woken")
        if self._engine.needs_checkpoint:
            self._checkpoint_due.set()

    def _respond(self, batch: _Batch) -> None:
        for (_, done), outcome in zip(batch.operations, batch.outcomes, strict=True):
            _respond(done, outcome)

    def _follow_sessions(self, write_batch: WriteBatch, now: float) -> None:
        for id_, session in write_batch.sessions.items():
            if session is None:
                self._clocks.stop(id_)
            else:
                self._clocks.start(session, now)
        self._sessions_changed.set()


def _respond(done: Done, outcome: Outcome | KvError) -> None:
    """Tell one writer, whose failure is no other's."""
    try:
        done(outcome)
    except Exception:
        _log.exception("a writer did not get its response")
