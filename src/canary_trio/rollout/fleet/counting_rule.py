"""What a document wants counted: a rollout that is not over, by judge or by number. Pure."""

from __future__ import annotations

from canary_trio.config.model import STABLE, Config, Style
from canary_trio.config.rollout import JudgeRules, Rollout
from canary_trio.rollout.fleet.arm_tally import CountingRule
from canary_trio.rollout.fleet.judge_state import JudgedArms


def rule_of(config: Config) -> CountingRule | None:
    """Give what is counted; None for nothing."""
    rollout = config.rollout
    if rollout is None or rollout.state is None or rollout.is_over:
        return None
    if rollout.judge is None and not any(step.requests for step in rollout.steps):
        return None
    if rollout.state.step == 0 and rollout.compares_first and not rollout.mirrors:
        return None  # nothing has begun, or it is paused
    rules = rollout.judge or JudgeRules()
    failing = frozenset(
        status for low, high in rules.errors.status for status in range(low, high + 1)
    )
    return CountingRule(
        window=window_of(rollout),
        arms=judged_arms(rollout).names,
        failing=failing,
        compares=rollout.mirrors,
        by_user=config.sticky_sessions is not None or config.style is Style.HASH,
    )


def judged_arms(rollout: Rollout) -> JudgedArms:
    """Give who is compared with whom; where a third arm is stable, that is the control."""
    control = None if rollout.against == STABLE else STABLE
    return JudgedArms(rollout.arm, rollout.against, control)


def window_of(rollout: Rollout) -> str:
    """Name the step that a rollout is in: what is counted in it belongs together."""
    state = rollout.state
    if state is None:
        return rollout.id
    return f"{rollout.id} {state.judged_from or state.begun} {state.step}"
