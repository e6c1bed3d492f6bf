"""How many requests each client has left, in memory that several processes may share. Pure.

One number tells it: the time at which a client's next request would come if all came
evenly (its theoretical arrival time). That is the generic cell rate algorithm (ITU-T I.371),
a leaky bucket without a tick: a request passes if that time is no further ahead than the
burst allows, and moves it on by the time between two requests.

A cell is a key (64 bits of a keyed hash) and such a time. A key belongs to one of the sets,
of eight cells; where a set is full the cell with the oldest time makes room. A time that is
past carries nothing, so only a client that has requests to pay for can be forgotten, and
only where eight of its set have. The hash has a secret of its own, so nobody can choose keys
that meet in a set.

The rule that it obeys: a cell is read and written under the lock of its set. Where the lock
cannot be had, because the process that has it was stopped with it, it goes on without: then
two that change one cell at the same time may count one request instead of two. A process that
is killed gives its lock back; half of what it wrote may be there, of that one set.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from typing import Protocol

CELLS = 65_536
"""Clients that are told apart by default, of all limits together; 16 bytes each."""

MOST_CLIENTS = 1 << 26
"""That number at most: a gigabyte."""

WAYS = 8
"""Cells of a set."""

SKEW = 1_000_000_000
"""Nanoseconds by which two who share the memory may have read the time apart."""

HEAD = 128
"""Bytes before the first set; the first of them are the secret of the hash."""

SET = 16 * WAYS
"""Bytes of a set: its keys, then its times."""

SECRET = 16
"""Bytes of the secret."""

_SHIFT = (2 * WAYS).bit_length() - 1
_FIRST = HEAD // 8


class Lock(Protocol):
    """What keeps other processes from a set."""

    def acquire(self, offset: int) -> bool:
        """Take the lock of the set at an offset in bytes; False if it cannot be had."""

    def release(self, offset: int) -> None:
        """Give it back."""


class Cells:
    """The cells of all limits.

    Args:
        memory: of `size_of` bytes, zero at first but for the secret; shared or not.
        lock: where other processes use the same memory; None where none does.

    Attributes:
        forgotten: cells that made room although they had something to say.
    """

    __slots__ = ("_base", "_lock", "_mask", "_view", "forgotten")

    def __init__(self, memory: memoryview, lock: Lock | None = None) -> None:
        sets = (memory.nbytes - HEAD) // SET
        assert sets > 0, "there is room for one set"
        assert sets & (sets - 1) == 0, "their number is a power of two"
        self._base = hashlib.blake2b(digest_size=8, key=bytes(memory[:SECRET]))
        self._view = memory.cast("B").cast("q")
        self._mask = sets - 1
        self._lock = lock
        self.forgotten = 0

    def __repr__(self) -> str:
        return f"<Cells of {(self._mask + 1) * WAYS} forgotten={self.forgotten}>"

    @classmethod
    def private(cls, secret: bytes, cells: int = CELLS) -> Cells:
        """Give cells of this process alone."""
        memory = mmap.mmap(-1, size_of(cells))  # what is never used takes no memory
        memory[:SECRET] = secret
        return cls(memoryview(memory))

    def keys_of(self, owner: bytes) -> Callable[[bytes], int]:
        """Give what makes the keys of a limit, of what tells a client from others.

        Args:
            owner: the limit, and whose it is: no other one's keys are the same.
        """
        begun = self._base.copy()
        begun.update(b"%d:%b" % (len(owner), owner))

        def key(value: bytes) -> int:
            hashed = begun.copy()
            hashed.update(value)
            return int.from_bytes(hashed.digest(), "little", signed=True)

        return key

    def take(self, key: int, now: int, interval: int, tolerance: int) -> int:
        """Let a request pass, and give 0; or give the time until one passes.

        Args:
            key: of the client.
            now: the time, on a clock that all who share the memory have.
            interval: between two requests that come evenly.
            tolerance: how far ahead a request may come: the burst less one, in intervals.
        """
        at = _FIRST + ((key & self._mask) << _SHIFT)
        lock, held = self._lock, False
        if lock is not None:
            held = lock.acquire(at << 3)
        view = self._view
        keys = view[at : at + WAYS].tolist()
        if key in keys:
            place = at + WAYS + keys.index(key)
            due = view[place]
            due = max(due, now)
        else:
            place, due = self._make_room(at, key, now), now
        wait = due - now - tolerance
        if wait <= 0:
            view[place] = due + interval
            wait = 0
        elif wait > interval + SKEW:  # a stricter limit's: the burst is spent, no more
            view[place] = now + tolerance + interval
            wait = interval
        if held and lock is not None:
            lock.release(at << 3)
        return wait

    def give_back(self, key: int, interval: int) -> None:
        """Undo a request that `take` let pass."""
        at = _FIRST + ((key & self._mask) << _SHIFT)
        held = self._lock is not None and self._lock.acquire(at << 3)
        keys = self._view[at : at + WAYS].tolist()
        if key in keys:
            self._view[at + WAYS + keys.index(key)] -= interval
        if held and self._lock is not None:
            self._lock.release(at << 3)

    def ahead(self, key: int, now: int) -> int:
        """Give how far ahead of the time a client's next request is; at least 0."""
        at = _FIRST + ((key & self._mask) << _SHIFT)
        keys = self._view[at : at + WAYS].tolist()
        if key not in keys:
            return 0
        return max(self._view[at + WAYS + keys.index(key)] - now, 0)

    def _make_room(self, at: int, key: int, now: int) -> int:
        """Give the place of a new key's time."""
        dues = self._view[at + WAYS : at + 2 * WAYS].tolist()
        oldest = min(dues)
        way = dues.index(oldest)
        if oldest > now:
            self.forgotten += 1
        self._view[at + WAYS + way] = now  # before the key: it may be killed between
        self._view[at + way] = key
        return at + WAYS + way


def size_of(cells: int) -> int:
    """Give the bytes of so many cells, or a few more.

    >>> size_of(1), size_of(65_536)
    (256, 1048704)
    """
    sets = max(1, -(-cells // WAYS))
    return HEAD + SET * (1 << (sets - 1).bit_length())
