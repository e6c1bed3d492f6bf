"""What a rollout does next: a state machine over the document. Pure.

    (rollout, ratio, what is seen) -> another ratio and state, or a rest until something comes

Whoever drives asks it again and again, writes what it says by compare-and-set, and is
harmless if another one does so too. The rules that it obeys:

- It walks the steps that were written, never past them; besides it only holds and aborts.
- A ratio that somebody else wrote stays: the rollout pauses.
- A regression acts at once, in one move; all else moves at most by the slope.
- Whatever is missing is said in `reason`; not enough data is never enough.
- How long a hold lasts is measured by who drives, so that no clock can shorten it.

One file, since it is one state machine, which its reader follows from top to bottom.
"""

from __future__ import annotations

import math

import attrs

from canary_trio.config.model import STABLE, WHOLE, format_share
from canary_trio.config.rollout import (
    AtDeadline,
    ErrorUnit,
    Phase,
    Rollout,
    RolloutState,
    Then,
)
from canary_trio.rollout.moves import (
    RAMP_S,
    Judgement,
    Move,
    Ratio,
    Rest,
    Situation,
    aborted,
    at_step,
    moved,
    open_gates,
    place_of,
    shares,
    toward,
)
from canary_trio.rollout.verdict import Finding

AGAIN_S = 5.0
"""How soon what is waited for is looked at again, where nothing tells of it, in seconds."""


def plan(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | Rest:
    """Say what comes next."""
    state = rollout.state
    if state is None or (state.phase is Phase.WAITING and state.to_begin):
        return _begin(rollout, ratio, seen)
    for look in (_rest_at_end, _yield, _look_at_deadline, _stand, _judge, _relocate):
        found = look(rollout, state, ratio, seen)
        if found is not None:
            break
    else:
        present = ratio.get(rollout.arm, 0)
        is_there = present == rollout.steps[state.step].ratio
        found = (_hold if is_there else _ramp)(rollout, state, ratio, seen)
    if isinstance(found, Rest) and rollout.deadline is not None:
        left_s = rollout.deadline + (state.begun - seen.now_ms) / 1000
        if 0 < left_s < (found.for_s or math.inf):
            return attrs.evolve(found, for_s=left_s)
    return found


# === before, and at the end ===


def _begin(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | Rest:
    """Begin with the first step, unless something holds it."""
    present = ratio.get(rollout.arm, 0)
    reason = _held_back(rollout, 0, seen)
    if reason is None:
        if seen.short and rollout.steps[0].ratio > present:
            return Rest(f"step 0 waits: {seen.short}", RAMP_S)
        share = toward(rollout, present, rollout.steps[0].ratio)
        return at_step(rollout, ratio, 0, seen, "begun", share)
    state = rollout.state
    if isinstance(reason, Rest) or (state is not None and state.reason == reason):
        return reason if isinstance(reason, Rest) else _asking(rollout, 0, reason)
    begun = state or RolloutState(
        Phase.WAITING, begun=seen.now_ms, before=seen.before, to_begin=True
    )
    waiting = attrs.evolve(
        begun, ratio=present, since=seen.now_ms, by=seen.by, reason=reason
    )
    return Move(ratio, waiting)


def _rest_at_end(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Rest | None:
    del rollout, ratio, seen
    return Rest(f"it is {state.phase.value}") if state.phase.is_over else None


def _yield(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | None:
    """Leave the ratio to who wrote another one."""
    present = ratio.get(rollout.arm, 0)
    if state.phase is Phase.PAUSED or state.ratio in (None, present):
        return None
    assert state.ratio is not None, "it was just looked at"
    found, meant = format_share(present), format_share(state.ratio)
    reason = f"somebody set the ratio to {found}, where it was at {meant}"
    return moved(
        *(rollout, ratio, seen),
        phase=Phase.PAUSED,
        ratio=present,
        by_hand=True,
        reason=reason,
    )


def _look_at_deadline(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | None:
    if rollout.deadline is None or not state.begun or state.by_hand:
        return None
    is_late = seen.now_ms >= state.begun + rollout.deadline * 1000
    if not is_late or state.phase is Phase.ABORTING:
        return None
    reason = f"the deadline of {rollout.deadline:g} s has passed, in step {state.step}"
    if rollout.when is AtDeadline.ABORT:
        going = moved(rollout, ratio, seen, reason=reason)
        return _down(rollout, going.state, ratio, seen)
    if state.phase is Phase.PAUSED:
        return None
    return moved(rollout, ratio, seen, phase=Phase.PAUSED, reason=reason)


def _stand(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | Rest | None:
    """Stay paused, or go on down."""
    if state.phase is Phase.PAUSED:
        return Rest(f"paused: {state.reason}" if state.reason else "paused")
    if state.phase is Phase.ABORTING:
        return _ramp_down(rollout, state, ratio, seen)
    return None


def _ramp_down(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | Rest:
    if ratio.get(rollout.arm, 0):
        if seen.held_s < RAMP_S:
            return Rest("on the way down", RAMP_S - seen.held_s)
        if seen.short:
            return Rest(f"on the way down; {seen.short}", RAMP_S)
    return _down(rollout, state, ratio, seen)


def _down(rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation) -> Move:
    share = toward(rollout, ratio.get(rollout.arm, 0), 0)
    phase = Phase.ABORTING if share else Phase.ABORTED
    found = attrs.evolve(state, phase=phase, ratio=share, since=seen.now_ms, by=seen.by)
    return Move(shares(rollout, ratio, share), found)


def _judge(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | None:
    """Act on a regression, whatever else is going on."""
    rules, judgement = rollout.judge, seen.judgement
    if rules is None or judgement is None or not _is_bad(judgement):
        return None
    is_worse = judgement.finding is Finding.REGRESSION
    if is_worse and rules.then is Then.ABORT:
        return aborted(rollout, ratio, seen, judgement.words)
    # who asked for requests as the unit decides what is to be counted in their place
    if rules.then is not Then.SAY and (
        is_worse or rules.errors.unit is ErrorUnit.REQUESTS
    ):
        return moved(rollout, ratio, seen, phase=Phase.PAUSED, reason=judgement.words)
    if state.verdict is not None and state.verdict.finding == judgement.words:
        return None
    said = (
        "would have been aborted: " if rules.then is Then.SAY else "judged by nobody: "
    )
    noted = moved(rollout, ratio, seen, reason=said + judgement.words)
    # nothing moves by it, so a hold goes on
    return attrs.evolve(noted, state=attrs.evolve(noted.state, since=state.since))


def _is_bad(judgement: Judgement) -> bool:
    return judgement.finding in (Finding.REGRESSION, Finding.UNSOUND)


def _relocate(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | None:
    """Go on where the ratio is, if the steps are others now."""
    known = state.step < len(rollout.steps)
    if known and state.target in (None, rollout.steps[state.step].ratio):
        return None
    present = ratio.get(rollout.arm, 0)
    step = place_of(rollout, present)
    reason = f"the steps are others now; it goes on at step {step}"
    return at_step(rollout, ratio, step, seen, reason, present)


def _ramp(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | Rest:
    """Go on to the ratio of the step."""
    present, target = ratio.get(rollout.arm, 0), rollout.steps[state.step].ratio
    words = f"on the way to {format_share(target)}"
    if seen.held_s < RAMP_S:
        return Rest(words, RAMP_S - seen.held_s)
    if target > present:
        if seen.short:
            return Rest(f"{words}; {seen.short}", RAMP_S)
        if _suspects(rollout, seen):
            return Rest(f"{words}; {_words(seen)}", RAMP_S)
    share = toward(rollout, present, target)
    return Move(
        shares(rollout, ratio, share),
        attrs.evolve(
            state,
            phase=Phase.RUNNING,
            ratio=share,
            since=seen.now_ms,
            by=seen.by,
            reason=words if share != target else f"at {format_share(target)}",
        ),
    )


def _hold(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | Rest:
    """Stay at the step until all that it waits for is there."""
    step = rollout.steps[state.step]
    hold_s = max(step.hold or 0.0, RAMP_S)  # else steps without a hold pass the slope
    if seen.held_s < hold_s and state.phase is Phase.RUNNING:
        left_s = hold_s - seen.held_s
        return Rest(f"at {format_share(step.ratio)} for {left_s:.0f} s more", left_s)
    if (reason := _missing(rollout, state, ratio, seen)) is not None:
        return _wait(rollout, state, ratio, seen, reason)
    following = state.step + 1
    if following == len(rollout.steps):
        return moved(
            rollout, ratio, seen, phase=Phase.DONE, reason="all steps are done"
        )
    return _go_on(rollout, state, ratio, seen)


def _go_on(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> Move | Rest:
    """Begin the next step, unless something holds it back."""
    step, following = rollout.steps[state.step], state.step + 1
    held = _held_back(rollout, following, seen)
    if held is None:
        if seen.short:
            return Rest(f"step {following} waits: {seen.short}", RAMP_S)
        share = toward(rollout, step.ratio, rollout.steps[following].ratio)
        return at_step(rollout, ratio, following, seen, f"step {following}", share)
    if isinstance(held, Rest):
        return held
    gates = [seen.gates.get(gate.name) for gate in open_gates(rollout, following)]
    if any(report is not None and report.failed for report in gates):
        return moved(rollout, ratio, seen, phase=Phase.PAUSED, reason=held)
    found = _wait(rollout, state, ratio, seen, held)
    return _asking(rollout, following, held) if isinstance(found, Rest) else found


def _wait(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation, reason: str
) -> Move | Rest:
    """Say once that something is missing, and wait for it."""
    if state.phase is Phase.WAITING and state.reason == reason:
        return Rest(reason, AGAIN_S)
    return moved(rollout, ratio, seen, phase=Phase.WAITING, reason=reason)


def _asking(rollout: Rollout, step: int, reason: str) -> Rest:
    return Rest(reason, AGAIN_S, open_gates(rollout, step))


def _missing(
    rollout: Rollout, state: RolloutState, ratio: Ratio, seen: Situation
) -> str | None:
    """Say what the step itself waits for; None for nothing."""
    step, rules = rollout.steps[state.step], rollout.judge
    found = None
    if step.hold is None:
        found = "until somebody promotes it"
    elif step.requests and min(seen.requests or (0,)) < step.requests:
        what = "requests" if step.ratio else "comparisons"
        found = f"fewer than {step.requests:,} {what} in this step"
    elif _suspects(rollout, seen):
        found = _words(seen)
    elif rules is None or rules.then is Then.SAY or not _is_compared(rollout, ratio):
        found = None
    elif seen.judgement is None:
        found = "the judge has said nothing yet"
    elif seen.judgement.finding is Finding.NOT_ENOUGH_DATA:
        found = _words(seen)
        if rollout.mirrors and rules.mirror is not None:
            found += f": fewer than {rules.mirror.requests:,} comparisons"
    return found


def _is_compared(rollout: Rollout, ratio: Ratio) -> bool:
    """Tell whether there is something to compare it with: its traffic, or copies."""
    if rollout.mirrors:
        return True
    if rollout.against == STABLE:
        return sum(ratio.values()) < WHOLE
    return ratio.get(rollout.against, 0) > 0


def _suspects(rollout: Rollout, seen: Situation) -> bool:
    if rollout.judge is None or rollout.judge.then is Then.SAY:
        return False
    return seen.judgement is not None and seen.judgement.finding is Finding.SUSPICIOUS


def _held_back(rollout: Rollout, step: int, seen: Situation) -> str | Rest | None:
    """Say why a step may not begin; a rest if its gates are to be asked first."""
    if seen.frozen:
        return seen.frozen
    gates = open_gates(rollout, step)
    if any(gate.name not in seen.gates for gate in gates):
        return Rest("its gates are asked", 1.0, gates)
    for gate in gates:
        if not seen.gates[gate.name].passed:
            return f"gate {gate.name}: {seen.gates[gate.name].words}"
    return None


def _words(seen: Situation) -> str:
    return "" if seen.judgement is None else seen.judgement.words
