"""What a proxy tells of its counts, and how that is written and read. Pure.

JSON, a list for an arm: `[requests, errors, users or null, first interval, latencies,
failed users, hashes of the latest, timed users, the latest]`, and where groups of users are
counted their requests and those that failed. All numbers are since the
epoch began, so the newest one says all, and what is lost on the way is made up by the next.

The rule that it obeys: what is written is below `MOST_BYTES` whatever was counted, and what
is read is either such a value or nothing at all: who reads it wrote none of it.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import Any

import attrs

from canary_trio.rollout.evidence import GroupCounts
from canary_trio.rollout.fleet.compared import MOST_PLACE, TOLD_PLACES, Learnt
from canary_trio.rollout.fleet.timed_users import (
    TOLD,
    TOLD_TICKS,
    TimedUser,
)
from canary_trio.rollout.latency import BOUNDS_S, Latencies

MOST_BYTES = 24 * 1024
"""Of what one proxy tells of one service, with three arms; mostly it is below two KiB, and
below eight while many users come for the first time."""

MOST_ARMS = 3
"""That are told of: the judged one, what it is compared with, and a third of its version."""

MOST_WORDS = 200
"""Characters of why an arm has no room."""

HASH_BYTES = 4
"""Of a user that failed; of 1,000 such users, two are taken for one in one of 9,000 steps."""

MOST_COUNT = 10**12
"""What no count of a proxy comes to."""

_HASHES = 1024  # characters of the latest hashes: more were never written
_TIMED_BYTES = 5  # of a user that was timed: the number, then the interval
_MOST_TIMED = TOLD * TOLD_TICKS


@attrs.frozen
class ArmSums:
    """What a proxy has counted of an arm since its epoch began.

    Attributes:
        requests: that are over and can be judged.
        errors: units that failed.
        users: units that were seen, where they are users; None where they are requests.
        latencies: of units that did not fail; of users with a key see `newest`.
        failed: users that failed and have a key: how many there were.
        latest: hashes of the latest of them, oldest first.
        timed: users with a key that were timed: how many there were.
        newest: the latest of them, oldest first.
        groups: requests by groups of users, where errors are counted by request though
            users keep their arm; None elsewhere.
    """

    requests: int = 0
    errors: int = 0
    users: int | None = None
    latencies: Latencies = attrs.field(factory=dict)
    failed: int = 0
    latest: tuple[bytes, ...] = ()
    timed: int = 0
    newest: tuple[TimedUser, ...] = ()
    groups: GroupCounts | None = None


@attrs.frozen
class ProxyEvidence:
    """What a proxy tells.

    Attributes:
        window: the step of a rollout that it counts for.
        epoch: tells this life of the proxy, in this window, from any other.
        arms: the sums, by name.
        learnt: what copies of requests have shown, where they are compared.
        short: the arms that have no room for more traffic there, and why.
    """

    window: str
    epoch: str
    arms: Mapping[str, ArmSums]
    learnt: Learnt | None = None
    short: Mapping[str, str] = attrs.field(factory=dict)

    def dump(self) -> bytes:
        """Write it."""
        arms = {name: _row(sums) for name, sums in self.arms.items()}
        table: dict[str, Any] = {"window": self.window, "epoch": self.epoch}
        table["arms"] = arms
        if self.learnt is not None:
            table["learnt"] = attrs.asdict(self.learnt)
        if self.short:
            table["short"] = dict(self.short)
        return json.dumps(table, separators=(",", ":")).encode()

    @classmethod
    def load(cls, text: bytes) -> ProxyEvidence | None:
        """Read it; None if it is none."""
        if len(text) > MOST_BYTES:
            return None
        try:
            table = json.loads(text)
            window, epoch, arms = table["window"], table["epoch"], table["arms"]
            if not isinstance(window, str) or not isinstance(epoch, str):
                return None
            if len(arms) > MOST_ARMS:
                return None
            sums = {name: _sums(row) for name, row in arms.items()}
            learnt = table.get("learnt")
            said = None if learnt is None else _learnt(learnt)
            return cls(window, epoch, sums, said, _short(table.get("short", {})))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _row(sums: ArmSums) -> list[Any]:
    known = sums.latencies
    first = min(known, default=0)
    counts = [known.get(at, 0) for at in range(first, max(known, default=-1) + 1)]
    hashes = b"".join(sums.latest).hex()
    return [
        *(sums.requests, sums.errors, sums.users),
        *(first, counts, sums.failed, hashes),
        *(sums.timed, _text_of(sums.newest)),
        *([] if sums.groups is None else (sums.groups.requests, sums.groups.failed)),
    ]


def _text_of(newest: tuple[TimedUser, ...]) -> str:
    raw = b"".join((number << 16 | at).to_bytes(_TIMED_BYTES) for number, at in newest)
    return b2a_base64(raw, newline=False).decode()


def _newest(text: str) -> tuple[TimedUser, ...]:
    raw = a2b_base64(text, strict_mode=True)
    if len(raw) % _TIMED_BYTES or len(raw) > _MOST_TIMED * _TIMED_BYTES:
        raise ValueError("more than are told, or a part of one")
    found = tuple(
        (int.from_bytes(raw[at : at + 3]), int.from_bytes(raw[at + 3 : at + 5]))
        for at in range(0, len(raw), _TIMED_BYTES)
    )
    if any(interval > len(BOUNDS_S) for _, interval in found):
        raise ValueError("beyond the last interval")
    return found


def _sums(row: Any) -> ArmSums:
    requests, errors, users, first, counts, failed, hashes, timed, newest, *rest = row
    if first + len(counts) > len(BOUNDS_S) + 1 or len(hashes) > _HASHES:
        raise ValueError("more than there is")
    found = bytes.fromhex(hashes)
    sums = ArmSums(
        requests=_count(requests),
        errors=_count(errors),
        users=None if users is None else _count(users),
        latencies={
            _count(first) + at: _count(one) for at, one in enumerate(counts) if one
        },
        failed=_count(failed),
        latest=tuple(
            found[at : at + HASH_BYTES] for at in range(0, len(found), HASH_BYTES)
        ),
        timed=_count(timed),
        newest=_newest(newest),
        groups=_groups(*rest) if rest else None,
    )
    if len(sums.newest) > sums.timed:
        raise ValueError("more timed than were")
    if sums.errors > (sums.requests if sums.users is None else sums.users):
        raise ValueError("more failed than there were")
    if not len(sums.latest) <= sums.failed <= sums.errors:
        raise ValueError("more hashes than failed")
    groups = sums.groups
    if groups is not None and (
        sums.users is not None
        or sum(groups.requests) > sums.requests
        or sum(groups.failed) > sums.errors
    ):
        raise ValueError("more in groups than there were")
    return sums


def _groups(requests: list[Any], failed: list[Any]) -> GroupCounts:
    return GroupCounts(tuple(map(_count, requests)), tuple(map(_count, failed)))


def _short(table: dict[str, Any]) -> dict[str, str]:
    if len(table) > MOST_ARMS:
        raise ValueError("more arms than there are")
    return {str(arm): str(why)[:MOST_WORDS] for arm, why in table.items()}


def _learnt(table: dict[str, Any]) -> Learnt:
    places = [(str(place)[:MOST_PLACE], _count(n)) for place, n in table["places"]]
    counts = {
        name: _count(table[name])
        for name in ("made", "differing", "restless", "dropped")
    }
    return Learnt(**counts, places=tuple(places[:TOLD_PLACES]))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise ValueError(f"{value!r} is no count")
    return value
