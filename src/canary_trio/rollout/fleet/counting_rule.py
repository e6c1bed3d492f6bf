"""What a document wants counted: a rollout that is judged and not over. Pure."""

from __future__ import annotations

from canary_trio.config.model import STABLE, Config, Style
from canary_trio.config.rollout import Rollout
from canary_trio.rollout.fleet.arm_tally import CountingRule
from canary_trio.rollout.fleet.judge_state import JudgedArms


def rule_of(config: Config) -> CountingRule | None:
    """Give what is counted; None for nothing."""
    rollout = config.rollout
    if rollout is None or rollout.judge is None or rollout.state is None:
        return None
    if rollout.is_over:
        return None
    failing = frozenset(
        status
        for low, high in rollout.judge.errors.status
        for status in range(low, high + 1)
    )
    return CountingRule(
        window=window_of(rollout),
        arms=judged_arms(rollout).names,
        failing=failing,
        by_user=config.sticky_sessions is not None or config.style is Style.HASH,
    )


def judged_arms(rollout: Rollout) -> JudgedArms:
    """Give who is compared with whom; where a third arm is stable, that is the control."""
    control = None if rollout.against == STABLE else STABLE
    return JudgedArms(rollout.arm, rollout.against, control)


def window_of(rollout: Rollout) -> str:
    """Name the step that a rollout is in: what is counted in it belongs together."""
    state = rollout.state
    return rollout.id if state is None else f"{rollout.id} {state.begun} {state.step}"
