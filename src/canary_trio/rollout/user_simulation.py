"""What the judge says of two equal arms whose failures are those of a few users. Pure.

Requests of one user are not independent. What that means depends on what is drawn: where a
user keeps its arm, its failures are all one arm's, and only users may be counted; where the
arm of each request is drawn, they meet both arms alike, and requests may be.
"""

from __future__ import annotations

import enum
import itertools
import random

import attrs

from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.verdict import Finding

ERRORS_ONLY = JudgeSettings(latency_quantiles=())


class Unit(enum.Enum):
    """What is drawn, and what is counted."""

    REQUESTS_OF_USERS = "users keep their arm, requests are counted"
    """What must not be done: it is here to show why."""

    USERS = "users keep their arm, each counts once"
    REQUESTS = "each request is drawn, requests are counted"


@attrs.frozen
class Crowd:
    """Users of a service, of whom a few fail again and again.

    Attributes:
        users: of an arm.
        failing: which part of them.
        failures: which part of the requests of such a user fail.
        tail: of the Pareto distribution of how much a user asks for.
        ticks: that are looked at.
        requests: of an arm in a tick.
    """

    users: int = 3000
    failing: float = 0.01
    failures: float = 0.5
    tail: float = 1.2
    ticks: int = 600
    requests: int = 100


@attrs.frozen
class Alarms:
    """What was said of arms that are equal.

    Attributes:
        runs: how many there were.
        regressions: in which the canary was called worse.
        unsound: of these, in which the third arm had told before that it means nothing.
    """

    runs: int
    regressions: int
    unsound: int


def false_alarms(unit: Unit, crowd: Crowd, *, runs: int, seed: int) -> Alarms:
    """Let the judge see equal arms again and again; the same seed gives the same result."""
    draw = random.Random(seed)
    found = [_run(unit, crowd, draw) for _ in range(runs)]
    regressions = [was_unsound for is_worse, was_unsound in found if is_worse]
    return Alarms(runs, len(regressions), sum(regressions))


class Users:
    """The users of one arm, or of all; `failing` are those that fail again and again."""

    def __init__(self, count: int, crowd: Crowd, draw: random.Random) -> None:
        weights = [draw.paretovariate(crowd.tail) for _ in range(count)]
        self.cumulative = list(itertools.accumulate(weights))
        self.numbers = range(count)
        self.failing = {one for one in self.numbers if draw.random() < crowd.failing}
        self.seen: set[int] = set()
        self.failed: set[int] = set()

    def asking(self, crowd: Crowd, draw: random.Random) -> list[int]:
        """Say who asks in a tick, once for each request."""
        return draw.choices(self.numbers, cum_weights=self.cumulative, k=crowd.requests)

    def tick(self, crowd: Crowd, draw: random.Random, *, once: bool) -> ArmTick:
        """Let them ask for one tick."""
        asking = self.asking(crowd, draw)
        failed = [
            one
            for one in asking
            if one in self.failing and draw.random() < crowd.failures
        ]
        if not once:
            return ArmTick(crowd.requests, len(failed))
        before = len(self.failed)
        self.seen.update(asking)
        self.failed.update(failed)
        new = len(self.failed) - before
        return ArmTick(crowd.requests, new, len(self.seen) - before)


def _run(unit: Unit, crowd: Crowd, draw: random.Random) -> tuple[bool, bool]:
    """Give whether the canary was called worse, or would have been, and whether unsound."""
    if unit is Unit.REQUESTS:
        everybody = Users(3 * crowd.users, crowd, draw)
        arms = [everybody] * 3
    else:
        arms = [Users(crowd.users, crowd, draw) for _ in range(3)]
    judge, blind = Judge(ERRORS_ONLY), Judge(ERRORS_ONLY)
    was_unsound = False
    for _ in range(crowd.ticks):
        canary, baseline, stable = (
            arm.tick(crowd, draw, once=unit is Unit.USERS) for arm in arms
        )
        judge.observe(canary, baseline, stable)
        blind.observe(canary, baseline)
        was_unsound = was_unsound or judge.finding is Finding.UNSOUND
        if blind.finding is Finding.REGRESSION:
            return True, was_unsound
    return False, was_unsound
