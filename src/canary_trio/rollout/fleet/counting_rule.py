"""What a document wants counted, and judged: a rollout that is not over. Pure."""

from __future__ import annotations

from canary_trio.config.model import STABLE, Config, Style
from canary_trio.config.rollout import JudgedLatency, JudgeRules, Rollout
from canary_trio.rollout.fleet.arm_tally import CountingRule
from canary_trio.rollout.fleet.judge_state import JudgedArms
from canary_trio.rollout.judge import JudgeSettings


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


def run_of(rollout: Rollout) -> str:
    """Name a rollout's run, from its beginning or its retry: one judge is for all of it."""
    return f"{rollout.id} {0 if rollout.state is None else rollout.state.begun}"


def window_of(rollout: Rollout) -> str:
    """Name the step that a rollout is in: what is counted in it belongs together."""
    return f"{run_of(rollout)} {0 if rollout.state is None else rollout.state.step}"


def settings_of(rules: JudgeRules) -> JudgeSettings:
    """Say a document's judge in the judge's words."""
    latency = rules.latency or JudgedLatency(quantiles=())
    return JudgeSettings(
        error_tolerance=rules.errors.tolerance,
        latency_quantiles=latency.quantiles,
        latency_tolerance=latency.tolerance,
        alpha=rules.alpha,
        requests=rules.requests,
        error_ceiling=rules.errors.ceiling,
    )
