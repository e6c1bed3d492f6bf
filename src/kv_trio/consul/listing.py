"""Listings: JSON arrays of any length, written in pieces. Pure.

One is made in steps, each of which is short: it looks at `STEP` items or writes about
`PIECE` bytes. So whoever runs it can serve others between two steps, and never has more
of it in memory than a piece. The items are values that do not change, so the listing is of
the one state in which they were gathered.

The rule that it obeys: all items are looked at before the first byte is written, so a
listing that is too large is refused, not cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import attrs

from kv_trio.consul.encode import describe, dump_json, fold, write_entry, write_key
from kv_trio.consul.parameters import Read
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.entry import Entry

STEP = 1024
"""Items that one step looks at."""

PIECE = 128 * 1024
"""Bytes, about, that one step writes; more only if one item has more."""

SMALL_ITEMS = 1024
SMALL_BYTES = 1024 * 1024
"""What is within both is written at once."""

_PRETTY = (b"[\n", b"\n]\n", b",\n")  # what stands around, and between
_FIELDS = 100  # bytes of an entry beside its key and its value


@attrs.frozen
class LargeListing:
    """A response that lists items.

    Attributes:
        items: in order; frozen.
        write: gives an item's JSON.
        size: gives about its bytes.
        headers: the response's.
        opening, closing: what stands around the items.
        between: what stands between two.
        keep: gives the item as it is listed; None to leave it out. One that is like
            the one before it is left out, too.
    """

    items: Sequence[Any]
    write: Callable[[Any], bytes]
    size: Callable[[Any], int]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    opening: bytes = b"["
    closing: bytes = b"]"
    between: bytes = b","
    keep: Callable[[Any], Any] | None = None

    @property
    def is_small(self) -> bool:
        """Whether it can be written at once, in a millisecond or two."""
        items = self.items
        return len(items) <= SMALL_ITEMS and sum(map(self.size, items)) <= SMALL_BYTES

    def steps(self, limits: StoreLimits) -> Iterator[bytes]:
        """Give its pieces, one a step; empty ones while it is looked at.

        Raises:
            BadQuery: it is larger than a response may be; before the first piece.
        """
        kept: list[Any] = []
        size = 0
        for start in range(0, len(self.items), STEP):
            found = self.items[start : start + STEP]
            if self.keep is not None:
                found = _filtered(found, self.keep, kept[-1:])
            kept += found
            size = sum(map(self.size, found), size)
            check_size(size, limits)
            yield b""
        yield from self._pieces(kept)

    def _pieces(self, items: Sequence[Any]) -> Iterator[bytes]:
        lead, piece, size = self.opening, [b""], 0
        for number, item in enumerate(items, 1):
            written = self.write(item)
            piece += (lead, written)
            lead = self.between
            size += len(written)
            if size >= PIECE or number % STEP == 0:
                yield b"".join(piece)
                piece, size = [], 0
        if lead is self.opening:
            piece.append(self.opening)
        piece.append(self.closing)
        yield b"".join(piece)


def check_count(count: int, limits: StoreLimits) -> None:
    """Check how many items a response lists.

    Raises:
        BadQuery: too many; it says what to do.
    """
    if count > limits.listing_entries:
        raise BadQuery(
            413,
            f"{count} entries, and one response lists {limits.listing_entries} at most;"
            " narrow the prefix, or raise the store's limit:"
            " --limit listing_entries=NUMBER",
        )


def check_size(size: int, limits: StoreLimits) -> None:
    """Check how large a listing is.

    Raises:
        BadQuery: too large; it says what to do.
    """
    if size > limits.listing_bytes:
        raise BadQuery(
            413,
            f"{size} bytes or more, and one response has about {limits.listing_bytes} at"
            " most; narrow the prefix, or raise the store's limit:"
            " --limit listing_bytes=NUMBER",
        )


def list_entries(
    entries: Sequence[Entry], read: Read, headers: tuple[tuple[bytes, bytes], ...]
) -> LargeListing:
    """Give the listing of entries that a read of a prefix asks for."""
    if read.pretty:
        return LargeListing(entries, _write_pretty, size_of, headers, *_PRETTY)
    return LargeListing(entries, write_entry, size_of, headers)


def list_keys(
    keys: Sequence[bytes], read: Read, headers: tuple[tuple[bytes, bytes], ...]
) -> LargeListing:
    """Give the listing of keys that a read of a prefix asks for."""
    keep = partial(fold, read=read) if read.separator else None
    if read.pretty:
        return LargeListing(keys, _write_pretty_key, len, headers, *_PRETTY, keep)
    return LargeListing(keys, write_key, len, headers, keep=keep)


def size_of(entry: Entry) -> int:
    """Give about the bytes of an entry's JSON."""
    return len(entry.value) * 4 // 3 + len(entry.key) + _FIELDS


def _filtered(
    items: Sequence[Any], keep: Callable[[Any], Any], before: list[Any]
) -> list[Any]:
    kept, count = before, len(before)
    for item in map(keep, items):
        if item is not None and item != (kept[-1] if kept else None):
            kept.append(item)
    return kept[count:]


def _write_pretty(entry: Entry) -> bytes:
    return _indented(dump_json(describe(entry), pretty=True))


def _write_pretty_key(key: bytes) -> bytes:
    return _indented(write_key(key) + b"\n")


def _indented(lines: bytes) -> bytes:
    return b"    " + lines[:-1].replace(b"\n", b"\n    ")
