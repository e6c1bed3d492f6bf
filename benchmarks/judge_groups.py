"""Would a test inside the arms tell that a comparison means nothing, before it misleads?

    python -m benchmarks.judge_groups [--seed N] [--runs N]

Where users keep their arm and requests are counted, a few users who fail again and again
raise false alarms, since their failures are all one arm's. An arm of the old version that
is compared with another one tells that only if chance has put such users into one of those
two. Here the users of each arm are put into groups, by chance as well, and what is tested is
whether each group has its share of the arm's failures: a plug-in multinomial against shares
by requests, which is an e-process whatever the rates are (Dawid 1984; the mixture is over
how quickly a group's rate is believed). The arms' tests multiply, since they are of
different users. It needs no third arm, and no difference between versions can raise it.

Simulated as in `canary_trio.rollout.user_simulation`, whose counts have no groups.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence

import attrs

from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.rollout.sequential import log_mean
from canary_trio.rollout.user_simulation import Crowd, Users
from canary_trio.rollout.verdict import Finding

SETTINGS = JudgeSettings(latency_quantiles=())
GROUPS = (8, 64, 256)
BELIEFS = (0.5, 2.0, 8.0, 32.0)
"""Failures that are taken to have been seen of each group before the first."""


class GroupTest:
    """Whether the groups of one arm have their shares of its failures."""

    def __init__(self, groups: int) -> None:
        self._failed = [0] * groups
        self._expected = [0.0] * groups
        self._logs = [0.0] * len(BELIEFS)

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against shares by requests."""
        return log_mean(self._logs)

    def observe(self, asked: Sequence[int], failed: Sequence[int]) -> None:
        """Take one tick in, by group."""
        total, failures = sum(asked), sum(failed)
        if not failures:
            return
        for at, belief in enumerate(BELIEFS):
            rates = [
                (belief + seen) / (belief + expected)
                for seen, expected in zip(self._failed, self._expected, strict=True)
            ]
            whole = sum(n * rate for n, rate in zip(asked, rates, strict=True)) / total
            self._logs[at] += sum(
                count * math.log(rate / whole)
                for count, rate in zip(failed, rates, strict=True)
                if count
            )
        for at, (n, count) in enumerate(zip(asked, failed, strict=True)):
            self._failed[at] += count
            self._expected[at] += failures * n / total


@attrs.frozen
class Seen:
    """One run: whether the judge was misled, and who had told so by then."""

    misled: bool
    by_arms: bool
    by_two_arms: bool
    by_groups: bool


def run(crowd: Crowd, groups: int, draw: random.Random, rate: float | None) -> Seen:
    """Let equal arms be compared, by requests of users that keep them.

    Args:
        crowd: the users.
        groups: of each arm.
        draw: chance.
        rate: of failures, the same for each request; None for those of a few users.
    """
    arms = [Users(crowd.users, crowd, draw) for _ in range(3)]
    tests = [GroupTest(groups) for _ in arms]
    judge, blind = Judge(SETTINGS), Judge(SETTINGS)
    needed = math.log(1 / SETTINGS.alpha)
    by_arms = by_two = by_groups = False
    for _ in range(crowd.ticks):
        ticks = []
        for arm, test in zip(arms, tests, strict=True):
            asking = arm.asking(crowd, draw)
            failed = [
                one
                for one in asking
                if draw.random() < (crowd.failures if rate is None else rate)
                and (rate is not None or one in arm.failing)
            ]
            shares = [[0] * groups, [0] * groups]
            for share, some in zip(shares, (asking, failed), strict=True):
                for one in some:
                    share[one % groups] += 1
            test.observe(*shares)
            ticks.append(ArmTick(len(asking), len(failed)))
        judge.observe(*ticks)
        blind.observe(*ticks[:2])
        by_arms = by_arms or judge.finding is Finding.UNSOUND
        by_two = by_two or sum(test.log_e for test in tests[1:]) >= needed
        by_groups = by_groups or sum(test.log_e for test in tests) >= needed
        if blind.finding is Finding.REGRESSION:
            return Seen(True, by_arms, by_two, by_groups)
    return Seen(False, by_arms, by_two, by_groups)


def main() -> None:
    """Print who tells in time, and how often it is told for nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    for groups in GROUPS:
        for rate in (None, 0.005):
            draw = random.Random(given.seed)
            found = [run(Crowd(), groups, draw, rate) for _ in range(given.runs)]
            misled = [one for one in found if one.misled]
            what = "a few users fail" if rate is None else f"each request fails, {rate}"
            print(
                f"{groups} groups, {what}: misled {len(misled)} of {given.runs};"
                f" told before by the third arm {sum(o.by_arms for o in misled)},"
                f" by groups of the old version's two arms"
                f" {sum(o.by_two_arms for o in misled)}, by groups of all three"
                f" {sum(o.by_groups for o in misled)};"
                f" called unsound by groups in all {sum(o.by_groups for o in found)}"
            )


if __name__ == "__main__":
    main()
