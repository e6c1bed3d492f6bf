"""Keys in order, of which those with a prefix stand together. Pure.

So where they begin and end is found by a few comparisons, and how many there are by a
subtraction, whatever their number.
"""

from __future__ import annotations

from typing import Protocol


class Ordered(Protocol):
    """Keys in order: of a dictionary, or a list."""

    def __len__(self) -> int:
        """Give how many there are."""

    def bisect_left(self, value: bytes) -> int:
        """Give how many are less than a key."""


def range_under(keys: Ordered, prefix: bytes) -> tuple[int, int]:
    """Give the positions of the first key with a prefix, and of the first beyond them."""
    start = keys.bisect_left(prefix) if prefix else 0
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return start, len(keys)
    return start, keys.bisect_left(stem[:-1] + bytes([stem[-1] + 1]))
