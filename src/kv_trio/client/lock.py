"""Holding a lock: a session that is kept alive beside a block of code.

The lock is a key that the session has acquired (Consul's semaphores and leader
election are built so). It is advisory, and a lease: when it cannot be renewed in time,
somebody else may have it, so the block is cancelled then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from kv_trio.client.background import run_in_background
from kv_trio.client.results import Snapshot, WriteResult
from kv_trio.client.watch import Backoff
from kv_trio.errors import KvError, LockLost

_GOODBYE_S = 1.0  # for giving a lock back
_RETRY_S = 0.5  # the longest pause while nobody has the lock, but it is delayed
_RENEWALS = 3  # per time to live


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


@asynccontextmanager
async def hold_lock(
    store: LockStore, key: str, value: bytes, *, ttl_s: float
) -> AsyncIterator[str]:
    """Have a lock while the block runs; see `Client.lock`."""
    session = await store.create_session(f"lock {key}", ttl_s, deletes=False)
    lost = ""

    async def keep() -> None:
        nonlocal lost
        lost = await _renew(store, session, ttl_s)

    try:
        async with run_in_background(keep):
            await _acquire(store, key, value, session)
            yield session
        if lost:
            raise LockLost(f"the lock of {key!r} was lost: {lost}")
    finally:
        with trio.move_on_after(_GOODBYE_S, shield=True):
            try:
                await store.put(key, value, release=session)
                await store.destroy_session(session)
            except KvError:
                pass  # the session ends by itself


async def _acquire(store: LockStore, key: str, value: bytes, session: str) -> None:
    backoff = Backoff(_RETRY_S, _RETRY_S)
    while True:
        if (await store.put(key, value, acquire=session)).done:
            return
        snapshot = await store.get(key)
        if snapshot.entry is not None and snapshot.entry.session is not None:
            await store.get(key, index=max(1, snapshot.index))
        else:  # nobody has it, but it was lost too recently to be taken
            await backoff.pause()


async def _renew(store: LockStore, session: str, ttl_s: float) -> str:
    """Keep a session alive; give why it has ended."""
    held_until = trio.current_time() + ttl_s
    while True:
        await trio.sleep(ttl_s / _RENEWALS)
        sent_at = trio.current_time()
        reason = "no response"
        with trio.move_on_at(held_until):
            try:
                if not await store.renew_session(session):
                    return "its session has ended"
                held_until = sent_at + ttl_s
            except KvError as exc:
                reason = str(exc)
        if trio.current_time() >= held_until:
            return f"it could not be renewed in {ttl_s:g} s: {reason}"
