"""What an arm had in a tick, as the judge is told of it: whole numbers. Pure."""

from __future__ import annotations

import attrs

from canary_trio.rollout.latency import Latencies, slower_than


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
class ArmTick:
    """What one arm had in a tick.

    Attributes:
        requests: that ended and could be judged: those that the client left are not.
        errors: units that had a failure: `at_risk` says of how many.
        at_risk: users that are seen and had no failure in this step before the tick, or
            None where the units are requests.
        latencies: of the units that were answered and timed.
    """

    requests: int
    errors: int
    at_risk: int | None = None
    latencies: Latencies = attrs.field(factory=dict)

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
