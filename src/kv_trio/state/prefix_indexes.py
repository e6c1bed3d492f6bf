"""The index of a prefix: the number of the last change under it, found once. Pure.

To find it, each key under the prefix is looked at. Many wait on few prefixes and ask again
after each change, so what was found is kept with the store's index at that time; later it
is brought up to date by the changes since, which are remembered for a while.

The rule that it obeys: what is kept was the greatest number of a change under the prefix.
Where a deleted key is forgotten meanwhile, the store's floor is above that number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

_CHANGES = 8192  # changed keys that are remembered
_PREFIXES = 1024  # whose index is kept
_LENGTH = 4096  # of such a prefix at most


class PrefixIndexes:
    """What is known of the indexes of prefixes."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, int]] = {}  # the index, and when it was so
        self._changes: deque[tuple[int, bytes]] = deque()  # oldest first
        self._complete_from = 0  # changes after this index are all remembered

    def __repr__(self) -> str:
        return f"<PrefixIndexes of {len(self._known)}>"

    def note(self, keys: Collection[bytes], index: int) -> None:
        """Note the keys that changed up to a store's new index."""
        changes = self._changes
        if len(keys) > _CHANGES:
            changes.clear()
            self._complete_from = index
            return
        for key in keys:
            changes.append((index, key))
        while len(changes) > _CHANGES:
            self._complete_from = changes.popleft()[0]

    def find(
        self,
        prefix: bytes,
        index: int,
        index_of: Callable[[bytes], int],
        look: Callable[[], int],
    ) -> int:
        """Give the index of a prefix.

        Args:
            prefix: whose index it is.
            index: the store's.
            index_of: gives the number of a key's last change.
            look: looks at all keys under the prefix.
        """
        known = self._known.get(prefix)
        if known is None or known[1] < self._complete_from:
            found = look()
        else:
            found, seen = known
            for at, key in reversed(self._changes):
                if at <= seen:
                    break
                if key.startswith(prefix):
                    found = max(found, index_of(key))
        self._keep(prefix, found, index)
        return found

    def forget(self) -> None:
        """Forget all; the store is another one."""
        self._known.clear()
        self._changes.clear()

    def _keep(self, prefix: bytes, found: int, index: int) -> None:
        if len(prefix) > _LENGTH:
            return
        if prefix not in self._known and len(self._known) >= _PREFIXES:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[prefix] = found, index
