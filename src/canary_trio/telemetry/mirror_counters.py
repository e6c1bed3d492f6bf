"""What was learnt from copies of requests: how their responses compare. Pure.

It outlives configurations. What is counted is told apart by the arm that got the copy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from canary_trio.rollout.fleet.compared import Comparison, Dropped
from canary_trio.routing.weighted_sequence import WeightedSequence
from canary_trio.telemetry.counters import ArmCounters


class MirrorOutcome(enum.StrEnum):
    """How the response to a copy compares with the original's."""

    SAME = "same"
    """The same status, and a body of the same size."""

    OTHER_SIZE = "other_size"
    OTHER_STATUS = "other_status"
    NO_RESPONSE = "no_response"
    """The server could not be reached, or its response made no sense."""

    LATE = "late"
    """There was none within the mirror's `timeout`."""


class Skip(enum.StrEnum):
    """Why no copy was made of a request whose turn it was."""

    BODY = "body"
    """It is larger than the mirror's `body`, or was streamed and so not held."""

    BUSY = "busy"
    """As many copies as the mirror's `concurrency` were in progress."""

    NO_SERVER = "no_server"
    """The arm had no usable server."""

    NO_ORIGINAL = "no_original"
    """There was no response to compare with: the client left, or no server gave one."""


@attrs.define(eq=False)
class ComparisonCounters:
    """What the judge of a rollout learnt from copies, in all rollouts.

    Attributes:
        in_progress: comparisons that are.
        outcomes: of those that are over.
        dropped: requests whose turn it was and that were not compared.
    """

    in_progress: int = 0
    outcomes: dict[Comparison, int] = attrs.field(
        factory=lambda: dict.fromkeys(Comparison, 0)
    )
    dropped: dict[Dropped, int] = attrs.field(factory=lambda: dict.fromkeys(Dropped, 0))


@attrs.define(eq=False)
class ArmMirrorCounters:
    """How copies of requests fared at one arm.

    Attributes:
        outcomes: of copies that are over.
        skips: of copies that were not made.
        size_difference: bytes by which responses of the same status differed, in sum.
        took: the time that responses took.
    """

    outcomes: dict[MirrorOutcome, int] = attrs.field(
        factory=lambda: dict.fromkeys(MirrorOutcome, 0)
    )
    skips: dict[Skip, int] = attrs.field(factory=lambda: dict.fromkeys(Skip, 0))
    size_difference: int = 0
    took: ArmCounters = attrs.field(factory=ArmCounters)

    def compare(
        self, original: tuple[int, int], copy: tuple[int, int], seconds: float
    ) -> None:
        """Count a response; both are given as status and bytes of content."""
        self.took.add(seconds)
        difference = abs(original[1] - copy[1])
        if original[0] != copy[0]:
            self.outcomes[MirrorOutcome.OTHER_STATUS] += 1
        elif difference:
            self.outcomes[MirrorOutcome.OTHER_SIZE] += 1
            self.size_difference += difference
        else:
            self.outcomes[MirrorOutcome.SAME] += 1


class MirrorCounters:
    """How copies fared at all arms, and how many are in progress.

    Attributes:
        in_progress: how many are.
        comparisons: what the judge of a rollout learnt from copies of its own.
    """

    def __init__(self) -> None:
        self.in_progress = 0
        self.comparisons = ComparisonCounters()
        self._arms: dict[str, ArmMirrorCounters] = {}
        self._sequence = WeightedSequence()

    def __repr__(self) -> str:
        return (
            f"<MirrorCounters in_progress={self.in_progress} arms={list(self._arms)}>"
        )

    @property
    def arms(self) -> Mapping[str, ArmMirrorCounters]:
        """The counters of each arm that got copies."""
        return self._arms

    def of_arm(self, arm: str) -> ArmMirrorCounters:
        """Give the counts of an arm, to be added to."""
        return self._arms.setdefault(arm, ArmMirrorCounters())

    def is_next(self, share: int) -> bool:
        """Tell whether it is a copy's turn: of any n requests exactly the share.

        Args:
            share: in ten-thousandths.
        """
        return self._sequence.next({"copy": share}) == "copy"
