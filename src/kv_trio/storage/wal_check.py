"""Damage in SQLite's write-ahead log: what a crash does not explain. Pure.

SQLite reads its log up to the first frame whose checksum does not fit, and silently
drops the rest: that is how it gets rid of a transaction that a crash cut off. A flipped
bit looks the same, and takes all that was written after it along. But a transaction
here begins only when the one before is on disk, so a crash cuts off one at the most:
where two or more have ended behind the first frame that does not fit, or where the
log's header makes no sense, it is damage.

(SQLite's documentation, "Database File Format", section 4: a header of 32 bytes, then
frames, each with a header of 24 bytes and a page; checksums go on from frame to frame.)
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682  # the lowest bit: whether checksums are over big-endian numbers
_MASK = 0xFFFFFFFF

Sums = tuple[int, int]


def find_damage(log: bytes) -> str:
    """Give what is wrong with a log; empty if nothing is.

    >>> find_damage(b"")
    ''
    """
    if not log.strip(b"\0"):
        return ""
    if len(log) < _HEADER.size:
        return "its log has no whole header"
    magic, _, page_size, _, *salts, one, two = _HEADER.unpack_from(log)
    if magic & ~1 != _MAGIC:
        return "its log has no header"
    order = ">" if magic & 1 else "<"
    if _add((0, 0), log[:24], order) != (one, two):
        return "the header of its log does not fit its checksum"
    sums, size, fits, ended = (one, two), _FRAME.size + page_size, True, 0
    for start in range(_HEADER.size, len(log) - size + 1, size):
        _, commit, *frame_salts, one, two = _FRAME.unpack_from(log, start)
        if frame_salts != salts:
            fits = False  # of an older log, which was brought into the database
            continue
        if fits:
            sums = _add(sums, log[start : start + 8], order)
            sums = _add(sums, log[start + _FRAME.size : start + size], order)
            fits = sums == (one, two)
        if not fits and commit:
            ended += 1
    if ended > 1:
        return f"{ended} transactions in its log are behind one that is damaged"
    return ""


def _add(sums: Sums, data: bytes, order: str) -> Sums:
    """Go on with two running sums over data, whose numbers have a byte order."""
    one, two = sums
    numbers = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for number in numbers:
        one = (one + number + two) & _MASK
        two = (two + next(numbers) + one) & _MASK
    return one, two
