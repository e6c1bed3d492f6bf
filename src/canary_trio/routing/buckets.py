"""Users are split by arithmetic: a key has a bucket, a bucket has an arm. Pure.

A user's key gives a bucket in [0, 10 000), the same on every proxy. Which buckets are
an arm's is computed from the ratio alone:

    `canary` (or else the first)    from 0 upwards
    the second                      from the end downwards
    the third, fourth, ...          from a home upwards, over what is free, and round:
                                    the homes are 1/2, 1/4, 3/4, 1/8, 5/8, 3/8, ...
    `stable`                        the rest

So with one or two arms beside `stable` a share that is raised moves nobody back, one
that is lowered moves only the excess, and no change of one share touches the other's
users. With three and more no layout can promise that: let A(s) be the buckets of an
arm with share s, whatever the others have. A(s) and B(1-s) share nothing and are all
there is; so are A(s) and C(1-s); so B = C, and both overlap. Here it still holds as long
as each arm has room behind its home. Where one grows into another's buckets, that one
takes the next free ones: a bucket given or taken moves at most one bucket of each arm
behind it (in the order of the table), and none of those before it. An arm that is added
at the end moves only what it gets.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping

import attrs

from canary_trio.config.model import CANARY, STABLE, WHOLE


def bucket(key: bytes, salt: bytes) -> int:
    """Give a key's bucket: keyed BLAKE2b (RFC 7693), 8 bytes, modulo 10 000.

    The bias of the modulo is below 1e-15.

    Args:
        key: of a user, any length.
        salt: at most 64 bytes; another one draws all users anew.

    >>> bucket(b"ann", b"web/0") == bucket(b"ann", b"web/0")
    True
    """
    digest = hashlib.blake2b(key, digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") % WHOLE


def salt_of(service: str, epoch: int) -> bytes:
    """Give the salt of a service's users in an epoch."""
    return hashlib.blake2b(f"{service}/{epoch}".encode(), digest_size=32).digest()


@attrs.frozen
class BucketRanges:
    """Which arm owns which range of buckets.

    Attributes:
        starts: the first bucket of each range, in order; the first is 0.
        arms: whose each range is.
    """

    starts: tuple[int, ...]
    arms: tuple[str, ...]

    @classmethod
    def of(cls, shares: Mapping[str, int]) -> BucketRanges:
        """Lay out the ranges of arms with these shares, in ten-thousandths."""
        free = [(0, WHOLE)]
        taken: list[tuple[int, int, str]] = []
        names = sorted(shares, key=lambda name: name != CANARY)  # which is stable
        for place, arm in enumerate(names):
            home = WHOLE - shares[arm] if place == 1 else _home(place)
            ranges, free = _take(free, home, shares[arm])
            taken += [(low, high, arm) for low, high in ranges]
        laid = sorted([*taken, *((low, high, STABLE) for low, high in free)])
        return cls(tuple(low for low, _, _ in laid), tuple(arm for _, _, arm in laid))

    def arm_of(self, bucket: int) -> str:
        """Give the arm that owns a bucket."""
        return self.arms[bisect_right(self.starts, bucket) - 1]


Range = tuple[int, int]


def _home(place: int) -> int:
    """Give where the arm at a place in the table begins: 0, (the end,) 1/2, 1/4, ...

    That is van der Corput's sequence: each arm has as much room behind it as can be.

    >>> [_home(place) for place in (0, 2, 3, 4, 5)]
    [0, 5000, 2500, 7500, 1250]
    """
    number, step, home = max(0, place - 1), WHOLE, 0
    while number:
        step //= 2
        home += step * (number & 1)
        number >>= 1
    return home


def _take(free: list[Range], home: int, count: int) -> tuple[list[Range], list[Range]]:
    """Take the first free buckets from a home on, and round; give them and the rest."""
    taken: list[Range] = []
    left: list[Range] = []
    for low, high in _from(free, home):
        part = min(count, high - low)
        count -= part
        if part:
            taken.append((low, low + part))
        if part < high - low:
            left.append((low + part, high))
    return taken, left


def _from(free: list[Range], home: int) -> Iterator[Range]:
    behind = []
    for low, high in sorted(free):
        if low >= home:
            yield low, high
        elif high > home:
            behind.append((low, home))
            yield home, high
        else:
            behind.append((low, high))
    yield from behind
