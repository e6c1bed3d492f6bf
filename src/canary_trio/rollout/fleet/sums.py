"""A fleet's counts added up: what is new since they were judged last. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from canary_trio.rollout.evidence import ArmTick, GroupCounts
from canary_trio.rollout.fleet.compared import Learnt, added
from canary_trio.rollout.fleet.published import ArmSums, ProxyEvidence
from canary_trio.rollout.fleet.timed_users import FirstTimes

MOST_HASHES = 100_000
"""Of users that failed, of an arm in a step; those beyond may count at each proxy."""

FleetEvidence = Mapping[str, ProxyEvidence]
"""What the proxies of a fleet tell, by their names."""

Sums = tuple[tuple[int, int, int], ...]
"""Requests, failed units and users of each arm."""

NOTHING = ArmSums()


class NewCounts:
    """What is new of an arm, of all proxies."""

    __slots__ = ("at_risk", "errors", "groups", "latencies", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self.at_risk: int | None = None
        self.latencies: dict[int, int] = {}
        self.groups: GroupCounts | None = None

    def add(
        self,
        now: ArmSums,
        before: ArmSums,
        failed: set[bytes],
        timed: FirstTimes,
    ) -> None:
        """Add what a proxy has counted since `before`.

        Args:
            now: what it tells.
            before: what it told when it was looked at last.
            failed: users that failed already.
            timed: users that were timed already.
        """
        if now.requests < before.requests or now.errors < before.errors:
            return  # it says less than before: nothing that a proxy writes
        self.requests += now.requests - before.requests
        errors = now.errors - before.errors
        if now.users is not None:
            new = now.latest[max(0, len(now.latest) - (now.failed - before.failed)) :]
            known = [one for one in new if one in failed]
            if len(failed) < MOST_HASHES:
                failed.update(new)
            errors = max(0, errors - len(known))
            at_risk = max(now.users - before.errors, errors)
            self.at_risk = (self.at_risk or 0) + at_risk
        self.errors += errors
        if now.groups is not None:
            more_of_groups = now.groups.more_than(before.groups)
            if more_of_groups is not None:
                self.groups = more_of_groups.and_also(self.groups)
        for at, count in now.latencies.items():
            more = count - before.latencies.get(at, 0)
            if more > 0:
                self.latencies[at] = self.latencies.get(at, 0) + more
        since = max(0, now.timed - before.timed)
        for at in timed.new(now.newest[max(0, len(now.newest) - since) :]):
            self.latencies[at] = self.latencies.get(at, 0) + 1


def ticks_of(news: Mapping[str, NewCounts]) -> dict[str, ArmTick]:
    """Give the arms' ticks; none if nothing is new."""
    if not any(new.requests for new in news.values()):
        return {}
    by_user = any(new.at_risk is not None for new in news.values())
    ticks = {}
    for name, new in news.items():
        at_risk = (new.at_risk or 0) if by_user else None
        most = new.requests if at_risk is None else at_risk
        errors = min(new.errors, most)
        ticks[name] = ArmTick(new.requests, errors, at_risk, new.latencies, new.groups)
    return ticks


def digest_of(fleet: FleetEvidence) -> str:
    """Tell one fleet from another: by who counts, in which epochs."""
    names = sorted((name, one.epoch) for name, one in fleet.items())
    return hashlib.blake2b(repr(names).encode(), digest_size=8).hexdigest()


def sums_of(arms: Iterable[str], fleet: FleetEvidence) -> Sums:
    """Add up what a fleet tells."""
    return tuple(
        (
            sum(one.arms[name].requests for one in fleet.values()),
            sum(one.arms[name].errors for one in fleet.values()),
            sum(one.arms[name].users or 0 for one in fleet.values()),
        )
        for name in arms
    )


def groups_of(
    arms: Iterable[str], fleet: FleetEvidence
) -> tuple[GroupCounts | None, ...]:
    """Add up what a fleet tells of groups of users, of each arm; None for nothing."""
    found = []
    for name in arms:
        added_up: GroupCounts | None = None
        for one in fleet.values():
            groups = one.arms[name].groups
            added_up = added_up if groups is None else groups.and_also(added_up)
        found.append(added_up)
    return tuple(found)


def learnt_in(fleet: FleetEvidence, window: str) -> Learnt | None:
    """Add up what a fleet has learnt of copies in a window; None if that is nothing."""
    told = (one.learnt for one in fleet.values() if one.window == window)
    return added(one for one in told if one is not None)
