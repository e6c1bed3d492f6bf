"""What the judge says of arms whose failures, or slowness, are those of a few users. Pure.

Requests of one user are not independent. What that means depends on what is drawn: where a
user keeps its arm, what its requests come to is all one arm's, and only users may be
counted, unless requests fail whoever they are of (`errors_by_request`, which watches that);
where the arm of each request is drawn, it meets both arms alike, and requests may be.

Who keeps his arm brings it what he asks for: an arm with busy users has more requests. If
each arm had as many, a busy one would take from the others of his arm, and users would not
be independent of each other either. One file, since these users are what all of it is of.
"""

from __future__ import annotations

import enum
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import attrs

from canary_trio.rollout.evidence import GROUPS, ArmTick, GroupCounts
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.latency import BOUNDS_S, interval_of
from canary_trio.rollout.simulation import MEDIAN_S, SPREAD, Seen
from canary_trio.rollout.verdict import Finding

ERRORS_ONLY = JudgeSettings(latency_quantiles=())
BY_REQUEST = attrs.evolve(ERRORS_ONLY, errors_by_request=True)
LATENCY = JudgeSettings(latency_tolerance=1.0)

_DRAWN = 4096  # latencies, of which those of all requests are drawn again
_STEP = math.log(1.04)  # of intervals


class Unit(enum.Enum):
    """What is drawn, and what is counted."""

    REQUESTS_OF_USERS = "users keep their arm, requests are counted"
    """Errors where a document says so, watched; latencies never: it is here to show why."""

    USERS = "users keep their arm, each counts once"
    REQUESTS = "each request is drawn, requests are counted"


@attrs.frozen
class Crowd:
    """Users of a service, of whom a few fail again and again, or are slow.

    Attributes:
        users: of an arm.
        failing: which part of them.
        failures: which part of the requests of such a user fail.
        slow: which part of them is slow, where latency is judged; None to judge errors.
        slower: how many times as long those take.
        tail: of the Pareto distribution of how much a user asks for.
        ticks: that are looked at, in a step.
        steps: of the rollout; the same users come in each.
        requests: of an arm in a tick, in the mean of all arms.
    """

    users: int = 3000
    failing: float = 0.01
    failures: float = 0.5
    slow: float | None = None
    slower: float = 20.0
    tail: float = 1.2
    ticks: int = 600
    steps: int = 1
    requests: int = 100


@attrs.frozen
class Alarms:
    """What was said of arms that are equal.

    Attributes:
        runs: how many there were.
        regressions: in which the canary was called worse.
        unsound: of these, in which the judge had told before that it means nothing, by the
            third arm, and where errors are counted by request by groups of users.
        all_unsound: in which it told that at all.
    """

    runs: int
    regressions: int
    unsound: int
    all_unsound: int


def false_alarms(
    unit: Unit, crowd: Crowd, *, runs: int, seed: int, third: bool = True
) -> Alarms:
    """Let the judge see equal arms again and again; the same seed gives the same result.

    What it calls worse it is asked of as if nothing told that it means nothing.

    Args:
        unit: what is drawn, and counted.
        crowd: the users.
        runs: how often.
        seed: of chance.
        third: whether there is a third arm, of the baseline's version.
    """
    draw = random.Random(seed)
    found = [_run(unit, crowd, draw, third=third) for _ in range(runs)]
    regressions = [was_unsound for is_worse, was_unsound in found if is_worse]
    unsound = sum(was_unsound for _, was_unsound in found)
    return Alarms(runs, len(regressions), sum(regressions), unsound)


def requests_until_alarm(
    unit: Unit, canary: Crowd, baseline: Crowd, *, runs: int, seed: int
) -> tuple[Seen, Seen]:
    """Let the canary's users fail otherwise than the baseline's; a run ends with the verdict.

    Where all users are `failing`, requests fail independently of each other. Gives the
    requests per arm until the canary was called worse, and until the judge said that
    requests must not be counted.
    """
    draw = random.Random(seed)
    worse: list[int] = []
    unsound: list[int] = []
    once = unit is Unit.USERS
    for _ in range(runs):
        judge = Judge(ERRORS_ONLY if once else BY_REQUEST)
        arms = [(Users(how.users, how, draw), how) for how in (canary, baseline)]
        for tick in range(1, baseline.ticks + 1):
            asking = asking_of([arm for arm, _ in arms], baseline, draw)
            judge.observe(
                *(
                    arm.tick(how, draw, some, once=once)
                    for (arm, how), some in zip(arms, asking, strict=True)
                )
            )
            found = {Finding.REGRESSION: worse, Finding.UNSOUND: unsound}
            if judge.finding in found:
                found[judge.finding].append(tick * baseline.requests)
                break
    return Seen(runs, tuple(sorted(worse))), Seen(runs, tuple(sorted(unsound)))


def users_until_alarm(
    crowd: Crowd, times: float, *, runs: int, seed: int
) -> tuple[Seen, Seen]:
    """Let all of the canary's responses take so many times as long, each user counted once.

    Gives the requests per arm until the alarm, and the users that were counted by then.
    """
    draw = random.Random(seed)
    pool = _pool(draw)
    requests, users = [], []
    for _ in range(runs):
        judge = Judge(LATENCY)
        canary, baseline = (Users(crowd.users, crowd, draw, pool) for _ in range(2))
        canary.times = times
        for tick in range(1, crowd.ticks + 1):
            asking = asking_of((canary, baseline), crowd, draw)
            judge.observe(
                canary.tick(crowd, draw, asking[0], once=True),
                baseline.tick(crowd, draw, asking[1], once=True),
            )
            if judge.finding is Finding.REGRESSION:
                requests.append(tick * crowd.requests)
                users.append(len(canary.timed))
                break
    return Seen(runs, tuple(sorted(requests))), Seen(runs, tuple(sorted(users)))


class Users:
    """The users of one arm, or of all; `failing` are those that fail again and again."""

    def __init__(
        self,
        count: int,
        crowd: Crowd,
        draw: random.Random,
        pool: Sequence[int] = (),
    ) -> None:
        weights = [draw.paretovariate(crowd.tail) for _ in range(count)]
        self.cumulative = list(itertools.accumulate(weights))
        self.numbers = range(count)
        self.failing = {one for one in self.numbers if draw.random() < crowd.failing}
        self.seen: set[int] = set()
        self.failed: set[int] = set()
        self.timed: set[int] = set()
        self.times = 1.0
        self._pool = pool

    def begin_step(self) -> None:
        """Let nobody have been counted in another step."""
        self.seen, self.failed, self.timed = set(), set(), set()

    def asking(self, requests: int, draw: random.Random) -> list[int]:
        """Say who asks, once for each request."""
        return draw.choices(self.numbers, cum_weights=self.cumulative, k=requests)

    def tick(
        self, crowd: Crowd, draw: random.Random, asking: list[int], *, once: bool
    ) -> ArmTick:
        """Let those ask for one tick."""
        if crowd.slow is not None:
            return self._slow_tick(crowd, draw, asking, once=once)
        failed = [
            one
            for one in asking
            if one in self.failing and draw.random() < crowd.failures
        ]
        if not once:
            groups = GroupCounts(_by_group(asking), _by_group(failed))
            return ArmTick(len(asking), len(failed), groups=groups)
        before = len(self.failed)
        self.seen.update(asking)
        self.failed.update(failed)
        new = len(self.failed) - before
        return ArmTick(len(asking), new, len(self.seen) - before)

    def _slow_tick(
        self, crowd: Crowd, draw: random.Random, asking: list[int], *, once: bool
    ) -> ArmTick:
        """Let them ask where nothing fails, but a few are slow."""
        requests = len(asking)
        if once:
            asking = [one for one in dict.fromkeys(asking) if one not in self.timed]
            self.timed.update(asking)
        took = draw.choices(self._pool, k=len(asking))
        found: Counter[int] = Counter()
        for one, at in zip(asking, took, strict=True):
            is_slow = one in self.failing and draw.random() < (crowd.slow or 0)
            times = self.times * (crowd.slower if is_slow else 1)
            later = round(math.log(times) / _STEP) if times != 1 else 0
            found[min(at + later, len(BOUNDS_S))] += 1
        users = len(self.timed) if once else None
        return ArmTick(requests, 0, users, dict(found))


def asking_of(
    arms: Sequence[Users], crowd: Crowd, draw: random.Random
) -> list[list[int]]:
    """Say who of each arm asks in a tick, once for each request; an arm is its users'."""
    if len(set(map(id, arms))) == 1:  # nobody has one
        return [arm.asking(crowd.requests, draw) for arm in arms]
    ends = list(itertools.accumulate(arm.cumulative[-1] for arm in arms))
    places = range(len(arms))
    drawn = Counter(
        draw.choices(places, cum_weights=ends, k=crowd.requests * len(arms))
    )
    return [arm.asking(drawn[at], draw) for at, arm in enumerate(arms)]


def _pool(draw: random.Random) -> list[int]:
    """Draw latencies, as the intervals that they lie in."""
    return [
        interval_of(MEDIAN_S * math.exp(draw.gauss(0, SPREAD))) for _ in range(_DRAWN)
    ]


def _by_group(users: Sequence[int]) -> tuple[int, ...]:
    counts = [0] * GROUPS
    for one in users:
        counts[one % GROUPS] += 1
    return tuple(counts)


def _run(
    unit: Unit, crowd: Crowd, draw: random.Random, *, third: bool
) -> tuple[bool, bool]:
    """Give whether the canary was called worse, or would have been, and whether unsound."""
    pool = [] if crowd.slow is None else _pool(draw)
    if unit is Unit.REQUESTS:
        everybody = Users(3 * crowd.users, crowd, draw, pool)
        arms = [everybody] * 3
    else:
        arms = [Users(crowd.users, crowd, draw, pool) for _ in range(3)]
    settings = ERRORS_ONLY if crowd.slow is None else LATENCY
    keeps_arm = unit is Unit.REQUESTS_OF_USERS
    watched = keeps_arm and crowd.slow is None
    judge, blind = Judge(BY_REQUEST if watched else settings), Judge(settings)
    was_unsound = False
    for tick in range(crowd.steps * crowd.ticks):
        if tick and not tick % crowd.ticks:
            judge.begin_step()
            blind.begin_step()
            for arm in arms:
                arm.begin_step()
        canary, baseline, stable = (
            arm.tick(crowd, draw, some, once=unit is Unit.USERS)
            for arm, some in zip(arms, asking_of(arms, crowd, draw), strict=True)
        )
        judge.observe(canary, baseline, stable if third else None)
        blind.observe(canary, baseline)
        was_unsound = was_unsound or judge.finding is Finding.UNSOUND
        if blind.finding is Finding.REGRESSION:
            return True, was_unsound
    return False, was_unsound
