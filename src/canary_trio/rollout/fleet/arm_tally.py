"""What one proxy counts for a judge: whole numbers by arm, that only grow. Pure.

A request counts for the arm that it was meant for. It has failed if its client was given a
status that counts as a failure (of gRPC, that which its status stands for), or a response
that was cut; if no server gave one in time; and where a try at the arm failed, although
another server, or another arm, saved it. What a rule sent to an arm is not counted: nobody
drew it. Nor is what its client left, since nobody knows what would have become of it.

Where users have keys, the unit is the user, once in a window, for errors and for latency:
what the requests of one user come to hangs together, that of two does not. Users are told
apart by slots of a hash; a slot has been seen, has failed, was timed. A user who is only
now given a key is a unit without a slot. Where a document says so, errors are counted by
request all the same, and requests by groups of users besides, which tell whether that is sound.

The rule that it obeys: counts belong to one window and one life of a proxy, its epoch, and
never go back within it. So who reads them late, or reads only some, misses nothing; but of
users who were timed, which are told one by one, only the latest are.
One file, since what is a unit, what has failed and what is told of it are one count.
"""

from __future__ import annotations

import hashlib
import math
import random
import zlib
from collections import deque
from collections.abc import Collection, Mapping
from typing import Protocol

import attrs

from canary_trio.rollout.evidence import GROUPS, GroupCounts
from canary_trio.rollout.fleet.compared import ComparedTally
from canary_trio.rollout.fleet.published import HASH_BYTES, ArmSums, ProxyEvidence
from canary_trio.rollout.fleet.timed_users import TIMED, TimedUsers
from canary_trio.rollout.latency import BOUNDS_S, interval_of

SLOTS = 1 << 16
"""Of users in an arm: 64 KiB, while something is counted."""

KNOWN = TIMED + 1
"""What a slot is at least whose user was timed, and seen: nothing is left to count of it."""

MOST_FAILED = 128
"""Hashes of the latest users that failed, which are told; what failed before is a number."""

TIMED_REQUESTS = 500
"""Of an arm in a tick: where there are more, only about so many of them are timed, each
with the same chance. It is what timing costs a proxy that has thousands in a second."""

EPOCH_BYTES = 6
"""Of chance that tell one epoch from another."""

FAILING = frozenset(range(500, 600))
"""Statuses that count as failures, if nothing else is said."""

_MASK = SLOTS - 1
_NO_SLOTS = bytes(SLOTS + 1)
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
        errors_by_request: whether errors are counted by request, though users count once.
    """

    window: str
    arms: tuple[str, ...]
    failing: frozenset[int] = FAILING
    by_user: bool = False
    compares: bool = False
    errors_by_request: bool = False


class Tally(Protocol):
    """Where requests count for a judge: an `ArmTally`, which explains the attributes."""

    requests: int

    @property
    def failing(self) -> Collection[int]:
        """Statuses that count as failures."""

    @property
    def by_user(self) -> bool:
        """Whether a user counts once."""

    @property
    def due(self) -> int:
        """The number of the request that is timed next, where requests are units."""

    @property
    def slots(self) -> bytes | bytearray:
        """What is known of users, by their slots, and last of who has none: nothing."""

    def answered(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Count a request that did not fail."""

    def take(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Time a request that did not fail, and that counts in `requests` already."""

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count one that failed, or whose time says nothing."""


class BothTallies:
    """Two judges' tallies of the same requests; what is a failure is the same to both."""

    __slots__ = ("by_user", "failing", "one", "other", "requests")

    due = 0
    slots = _NO_SLOTS  # each looks by itself

    def __init__(self, one: Tally, other: Tally) -> None:
        self.one, self.other = one, other
        self.by_user, self.failing = one.by_user, one.failing
        self.requests = 0

    def answered(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Count a request that did not fail."""
        self.requests += 1
        self.take(seconds, user, given)

    def take(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Count it at both."""
        self.one.answered(seconds, user, given)
        self.other.answered(seconds, user, given)

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count one that failed, or whose time says nothing."""
        self.one.add(user, failed=failed)
        self.other.add(user, failed=failed)


class ArmTally:
    """The counts of one arm.

    A request that did not fail adds one to `requests`, and is taken where its unit is to
    be timed: that is asked where it ends, since of most of them nothing else counts.

    Attributes:
        failing: statuses that count as failures.
        by_user: whether a user counts once.
        requests: that are over.
        due: the number of the request that is timed next, where requests are units.
        slots: what is known of users; `KNOWN` or more for whom nothing is left to count.
            The last one is of who has no slot, and stays 0.
        errors: units that failed.
        latencies: of units without a key that did not fail, by `rollout.latency.BOUNDS_S`.
    """

    __slots__ = (
        *("_draw", "_ended", "_fresh", "_gap", "_hashed", "_latest", "_occupied"),
        *(
            "_own",
            "_salt",
            "_timed",
            "by_user",
            "due",
            "errors",
            "failing",
            "latencies",
        ),
        *("requests", "slots"),
    )

    def __init__(self, rule: CountingRule, seed: str = "") -> None:
        """Begin with nothing; `seed` is of the chance by which it is chosen who is timed."""
        self.failing = rule.failing
        self.by_user = rule.by_user
        self.requests = self.due = self.errors = 0
        self.latencies = [0] * (len(BOUNDS_S) + 1)
        self._own = bytearray(_NO_SLOTS if rule.by_user else b"")
        self.slots = self._own or _NO_SLOTS
        self._draw = random.Random(seed).random
        self._timed = TimedUsers(rule.window, self._draw, self._own)
        self._ended = 0  # requests, when the tick before ended
        self._gap = 1  # between two that are timed, in the mean
        self._fresh = self._occupied = self._hashed = 0
        self._latest: deque[bytes] = deque(maxlen=MOST_FAILED)
        self._salt = hashlib.blake2b(rule.window.encode(), digest_size=16).digest()

    def __repr__(self) -> str:
        return f"<ArmTally {self.errors} of {self.requests} failed>"

    def answered(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Count a request that did not fail; the arguments are as of `take`."""
        self.requests += 1
        if self.requests >= self.due:
            self.take(seconds, user, given)

    def take(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Time a request that did not fail, if its unit was not.

        Args:
            seconds: that it took.
            user: the key of its user, where users count; None if there is none, or it is
                given one only now.
            given: that one.
        """
        if not self.by_user:
            self.latencies[interval_of(seconds)] += 1
            if self._gap > 1:
                self.due = self.requests + 1 + int(self._draw() * (2 * self._gap - 1))
            return
        if user is None:
            self._fresh += 1
            if given is None:
                self.latencies[interval_of(seconds)] += 1
            else:
                self._timed.offer(given, seconds)
            return
        slot = self._see(user)
        if not self._own[slot] & TIMED:
            self._timed.offer(user, seconds, slot)

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count a request that failed, or one whose time says nothing, as a tunnel's."""
        self.requests += 1
        if not self.by_user:
            self.errors += failed
            return
        if user is None:
            self._fresh += 1
            self.errors += failed
            return
        slot = self._see(user)
        if failed and not self._own[slot] & _FAILED:
            self._own[slot] |= _FAILED
            self._note_failed(user)

    def end_tick(self) -> None:
        """Let a tick end: who was timed in it is told from now on.

        How many requests of the next one are timed is by how many this one had, so that
        each of them has the same chance, whenever in the tick it comes.
        """
        self._timed.end_tick()
        self._gap = max(1, (self.requests - self._ended) // TIMED_REQUESTS)
        self._ended = self.due = self.requests

    def sums(self) -> ArmSums:
        """Give what is told of it."""
        counts = {at: count for at, count in enumerate(self.latencies) if count}
        if not self.by_user:
            return ArmSums(self.requests, self.errors, None, counts)
        users = max(self._fresh + _users_of(self._occupied), self.errors)
        return ArmSums(
            *(self.requests, self.errors, users, counts),
            *(self._hashed, tuple(self._latest)),
            *(self._timed.count, self._timed.newest),
        )

    def _see(self, user: bytes) -> int:
        """Note that a user was seen; give his slot."""
        slot = hash(user) & _MASK
        if not self._own[slot] & _SEEN:
            self._own[slot] |= _SEEN
            self._occupied += 1
        return slot

    def _note_failed(self, user: bytes) -> None:
        self.errors += 1
        self._hashed += 1
        found = hashlib.blake2b(user, digest_size=HASH_BYTES, key=self._salt)
        self._latest.append(found.digest())


class GroupedTally(ArmTally):
    """The counts of one arm whose users count once for latency, and by request for errors.

    Each request of a user who came with a key counts in the group of that user, which is
    the same at all proxies; so none is passed over as one of whom nothing is left to count.
    """

    __slots__ = ("_asked", "_failures")

    def __init__(self, rule: CountingRule, seed: str = "") -> None:
        super().__init__(rule, seed)
        self.slots = _NO_SLOTS
        self._asked, self._failures = [0] * GROUPS, [0] * GROUPS

    def take(
        self, seconds: float, user: bytes | None = None, given: bytes | None = None
    ) -> None:
        """Time a request that did not fail, if its user was not, and count it in a group."""
        if user is not None:
            self._asked[zlib.crc32(user) % GROUPS] += 1
        super().take(seconds, user, given)

    def add(self, user: bytes | None, *, failed: bool) -> None:
        """Count a request that failed, or one whose time says nothing, as a tunnel's."""
        self.requests += 1
        self.errors += failed
        if user is not None:
            group = zlib.crc32(user) % GROUPS
            self._asked[group] += 1
            self._failures[group] += failed

    def sums(self) -> ArmSums:
        """Give what is told of it."""
        return attrs.evolve(
            super().sums(),
            users=None,
            groups=GroupCounts(tuple(self._asked), tuple(self._failures)),
        )


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
        kind = GroupedTally if rule.errors_by_request else ArmTally
        self.tallies: Mapping[str, ArmTally] = {
            arm: kind(rule, epoch) for arm in rule.arms if not rule.compares
        }

    def __repr__(self) -> str:
        return f"<Counting {self.rule.window} {dict(self.tallies)}>"

    def evidence(self) -> ProxyEvidence:
        """End a tick, and give what is told of all arms from now on, at one moment."""
        for tally in self.tallies.values():
            tally.end_tick()
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
