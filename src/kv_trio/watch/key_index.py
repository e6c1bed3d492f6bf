"""The key index: who waits for which keys and prefixes. Pure.

Each is filed under a key, or under a prefix. A change looks up those of its key, and
those of its prefixes of each length that anybody watches; so what it costs depends on
whom it concerns and on how many different lengths there are, not on how many wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)


class KeyIndex(Generic[Waiter]):
    """Waiters, each filed under one key or one prefix."""

    def __init__(self) -> None:
        self._of_key: dict[bytes, dict[Waiter, None]] = {}
        self._of_prefix: dict[bytes, dict[Waiter, None]] = {}
        self._lengths: Counter[int] = Counter()  # of the prefixes
        self._count = 0

    def __repr__(self) -> str:
        return f"<KeyIndex of {self._count}>"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiter]:
        """Give all waiters, in no order."""
        for groups in (self._of_key, self._of_prefix):
            for group in list(groups.values()):
                yield from list(group)

    def add(self, waiter: Waiter, key: bytes, *, prefix: bool) -> None:
        """File a waiter under a key, or under a prefix."""
        groups = self._of_prefix if prefix else self._of_key
        group = groups.get(key)
        if group is None:
            group = groups[key] = {}
            if prefix:
                self._lengths[len(key)] += 1
        group[waiter] = None
        self._count += 1

    def discard(self, waiter: Waiter, key: bytes, *, prefix: bool) -> bool:
        """Forget a waiter that was filed under this key or prefix; give whether it was."""
        groups = self._of_prefix if prefix else self._of_key
        group = groups.get(key)
        if group is None or waiter not in group:
            return False
        del group[waiter]
        self._count -= 1
        if not group:
            del groups[key]
            if prefix:
                self._lengths[len(key)] -= 1
                self._lengths += Counter()  # drops what came to zero
        return True

    def matching(self, key: bytes) -> Iterator[Waiter]:
        """Give the waiters that a change of a key concerns."""
        yield from self._of_key.get(key, ())
        for length in self._lengths:
            if length <= len(key):
                yield from self._of_prefix.get(key[:length], ())
