"""A judge as text, and back: small, and exact. Pure."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from array import array

from canary_trio.rollout.judge import JudgeNumbers
from canary_trio.rollout.latency import BOUNDS_S, Latencies

_MOST_RAW = 1 << 16


def pack(numbers: JudgeNumbers) -> str:
    """Write a judge's numbers: their counts, doubles, singles, pairs of the warm-ups."""
    pairs = [sorted(warm_up.items()) for warm_up in numbers.warm_ups]
    counts = [len(numbers.proves), len(numbers.shown), *map(len, pairs)]
    raw = struct.pack(f"<B{len(counts)}H", len(counts), *counts)
    raw += struct.pack(f"<{len(numbers.proves)}d", *numbers.proves)
    raw += struct.pack(f"<{len(numbers.shown)}f", *numbers.shown)
    for one in pairs:
        raw += b"".join(struct.pack("<HI", at, count) for at, count in one)
    return base64.b85encode(zlib.compress(raw, 9)).decode()


def unpack(text: str) -> JudgeNumbers:
    """Read what `pack` gave.

    Raises:
        ValueError: it is none.
    """
    try:
        return _unpack(text)
    except (struct.error, zlib.error) as exc:
        raise ValueError(f"found no numbers of a judge: {exc}") from exc


def _unpack(text: str) -> JudgeNumbers:
    raw = zlib.decompressobj().decompress(base64.b85decode(text), _MOST_RAW)
    (size,) = struct.unpack_from("<B", raw)
    counts = struct.unpack_from(f"<{size}H", raw, 1)
    at = 1 + 2 * size
    proves = struct.unpack_from(f"<{counts[0]}d", raw, at)
    at += 8 * counts[0]
    shown = array("f", struct.unpack_from(f"<{counts[1]}f", raw, at))
    at += 4 * counts[1]
    if any(map(math.isnan, (*proves, *shown))):
        raise ValueError("found no numbers")
    warm_ups: list[Latencies] = []
    for count in counts[2:]:
        pairs = dict(struct.iter_unpack("<HI", raw[at : at + 6 * count]))
        at += 6 * count
        if any(one > len(BOUNDS_S) for one in pairs):
            raise ValueError("found no interval of latency")
        warm_ups.append(pairs)
    return JudgeNumbers(proves, shown, tuple(warm_ups))
