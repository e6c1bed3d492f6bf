"""A data directory that one server leaves to the next, while no client is refused.

One server has the directory, by its lock. The next one may wait for it; it holds the file
`next` meanwhile, so that at most one waits, and the owner knows of it. An owner that leaves
says so in the file of the lock. Then the next one listens, on a port that both share, and
takes nobody yet; the owner sees that, and stops listening. Who comes until the lock is free
and the data is loaded waits in the kernel's queue.

The rule that it obeys: there is no moment in which nobody listens, and none in which two
have the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from http_trio import HttpServer
from kv_trio.errors import StorageError, StoreLocked
from kv_trio.storage.directory import LOCK, NEXT, OPEN_OWN
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.history import Bounds

SUCCESSOR_S = 2.0
"""How long a server that leaves goes on listening until the one that waits listens, too."""

LOOK_S = 0.05
"""How often who waits looks whether it is its turn."""

_LEAVING = b"leaving\n"


async def open_engine(
    directory: Path | None,
    bounds: Bounds | None,
    wait_s: float,
    *,
    on_waiting: Callable[[], None],
    on_leaving: Callable[[], None],
) -> StorageEngine:
    """Open a data directory once no other server has it.

    Args:
        directory: of the data; None for a store in memory.
        bounds: of its history.
        wait_s: how long it is waited for; 0 to fail at once.
        on_waiting: called once, if another server has it.
        on_leaving: called once, when that one says that it leaves, or has gone.

    Raises:
        StorageError, StoreDamaged: as `StorageEngine`.
        StoreLocked: another server has it still, or another one waits for it, too.
    """
    until = trio.current_time() + wait_s
    with contextlib.ExitStack() as waiting:
        told = listens = False
        while True:
            try:
                engine = await trio.to_thread.run_sync(StorageEngine, directory, bounds)
            except StoreLocked as exc:
                assert directory is not None, "nobody has a lock in memory"
                if not wait_s:
                    raise
                if trio.current_time() >= until:
                    raise StoreLocked(f"{exc} (waited {wait_s:g} s for it)") from exc
                if not told:
                    waiting.enter_context(_next_in_turn(directory))
                    on_waiting()
                    told = True
                if not listens and _is_left(directory):
                    on_leaving()
                    listens = True
            else:
                if told and not listens:  # the one before us ended without a word
                    with contextlib.ExitStack() as opened:
                        opened.callback(engine.close)
                        on_leaving()
                        opened.pop_all()
                return engine
            await trio.sleep(LOOK_S)


async def leave(
    engine: StorageEngine, server: HttpServer, deadline_s: float, lame_duck_s: float
) -> None:
    """End a server that drains already, once the one that waits for its data listens.

    Args:
        engine: of its data, in a directory.
        server: it has begun to drain, and is a lame duck for at least `SUCCESSOR_S` more.
        deadline_s: what is in progress has so long to end.
        lame_duck_s: for so long it goes on listening in any case.
    """
    assert engine.directory is not None, "nobody waits for a memory"
    await trio.sleep(lame_duck_s)
    with contextlib.suppress(OSError):  # then it is seen when the lock is free
        os.pwrite(engine.lock, _LEAVING, 0)
    if _is_awaited(engine.directory):
        with trio.move_on_after(SUCCESSOR_S):
            while not server.has_successor:  # noqa: ASYNC110  # it is another process
                await trio.sleep(LOOK_S)
    server.drain(deadline_s, lame_duck_s=0.0)


def _is_awaited(directory: Path) -> bool:
    """Tell whether another server waits for a directory that we have."""
    try:
        with _next_in_turn(directory):
            return False
    except StoreLocked:
        return True
    except StorageError:
        return False


@contextlib.contextmanager
def _next_in_turn(directory: Path) -> Iterator[None]:
    """Be the one that waits for a directory.

    Raises:
        StoreLocked: another one is.
        StorageError: that cannot be said on this disk.
    """
    try:
        file = os.open(directory / NEXT, OPEN_OWN, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot use {directory}: {exc.strerror}") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreLocked(
            f"another server has {directory} open, and another one waits for it"
        ) from None
    finally:
        os.close(file)


def _is_left(directory: Path) -> bool:
    try:
        return (directory / LOCK).read_bytes() == _LEAVING
    except OSError:
        return False
