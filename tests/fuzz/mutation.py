"""Inputs near the seeds: a few edits with what parsers stumble over."""

from __future__ import annotations

import random
from collections.abc import Sequence

_PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b'"',
        b"\\",
        b"=",
        b"#",
    ),
    *(
        b"/",
        b"*",
        b"@",
        b"[",
        b"]",
        b"{",
        b"}",
        b"%",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\x0b",
    ),
    *(
        b"0",
        b"1",
        b"9",
        b"-",
        b"+",
        b"e",
        b"f",
        b"0x",
        b"3\r\nabc\r\n",
        b"\r\n\r\n",
        b"\r\n ",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"),
    *(
        b"Connection: close, host\r\n",
        b"Connection:upgrade\r\nUpgrade:h2c\r\n",
        b"chunked",
    ),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"http://",
        b"GET ",
        b"\r\nGET / HTTP/1.1\r\n",
        b"null",
    ),
    *(b"true", b"1e999", b'"servers"', b'"\\ud800"', b"NaN", b"0.0001", b"[0]", b"../"),
)


def mutated(seeds: Sequence[bytes], seed: int) -> bytes:
    """Give one of the seeds with a few edits, always the same for one number."""
    chance = random.Random(seed)
    data = chance.choice(seeds)
    for _ in range(chance.randrange(6)):
        data = _edited(data, chance, seeds)
    return data


def _edited(data: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.randrange(1, 9))
    piece = chance.choice(_PIECES)
    changed = (
        piece + data[at:],
        piece + data[end:],
        data[end:],
        data[at:end] * 3 + data[end:],
        bytes([chance.randrange(256)]) + data[at + 1 :],
        chance.choice(seeds)[at:],
        data[at:end].swapcase() + data[end:],
    )
    return data[:at] + chance.choice(changed)
