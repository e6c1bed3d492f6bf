"""What one proxy counts for a judge: whole numbers by arm, that only grow. Pure.

A request counts for the arm that it was meant for. It has failed if its client was given a
status that counts as a failure (of gRPC, that which its status stands for), or a response
that was cut; if no server gave one in time; and where a try at the arm failed, although
another server, or another arm, saved it. What a rule sent to an arm is not counted: nobody
drew it. Nor is what its client left, since nobody knows what would have become of it.

Where users have keys, the unit of failures is the user, once in a window: the failures of
one user hang together, those of two do not. Users are told apart by slots of a hash; a slot
has been seen, or has failed. A user who is only now given a key is a unit without a slot.

The rule that it obeys: counts belong to one window and one life of a proxy, its epoch, and
never go back within it. So who reads them late, or reads only some, misses nothing.
One file, since what is a unit, what has failed and what is told of it are one count.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import deque
from collections.abc import Collection, Mapping
from typing import Protocol

import attrs

from canary_trio.rollout.fleet.compared import ComparedTally
from canary_trio.rollout.fleet.published import HASH_BYTES, ArmSums, ProxyEvidence
from canary_trio.rollout.latency import BOUNDS_S, interval_of

SLOTS = 1 << 16
"""Of users in an arm: 64 KiB, while something is counted."""

MOST_FAILED = 128
"""Hashes of the latest users that failed, which are told; what failed before is a number."""

EPOCH_BYTES = 6
"""Of chance that tell one epoch from another."""

FAILING = frozenset(range(500, 600))
"""Statuses that count as failures, if nothing else is said."""

_MASK = SLOTS - 1
_SEEN, _FAILED = 1, 2
_FULL = (
    0.98  # of the slots: beyond that their number says no more how many users there are
)


@attrs.frozen
class CountingRule:
    """What is counted, of one document.

    Attributes:
        window: names what belongs together: one step of one rollout, begun at one time.
        arms: that are counted: the judged one, what it is compared with, and maybe a third.
        failing: statuses that count as failures.
        by_user: whether a user counts once.
        compares: whether copies of requests are compared in this window, of the first two
            arms; what users themselves have is not counted then.
    """

    window: str
    arms: tuple[str, ...]
    failing: frozenset[int] = FAILING
    by_user: bool = False
    compares: bool = False


class Tally(Protocol):
    """Where requests count for a judge: an `ArmTally`."""

    @property
    def failing(self) -> Collection[int]:
        """Statuses that count as failures."""

    @property
    def by_user(self) -> bool:
        """Whether a user counts once."""

    def answered(self, seconds: float, user: bytes | None = None) -> None:
        """Count a request that did not fail."""

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count one that failed, or whose time says nothing."""


@attrs.frozen
class BothTallies:
    """Two judges' tallies of the same requests; what is a failure is the same to both."""

    one: Tally
    other: Tally

    @property
    def failing(self) -> Collection[int]:
        """Statuses that count as failures."""
        return self.one.failing

    @property
    def by_user(self) -> bool:
        """Whether a user counts once."""
        return self.one.by_user

    def answered(self, seconds: float, user: bytes | None = None) -> None:
        """Count a request that did not fail."""
        self.one.answered(seconds, user)
        self.other.answered(seconds, user)

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count one that failed, or whose time says nothing."""
        self.one.add(user, failed=failed)
        self.other.add(user, failed=failed)


class ArmTally:
    """The counts of one arm.

    Attributes:
        failing: statuses that count as failures.
        by_user: whether a user counts once.
        errors: units that failed.
        latencies: of requests that did not fail, by `rollout.latency.BOUNDS_S`.
    """

    __slots__ = (
        "_fresh",
        "_hashed",
        "_latest",
        "_occupied",
        "_salt",
        "_slots",
        "_untimed",
        "by_user",
        "errors",
        "failing",
        "latencies",
    )

    def __init__(self, rule: CountingRule) -> None:
        self.failing = rule.failing
        self.by_user = rule.by_user
        self.errors = 0
        self.latencies = array("Q", bytes(8 * (len(BOUNDS_S) + 1)))  # in one place
        self._untimed = 0
        self._slots = bytearray(SLOTS if rule.by_user else 0)
        self._fresh = self._occupied = self._hashed = 0
        self._latest: deque[bytes] = deque(maxlen=MOST_FAILED)
        self._salt = hashlib.blake2b(rule.window.encode(), digest_size=16).digest()

    def __repr__(self) -> str:
        return f"<ArmTally {self.errors} of {self.requests} failed>"

    @property
    def requests(self) -> int:
        """That are over."""
        return sum(self.latencies) + self._untimed

    def answered(self, seconds: float, user: bytes | None = None) -> None:
        """Count a request that did not fail: what most of them cost.

        Args:
            seconds: that it took.
            user: the key of its user, where users count; None if there is none, or it is
                given one only now.
        """
        self.latencies[interval_of(seconds)] += 1
        if self.by_user:
            if user is None:
                self._fresh += 1
                return
            slot = hash(user) & _MASK
            if not self._slots[slot]:
                self._slots[slot] = _SEEN
                self._occupied += 1

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count a request that failed, or one whose time says nothing, as a tunnel's."""
        self._untimed += 1
        if not self.by_user:
            self.errors += failed
            return
        if user is None:
            self._fresh += 1
            self.errors += failed
            return
        slot, slots = hash(user) & _MASK, self._slots
        if not slots[slot]:
            slots[slot] = _SEEN
            self._occupied += 1
        if failed and slots[slot] == _SEEN:
            slots[slot] = _FAILED
            self._note_failed(user)

    def sums(self) -> ArmSums:
        """Give what is told of it."""
        counts = {at: count for at, count in enumerate(self.latencies) if count}
        if not self.by_user:
            return ArmSums(self.requests, self.errors, None, counts)
        users = max(self._fresh + _users_of(self._occupied), self.errors)
        return ArmSums(
            *(self.requests, self.errors, users, counts),
            *(self._hashed, tuple(self._latest)),
        )

    def _note_failed(self, user: bytes) -> None:
        self.errors += 1
        self._hashed += 1
        found = hashlib.blake2b(user, digest_size=HASH_BYTES, key=self._salt)
        self._latest.append(found.digest())


class Counting:
    """What a proxy counts in one window.

    Attributes:
        rule: what.
        epoch: of this life of the proxy, for this window.
        tallies: by arm; none where copies are compared.
        compared: what copies have shown; None where none are compared.
    """

    __slots__ = ("compared", "epoch", "rule", "tallies")

    def __init__(self, rule: CountingRule, epoch: str) -> None:
        self.rule = rule
        self.epoch = epoch
        self.compared = ComparedTally() if rule.compares else None
        self.tallies: Mapping[str, ArmTally] = {
            arm: ArmTally(rule) for arm in rule.arms if not rule.compares
        }

    def __repr__(self) -> str:
        return f"<Counting {self.rule.window} {dict(self.tallies)}>"

    def evidence(self) -> ProxyEvidence:
        """Give what is told of all arms, at one moment."""
        compared = self.compared
        if compared is None:
            sums = {name: tally.sums() for name, tally in self.tallies.items()}
            return ProxyEvidence(self.rule.window, self.epoch, sums)
        # A comparison is one unit of either arm, and an event of the one it speaks against.
        sums = dict.fromkeys(self.rule.arms, ArmSums())
        arm, against = self.rule.arms[:2]
        sums[arm] = ArmSums(compared.made, compared.worse)
        sums[against] = ArmSums(compared.made, compared.better)
        return ProxyEvidence(self.rule.window, self.epoch, sums, compared.learnt)


def _users_of(occupied: int) -> int:
    """Estimate how many users occupy so many slots (linear counting, Whang et al. 1990).

    >>> _users_of(100), _users_of(32_768)
    (100, 45426)
    """
    part = min(occupied / SLOTS, _FULL)
    return max(occupied, round(-SLOTS * math.log1p(-part)))
