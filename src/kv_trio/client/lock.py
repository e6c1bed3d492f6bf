"""Holding a lock: a session that is kept alive beside a block of code.

The lock is a key that the session has acquired (Consul's semaphores and leader
election are built so). It is advisory, and a lease: when it cannot be renewed in time,
somebody else may have it. So the block is cancelled before that can be.

Only the holder's own clock tells when. The server counts from when a request came to
it, which was not before it was sent; so the session lives at least for its time to live
from when the last request that was answered well was *sent*, be it the session's
creation or a renewal. The answer may have taken any time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import trio

from kv_trio.client.background import run_in_background
from kv_trio.client.poll_budget import PollBudget
from kv_trio.client.results import Snapshot, WriteResult
from kv_trio.client.watch import Backoff, wait_turn
from kv_trio.errors import KvError, LockLost

_GOODBYE_S = 1.0  # for giving a lock back
_RETRY_S = 0.5  # the longest pause while nobody has the lock, but it is delayed
_RENEWALS = 3  # per time to live
_SILENCE = "no response"
_MARGIN = 0.1  # of a time to live, in which a block that is cancelled comes to its end


class LockStore(Protocol):
    """What a lock needs of a store; a `Client` has it."""

    async def get(self, key: str, *, index: int = 0) -> Snapshot:
        """Read a key; with an index, when it is passed."""

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        """Write a key, if a session gets, or loses, its lock."""

    async def create_session(self, name: str, ttl_s: float, *, deletes: bool) -> str:
        """Begin a session; give its id."""

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""

    async def destroy_session(self, id_: str) -> None:
        """End a session."""


@attrs.define
class _Lease:
    """How long a session lives at least, by the holder's clock.

    Attributes:
        ttl_s: its time to live.
        sent_at: when the last request was sent that began that time anew.
        trouble: why it was not renewed since.
        lost: why it is over; empty while it is not.
    """

    ttl_s: float
    sent_at: float
    trouble: str = _SILENCE
    lost: str = ""

    @property
    def held_until(self) -> float:
        """When a block must be cancelled that is to end before the session can."""
        return self.sent_at + self.ttl_s * (1 - _MARGIN)


@asynccontextmanager
async def hold_lock(
    store: LockStore, key: str, value: bytes, *, ttl_s: float
) -> AsyncIterator[str]:
    """Have a lock while the block runs; see `Client.lock`."""
    lease = _Lease(ttl_s, trio.current_time())
    session = await store.create_session(f"lock {key}", ttl_s, deletes=False)
    try:
        async with run_in_background(partial(_keep, store, session, lease)):
            await _acquire(store, key, value, session)
            if trio.current_time() >= lease.held_until:
                await trio.sleep_forever()  # `_keep` is about to end this
            yield session
        if lease.lost:
            raise LockLost(f"the lock of {key!r} was lost: {lease.lost}")
    finally:
        with trio.move_on_after(_GOODBYE_S, shield=True):
            try:
                await store.put(key, value, release=session)
                await store.destroy_session(session)
            except KvError:
                pass  # the session ends by itself


async def _acquire(store: LockStore, key: str, value: bytes, session: str) -> None:
    budget = PollBudget()
    backoff = Backoff(_RETRY_S, _RETRY_S)
    while True:
        await wait_turn(budget)
        if (await store.put(key, value, acquire=session)).done:
            return
        await wait_turn(budget)
        snapshot = await store.get(key)
        if not _is_held(snapshot):  # but it was lost too recently to be taken
            await backoff.pause()
        while _is_held(snapshot):
            await wait_turn(budget)
            snapshot = await store.get(key, index=max(1, snapshot.index))


def _is_held(snapshot: Snapshot) -> bool:
    return snapshot.entry is not None and snapshot.entry.session is not None


async def _keep(store: LockStore, session: str, lease: _Lease) -> None:
    """Renew a session until it has ended, or may end before it could be renewed."""
    budget = PollBudget()
    backoff = Backoff()
    step_s = lease.ttl_s / _RENEWALS
    try_at = lease.sent_at + step_s
    while trio.current_time() < lease.held_until:
        await trio.sleep_until(min(try_at, lease.held_until))
        with trio.move_on_at(lease.held_until), trio.move_on_after(step_s):
            await wait_turn(budget)
            sent_at = trio.current_time()
            try_at = sent_at + step_s  # also if there is no response until then
            try:
                if not await store.renew_session(session):
                    lease.lost = "its session has ended"
                    return
            except KvError as exc:
                lease.trouble = str(exc)
                try_at = trio.current_time() + backoff.next_s()
            else:
                lease.sent_at, lease.trouble = sent_at, _SILENCE
                backoff.reset()
    left_s = lease.held_until - lease.sent_at
    lease.lost = f"it could not be renewed in {left_s:g} s: {lease.trouble}"
