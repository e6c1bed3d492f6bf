"""What a request's end is for the judge of a rollout, and when anything is counted at all.

    failed    a status that counts as a failure, a response that was cut, none in time, no
              server; a try at the arm that failed, though another one saved the request
    neither   its client left, before there was a response or in the middle of it

A tunnel counts by how it began; what it took says nothing, and nor does what we said
ourselves. The rule that it obeys: what the two arms are compared by is the same for both.
"""

from __future__ import annotations

from canary_trio.config.model import Config
from canary_trio.rollout.fleet.arm_tally import EPOCH_BYTES, Counting, Tally
from canary_trio.rollout.fleet.counting_rule import rule_of
from canary_trio.routing.decision import Chance, Decision, Reason

SWITCHED = 101
"""The status of a tunnel."""


def counting_of(
    config: Config, before: Counting | None, chance: Chance
) -> Counting | None:
    """Give what a configuration wants counted: what was before, where that is the same."""
    rule = rule_of(config)
    if rule is None:
        return None
    if before is not None and before.rule == rule:
        return before
    return Counting(rule, chance.bytes(EPOCH_BYTES).hex())


def count_other(tally: Tally, decision: Decision, status: int, *, failed: bool) -> None:
    """Count a request that was not just answered; `status` is 0 if its client left first."""
    if failed or status == SWITCHED:
        tally.add(user_of(decision), failed=failed)


def count_timed(tally: Tally, decision: Decision, seconds: float) -> None:
    """Count a request that was just answered, and that is to be timed."""
    if decision.bucket is None:
        tally.take(seconds)
    elif decision.reason is Reason.RATIO:
        tally.take(seconds, None, decision.user or decision.key)
    else:
        tally.take(seconds, decision.user or decision.key)


def user_of(decision: Decision) -> bytes | None:
    """Give the key of a request's user; None if there is none, or it is made only now."""
    if decision.bucket is None or decision.reason is Reason.RATIO:
        return None
    return decision.user or decision.key
