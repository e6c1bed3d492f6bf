"""Whether failures hang together by user, where requests are counted all the same. Pure.

The users of each arm are put into groups, by chance (a hash). If each request of an arm
fails alike, whoever it is of, then each group has its share of the arm's failures, whatever
their rate is, and however it changes. Given a tick's requests `n_g` of each group, with
`q_g = n_g / n`, and `x` failures in all, those of the groups are drawn without replacement;
so for any shares `p_g` that sum to 1 the factor

    (p_1 / q_1)^x_1 ... (p_G / q_G)^x_G

has a mean of at most 1: it is exponential in sums, hence convex in them, and drawn with replacement the
mean is 1 (Hoeffding 1963). A mean over shares `p` keeps that: here over a Dirichlet
distribution around the shares that the groups had of failures so far in the step, so that
those of one user in the very tick tell, too (the prequential principle, Dawid 1984). The
product over ticks, and over arms, which are of other users, is an e-process; so is the mean
over how soon a group's own rate is believed.

No difference between two versions can raise it: each arm's groups are compared with each
other. It finds users who fail again and again, and bursts of failures of one; it cannot
tell those who fail since they ask for what fails, and need not: where users keep their arm
that misleads as much.

The rule that it obeys: what a tick is held against was seen before it. What was seen before
may be told at once, unjudged (`learn`), and may be incomplete: that costs power, no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from canary_trio.rollout.evidence import GroupCounts
from canary_trio.rollout.sequential.rates import log_mean

BELIEFS = (0.02, 0.2, 2.0, 20.0)
"""Failures that each group is taken to have had before its first."""


class GroupTest:
    """Whether the groups of each arm have their shares of its failures.

    Attributes:
        seen: what they had in this step, by arm.
    """

    __slots__ = ("_logs", "seen")

    def __init__(self) -> None:
        self._logs = [0.0] * len(BELIEFS)
        self.begin_step()

    def __repr__(self) -> str:
        return f"<GroupTest log_e={self.log_e:.2f}>"

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against requests that fail alike."""
        return log_mean(self._logs)

    def begin_step(self) -> None:
        """Let the groups' rates be learnt anew: other users are in them."""
        self.seen: dict[int, GroupCounts] = {}

    def learn(self, arms: Sequence[GroupCounts | None]) -> None:
        """Take in what was seen in this step, without judging it."""
        for arm, counts in enumerate(arms):
            if counts is not None:
                self.seen[arm] = counts.and_also(self.seen.get(arm))

    def observe(self, arms: Sequence[GroupCounts | None]) -> None:
        """Take one tick in, of each arm; always in the same order."""
        for arm, counts in enumerate(arms):
            if counts is not None and any(counts.failed):
                seen = self.seen.get(arm)
                for at, belief in enumerate(BELIEFS):
                    self._logs[at] += log_group_gain(counts, seen, belief)
        self.learn(arms)

    def state(self) -> list[float]:
        """Give what has to be kept to go on elsewhere; what was learnt is told again."""
        return list(self._logs)

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what `state` gave."""
        self._logs = list(state)


def log_group_gain(
    counts: GroupCounts, seen: GroupCounts | None, belief: float
) -> float:
    """Give the logarithm of the factor of one arm in one tick.

    Args:
        counts: what its groups had.
        seen: what they had before, in this step; None for nothing.
        belief: failures that each group is taken to have had before.
    """
    groups = len(counts.requests)
    requests = sum(counts.requests)
    if seen is None:
        rates, weight = [1.0] * groups, belief * groups
    else:
        failures = sum(seen.failed)
        rate = failures / max(1, sum(seen.requests))
        weight = belief * groups + failures
        rates = [
            (belief + failed) / (belief + rate * before)
            for before, failed in zip(seen.requests, seen.failed, strict=True)
        ]
    whole = sum(map(float.__mul__, rates, map(float, counts.requests)))
    gain = math.lgamma(weight) - math.lgamma(weight + sum(counts.failed))
    for rate, asked, failed in zip(rates, counts.requests, counts.failed, strict=True):
        if failed:
            own = weight * rate * asked / whole
            gain += math.lgamma(own + failed) - math.lgamma(own)
            gain -= failed * math.log(asked / requests)
    return gain
