"""What a rollout's plan and its commands share: what is seen, and moves. Pure.

A move is a ratio and a state that are written together; a rest says what is waited for.
The rule that all moves obey: the arm gets its share, the one that it is compared with gets
the same as long as both fit, and the shares of other arms stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from canary_trio.config.model import STABLE, WHOLE
from canary_trio.config.rollout import (
    MOST_E_VALUE,
    Phase,
    Rollout,
    RolloutGate,
    RolloutState,
    StoredVerdict,
)
from canary_trio.rollout.verdict import Finding

RAMP_S = 1.0
"""Between two changes of the ratio on the way to a step, in seconds."""

Ratio = Mapping[str, int]
"""Shares by arm, in ten-thousandths."""


@attrs.frozen
class Judgement:
    """What the judge says, as the plan needs it.

    Attributes:
        finding: in one word.
        words: with the reason.
        e_value: of all metrics together.
    """

    finding: Finding
    words: str
    e_value: float = 1.0


@attrs.frozen
class GateReport:
    """What a gate said last.

    Attributes:
        passed: whether it lets the step begin.
        words: what it waits for, or what it found.
        failed: whether it has failed so often that the rollout is to pause.
    """

    passed: bool
    words: str = ""
    failed: bool = False


@attrs.frozen
class Situation:
    """What is known at one moment.

    Attributes:
        now_ms: the time, in ms since 1970.
        by: who drives.
        held_s: how long nothing has moved, as far as drivers have watched it.
        judgement: the judge's; None while it has said nothing.
        requests: of the arm, and of the one that it is compared with, in this step.
        gates: what those gates said that were asked, by name.
        frozen: why no step begins now; empty if one may.
        short: why the arm that takes over has no room; empty if it has.
        before: the revision that is there, which a beginning notes.
    """

    now_ms: int
    by: str = ""
    held_s: float = 0.0
    judgement: Judgement | None = None
    requests: tuple[int, ...] = ()
    gates: Mapping[str, GateReport] = attrs.field(factory=dict)
    frozen: str = ""
    short: str = ""
    before: int = 0


@attrs.frozen
class Move:
    """What is to be written: the ratio and the state, together.

    Attributes:
        ratio: all shares.
        state: how the rollout stands then.
    """

    ratio: Ratio
    state: RolloutState


@attrs.frozen
class Rest:
    """Nothing is to be written now.

    Attributes:
        reason: what is waited for, in words.
        for_s: look again after so many seconds at the latest; None for when news comes.
        gates: those that are to be asked meanwhile.
    """

    reason: str
    for_s: float | None = None
    gates: tuple[RolloutGate, ...] = ()


def shares(rollout: Rollout, ratio: Ratio, share: int) -> Ratio:
    """Give the ratio with another share of the arm, and of what it is compared with."""
    found = {**ratio, rollout.arm: share}
    if rollout.against != STABLE:
        found[rollout.against] = 0
        others = sum(found.values())
        if others + share <= WHOLE:
            found[rollout.against] = share
    return found


def mark_of(rollout: Rollout) -> str:
    """Say of which moment of a rollout something is, such as a hold; empty before it began."""
    state = rollout.state
    if state is None:
        return ""
    parts = (state.since, state.phase.value, state.step, state.ratio)
    return " ".join(map(str, (rollout.id, *parts)))


def place_of(rollout: Rollout, share: int) -> int:
    """Give the first step whose ratio a share has not passed; else the last."""
    for place, step in enumerate(rollout.steps):
        if step.ratio >= share:
            return place
    return len(rollout.steps) - 1


def at_step(
    rollout: Rollout, ratio: Ratio, step: int, seen: Situation, reason: str, share: int
) -> Move:
    """Give the move to a step, with a share on the way to its ratio."""
    state = rollout.state or RolloutState(
        Phase.RUNNING, begun=seen.now_ms, before=seen.before
    )
    return Move(
        shares(rollout, ratio, share),
        attrs.evolve(
            state,
            phase=Phase.RUNNING,
            step=step,
            target=rollout.steps[step].ratio,
            ratio=share,
            since=seen.now_ms,
            by=seen.by,
            reason=reason,
            to_begin=False,
            by_hand=False,
            passed=(),
            verdict=verdict_of(seen) or state.verdict,
        ),
    )


def moved(rollout: Rollout, ratio: Ratio, seen: Situation, /, **fields: Any) -> Move:
    """Give a move of the state alone."""
    assert rollout.state is not None, "it has begun"
    state = attrs.evolve(rollout.state, since=seen.now_ms, by=seen.by, **fields)
    return Move(ratio, attrs.evolve(state, verdict=verdict_of(seen) or state.verdict))


def aborted(rollout: Rollout, ratio: Ratio, seen: Situation, reason: str) -> Move:
    """Give the move to no traffic at all, at once."""
    found = moved(
        rollout, ratio, seen, phase=Phase.ABORTED, ratio=0, reason=reason, by_hand=False
    )
    return attrs.evolve(found, ratio=shares(rollout, ratio, 0))


def toward(rollout: Rollout, present: int, target: int) -> int:
    """Give the share that is one second nearer to another one, by the slope."""
    most = max(1, math.floor(rollout.slope * WHOLE * RAMP_S + 1e-9))
    return (
        min(target, present + most) if target > present else max(target, present - most)
    )


def open_gates(rollout: Rollout, step: int) -> tuple[RolloutGate, ...]:
    """Give the gates of a step that nobody approved or skipped."""
    passed = rollout.state.passed if rollout.state else ()
    return tuple(g for g in rollout.gates if g.is_at(step) and g.name not in passed)


def verdict_of(seen: Situation) -> StoredVerdict | None:
    """Give what the judge says as a document takes it; an e-value has no bound."""
    if seen.judgement is None:
        return None
    e_value = min(seen.judgement.e_value, MOST_E_VALUE)
    return StoredVerdict(seen.judgement.words, e_value, seen.requests[:2])
