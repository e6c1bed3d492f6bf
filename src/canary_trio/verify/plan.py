"""The plan of a run: which steps, in which order, by a seed. Pure.

The rule that it obeys: the same seed, and the same steps to choose from, give the same plan,
however fast the machine is; only how far it comes hangs on that. Each step is
there once before one is there twice. What a step draws, it draws from a chance of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import attrs

STEPS = {
    "flip": "ratios, one after another, some of them before the last is live",
    "policy": "how arms and servers are chosen, who keeps them, where calls go",
    "rollout": "an arm raised by steps to all of the traffic",
    "abort": "a rollout that is aborted on its way",
    "handover": "a proxy follows another one on its ports, while ratios change",
    "store": "the store is killed and started again",
    "hang": "the store hangs for seconds, its connections open",
    "cold": "a proxy follows another one while there is no store",
    "crash": "half of the servers, all of the canary's among them, killed",
    "storm": "a crash, a killed store or a handover while a rollout goes on",
    "rollback": "an older document again",
}
"""What there is, and what it does."""

WITH_GIVEN = ("flip",)
"""What is done to a fleet that others need."""


@attrs.frozen
class PlannedStep:
    """A step of a plan.

    Attributes:
        number: its place, from 1 on.
        name: of `STEPS`.
        seed: of what it draws.
    """

    number: int
    name: str
    seed: str

    def chance(self) -> random.Random:
        """Give what it draws from."""
        return random.Random(self.seed)


def plan(seed: int, names: Sequence[str]) -> Iterator[PlannedStep]:
    """Give the steps, without an end.

    >>> from itertools import islice
    >>> [one.name for one in islice(plan(7, ("flip", "crash")), 2)]
    ['crash', 'flip']
    """
    chance, number = random.Random(seed), 0
    while True:
        turn = sorted(names)
        chance.shuffle(turn)
        for name in turn:
            number += 1
            yield PlannedStep(number, name, f"{seed}/{number}")
