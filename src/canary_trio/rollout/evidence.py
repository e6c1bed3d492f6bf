"""What an arm had in a tick, as the judge is told of it: whole numbers. Pure."""

from __future__ import annotations

import attrs

from canary_trio.rollout.latency import Latencies, slower_than

GROUPS = 64
"""Into which the users of an arm are put, by a hash of their keys, where requests count."""


@attrs.frozen
class ArmCounts:
    """What one arm had in a tick.

    Attributes:
        at_risk: units that could have had an event: requests, or users that had none yet.
        events: those that had it, 0 to `at_risk`.
    """

    at_risk: int
    events: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.events <= self.at_risk:
            raise ValueError(f"{self.events} events among {self.at_risk} units")


@attrs.frozen
class GroupCounts:
    """Requests of users who keep their arm, by groups of these users.

    Attributes:
        requests: of each group.
        failed: those of them that failed.
    """

    requests: tuple[int, ...]
    failed: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        if len(self.requests) != GROUPS or len(self.failed) != GROUPS:
            raise ValueError(f"{len(self.requests)} and {len(self.failed)} groups")
        for requests, failed in zip(self.requests, self.failed, strict=True):
            if not 0 <= failed <= requests:
                raise ValueError(f"{failed} failed of {requests} requests")

    def more_than(self, before: GroupCounts | None) -> GroupCounts | None:
        """Give what has come since; None if that is no more in each group."""
        if before is None:
            return self
        try:
            return GroupCounts(
                _differences(self.requests, before.requests),
                _differences(self.failed, before.failed),
            )
        except ValueError:
            return None

    def and_also(self, other: GroupCounts | None) -> GroupCounts:
        """Give both added up."""
        if other is None:
            return self
        return GroupCounts(
            _added(self.requests, other.requests), _added(self.failed, other.failed)
        )


@attrs.frozen
class ArmTick:
    """What one arm had in a tick.

    Attributes:
        requests: that ended and could be judged: those that the client left are not.
        errors: units that had a failure: `at_risk` says of how many.
        at_risk: users that are seen and had no failure in this step before the tick, or
            None where the units are requests.
        latencies: of the units that were answered and timed.
        groups: requests by groups of users, where errors are counted by request though
            users keep their arm, and latencies are of users; None elsewhere.
    """

    requests: int
    errors: int
    at_risk: int | None = None
    latencies: Latencies = attrs.field(factory=dict)
    groups: GroupCounts | None = None

    @property
    def error_counts(self) -> ArmCounts:
        """Its errors among those that could have had one."""
        at_risk = self.requests if self.at_risk is None else self.at_risk
        return ArmCounts(at_risk, self.errors)

    def slow_counts(self, number: int) -> ArmCounts:
        """Its units beyond an interval of latency, among those that have a latency."""
        return ArmCounts(
            sum(self.latencies.values()), slower_than(self.latencies, number)
        )


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int.__add__, one, other))


def _differences(now: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int.__sub__, now, before))
