"""Holding a lock: a session that is kept alive beside a block of code.

The lock is a key that the session has acquired (Consul's semaphores and leader
election are built so). It is advisory, and a lease: when it cannot be renewed in time,
somebody else may have it, so the block is cancelled then.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from kv_trio.client.background import beside
from kv_trio.errors import KvError, LockLost

if TYPE_CHECKING:
    from kv_trio.client.client import Client

_GOODBYE_S = 1.0  # for giving a lock back
_RETRY_S = 0.5  # the longest pause while a lock-delay keeps a free lock from us
_RENEWALS = 3  # per time to live


@asynccontextmanager
async def hold_lock(
    client: Client, key: str, value: bytes, *, ttl_s: float
) -> AsyncIterator[str]:
    """Have a lock while the block runs; see `Client.lock`."""
    session = await client.create_session(f"lock {key}", ttl_s, deletes=False)
    lost = ""

    async def keep() -> None:
        nonlocal lost
        lost = await _renew(client, session, ttl_s)

    try:
        async with beside(keep):
            await _acquire(client, key, value, session)
            yield session
        if lost:
            raise LockLost(f"the lock of {key!r} was lost: {lost}")
    finally:
        with trio.move_on_after(_GOODBYE_S, shield=True):
            try:
                await client.put(key, value, release=session)
                await client.destroy_session(session)
            except KvError:
                pass  # it ends by itself


async def _acquire(client: Client, key: str, value: bytes, session: str) -> None:
    while True:
        if (await client.put(key, value, acquire=session)).done:
            return
        snapshot = await client.get(key)
        if snapshot.entry is not None and snapshot.entry.session is not None:
            await client.get(key, index=max(1, snapshot.index))
        else:  # it is free, but not yet for us
            await trio.sleep(random.random() * _RETRY_S)


async def _renew(client: Client, session: str, ttl_s: float) -> str:
    """Keep a session alive; give why it has ended."""
    held_until = trio.current_time() + ttl_s
    while True:
        await trio.sleep(ttl_s / _RENEWALS)
        asked = trio.current_time()
        reason = "no answer"
        with trio.move_on_at(held_until):
            try:
                if not await client.renew_session(session):
                    return "its session has ended"
                held_until = asked + ttl_s
            except KvError as exc:
                reason = str(exc)
        if trio.current_time() >= held_until:
            return f"it could not be renewed in {ttl_s:g} s: {reason}"
