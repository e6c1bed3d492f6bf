"""Users are split by arithmetic: a key has a bucket, a bucket has an arm. Pure.

A user's key gives a bucket in [0, 10 000), the same on every proxy. The arms other
than `stable` take adjacent ranges from 0 on, in the order of the ratio table, and
`stable` has the rest. With one such arm, its range grows and shrinks at one end: so
raising its share moves nobody back, lowering it moves only the excess, and the share
among users is the ratio. With several, a change of one shifts the ranges behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from canary_trio.config import STABLE, WHOLE


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
class Ranges:
    """Which buckets are whose.

    Attributes:
        ends: (first bucket behind the range, arm), in order; the rest is `stable`'s.
    """

    ends: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, shares: Mapping[str, int]) -> Ranges:
        """Lay out the ranges of arms with these shares, in ten-thousandths."""
        ends = []
        at = 0
        for arm, share in shares.items():
            at += share
            ends.append((at, arm))
        return cls(tuple(ends))

    def arm_of(self, bucket: int) -> str:
        """Give the arm whose bucket it is."""
        for end, arm in self.ends:
            if bucket < end:
                return arm
        return STABLE
