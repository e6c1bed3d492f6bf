"""Answers that hold for a while: a bounded table. Pure.

The rule that it obeys: it never holds more than its number of answers, nor more than its bytes,
however many clients ask; then the oldest go.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

CACHE_BYTES = 16 * 1024 * 1024
"""Of all answers of one table at most, about."""

_OF_ENTRY = 300  # bytes of an entry beside what it holds


class AnswerCache(Generic[T]):
    """Values by keys, each for a time of its own.

    >>> cache = AnswerCache[str](entries=2)
    >>> cache.put(b"a", "yes", until=10.0)
    >>> cache.get(b"a", now=9.0), cache.get(b"a", now=10.0), len(cache)
    ('yes', None, 0)

    Args:
        entries: that it holds at most.
        size: bytes that it holds at most.
    """

    def __init__(self, entries: int, size: int = CACHE_BYTES) -> None:
        self._entries, self._size = entries, size
        self._held: dict[bytes, tuple[float, T, int]] = {}
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<AnswerCache {len(self._held)} of {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes, now: float) -> T | None:
        """Give the value that holds now; None if there is none."""
        found = self._held.get(key)
        if found is None:
            return None
        if found[0] <= now:
            self.discard(key)
            return None
        return found[1]

    def put(self, key: bytes, value: T, *, until: float, size: int = 0) -> None:
        """Hold a value, of so many bytes, until then; not at all if there is no room."""
        self.discard(key)
        size += _OF_ENTRY
        if size > self._size:
            return
        while self._held and (
            len(self._held) >= self._entries or self._bytes + size > self._size
        ):
            self.discard(next(iter(self._held)))
        self._held[key] = (until, value, size)
        self._bytes += size

    def discard(self, key: bytes) -> None:
        """Hold nothing by this key."""
        found = self._held.pop(key, None)
        if found is not None:
            self._bytes -= found[2]
