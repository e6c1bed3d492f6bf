"""What a document wants counted: a rollout that is not over, by judge or by number. Pure."""

from __future__ import annotations

from canary_trio.config.model import STABLE, Config, Style
from canary_trio.config.rollout import ErrorUnit, JudgeRules, Rollout
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
    return rule_by(
        *(rules, config, window_of(rollout)),
        judged_arms(rollout).names,
        compares=rollout.mirrors,
    )


def rule_by(
    rules: JudgeRules,
    config: Config,
    window: str,
    arms: tuple[str, ...],
    *,
    compares: bool = False,
) -> CountingRule:
    """Give what is counted for a judge.

    Args:
        rules: of the judge: what has failed, and what is a unit.
        config: says whether users have keys.
        window: that it is counted for.
        arms: that are counted.
        compares: whether copies of requests are compared.
    """
    by_user = config.sticky_sessions is not None or config.style is Style.HASH
    return CountingRule(
        window=window,
        arms=arms,
        failing=frozenset(
            status
            for low, high in rules.errors.status
            for status in range(low, high + 1)
        ),
        by_user=by_user,
        compares=compares,
        errors_by_request=by_user and rules.errors.unit is ErrorUnit.REQUESTS,
    )


def judged_arms(rollout: Rollout) -> JudgedArms:
    """Give who is compared with whom; where a third arm is stable, that is the control."""
    control = None if rollout.against == STABLE else STABLE
    return JudgedArms(rollout.arm, rollout.against, control)


def window_of(rollout: Rollout) -> str:
    """Name the step that a rollout is in: what is counted in it belongs together.

    So does what has one unit: in the middle of a change of it proxies count otherwise.
    """
    state, rules = rollout.state, rollout.judge
    if state is None:
        return rollout.id
    name = f"{rollout.id} {state.judged_from or state.begun} {state.step}"
    by_request = rules is not None and rules.errors.unit is ErrorUnit.REQUESTS
    return f"{name} by request" if by_request else name
