"""What operators tell a rollout, in every phase: another ratio and state, or a refusal. Pure.

The rules that all of it obeys: a command needs no driver, so it writes the whole of what it
says, at once; what is so already is written no second time; and a refusal says what to do
in place of it. One file, since each command is read beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import attrs

from canary_trio.config.model import STABLE, WHOLE, format_share
from canary_trio.config.rollout import Phase, Rollout, RolloutState
from canary_trio.errors import RolloutRefused
from canary_trio.rollout.moves import (
    Move,
    Ratio,
    Situation,
    aborted,
    at_step,
    moved,
    open_gates,
    place_of,
    shares,
    toward,
)

Command = Callable[[Rollout, Ratio, Situation], Move | None]
"""Gives what is to be written; None if it is so already."""


def check_start(before: Rollout | None, after: Rollout, *, replace: bool) -> None:
    """Check that a rollout may begin where another one may be.

    Raises:
        RolloutRefused: that one is in progress.
    """
    if before is None or before.is_over or before.state is None or replace:
        return
    raise RolloutRefused(
        f"rollout {before.id} is {before.state.phase.value}: end it with `canary rollout"
        f" abort`, or put {after.id} in its place with --replace"
    )


def start(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move:
    """Begin with the first step; what it waits for is for its driver to look at."""
    present = ratio.get(rollout.arm, 0)
    fresh = attrs.evolve(rollout, state=None)
    gates = open_gates(fresh, 0)
    if seen.frozen or gates:
        reason = seen.frozen or f"gate {gates[0].name}: not asked yet"
        state = RolloutState(
            Phase.WAITING,
            to_begin=True,
            ratio=present,
            begun=seen.now_ms,
            since=seen.now_ms,
            by=seen.by,
            reason=reason,
            before=seen.before,
        )
        return Move(ratio, state)
    share = toward(fresh, present, fresh.steps[0].ratio)
    return at_step(fresh, ratio, 0, seen, "begun", share)


def promote(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move:
    """End the present step now: the next one begins, or the rollout is done."""
    state = _going(rollout, "promote")
    if state.to_begin:
        return _to(rollout, ratio, 0, seen)
    if state.step + 1 < len(rollout.steps):
        return _to(rollout, ratio, state.step + 1, seen)
    return promote_full(rollout, ratio, seen)


def promote_full(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move:
    """Go to the last step now, and be done."""
    _going(rollout, "promote")
    last = len(rollout.steps) - 1
    found = _to(rollout, ratio, last, seen)
    return attrs.evolve(found, state=attrs.evolve(found.state, phase=Phase.DONE))


def pause(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | None:
    """Let nothing move until somebody says so."""
    state = _going(rollout, "pause")
    if state.phase is Phase.PAUSED and state.by_hand:
        return None
    return moved(
        *(rollout, ratio, seen),
        phase=Phase.PAUSED,
        by_hand=True,
        reason="paused by hand",
        ratio=ratio.get(rollout.arm, 0),
    )


def resume(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | None:
    """Go on from the ratio that is there; the hold of its step begins anew."""
    state = _going(rollout, "resume")
    if state.phase is not Phase.PAUSED:
        return None
    present = ratio.get(rollout.arm, 0)
    is_known = state.step < len(rollout.steps) and not (
        state.to_begin or state.target is None
    )
    step = state.step if is_known else 0
    if present not in (0, rollout.steps[step].ratio):
        step = place_of(rollout, present)
    found = at_step(rollout, ratio, step, seen, "resumed", present)
    return _judged_anew(found, seen)


def abort(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | None:
    """Give the arm no traffic any more, at once."""
    state = _begun(rollout, "abort")
    _refuse_finished(rollout, state, "abort")
    gone = not ratio.get(rollout.arm, 0)
    if state.phase is Phase.ABORTED and gone:
        return None
    return aborted(rollout, ratio, seen, "aborted by hand")


def retry(rollout: Rollout, ratio: Ratio, seen: Situation, step: int = 0) -> Move:
    """Begin again after an abort, from a step."""
    state = _begun(rollout, "retry")
    if state.phase not in (Phase.ABORTED, Phase.ABORTING):
        _refuse(rollout, "retry", state.phase)
    if not 0 <= step < len(rollout.steps):
        raise RolloutRefused(
            f"found step {step}, expected one from 0 to {len(rollout.steps) - 1}"
        )
    share = toward(rollout, ratio.get(rollout.arm, 0), rollout.steps[step].ratio)
    again = at_step(rollout, ratio, step, seen, f"again, from step {step}", share)
    state = attrs.evolve(again.state, begun=seen.now_ms, verdict=None)
    return _judged_anew(attrs.evolve(again, state=state), seen)


def skip_gates(
    rollout: Rollout,
    ratio: Ratio,
    seen: Situation,
    names: Sequence[str] = (),
    *,
    approvals: bool = False,
) -> Move | None:
    """Let the next step begin without gates, or with what they wait for given.

    Args:
        rollout: whose next step it is.
        ratio: as it is.
        seen: when, and by whom.
        names: of the gates; none for all that the next step waits for.
        approvals: of those that wait for an approval only.
    """
    state = _going(rollout, "approve" if approvals else "skip-gate")
    following = 0 if state.to_begin else state.step + 1
    left = [
        gate
        for gate in rollout.gates
        if gate.is_at(following) and (gate.approval or not approvals)
    ]
    known = [gate.name for gate in left]
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise RolloutRefused(
                f"found no gate {name!r} before step {following}, expected one of: {there}"
            )
    passed = {*state.passed, *(names or known)}
    if passed == {*state.passed}:
        if not known:
            raise RolloutRefused(f"no gate is before step {following}")
        return None
    ordered = tuple(gate.name for gate in rollout.gates if gate.name in passed)
    # nothing moves by it, so a hold goes on
    return Move(ratio, attrs.evolve(state, passed=ordered, by=seen.by))


def check_finish(rollout: Rollout, ratio: Ratio) -> None:
    """Check that the arm has all traffic, and its rollout is done.

    Raises:
        RolloutRefused: it is not so.
    """
    state = _begun(rollout, "finish")
    if state.phase is not Phase.DONE:
        _refuse(rollout, "finish", state.phase)
    _refuse_finished(rollout, state, "finish")
    share = ratio.get(rollout.arm, 0)
    if share != WHOLE:
        raise RolloutRefused(
            f"{rollout.arm} has a share of {format_share(share)}, expected 1: what it has"
            f" not, {STABLE} has; another rollout goes on from there"
        )


def after_operator(
    before: Rollout, ratio_before: Ratio, after: Rollout, ratio: Ratio, seen: Situation
) -> Move | None:
    """Say how a rollout stands after a write by hand of the whole document.

    What a rollout of one id has come to is not for a document to forget: it stays as it
    stands in the store. One that was in progress pauses if its ratio was changed.

    Args:
        before: the rollout, as it is in the store.
        ratio_before: the ratio there.
        after: the rollout that is written.
        ratio: that is written.
        seen: when, and by whom.
    """
    state = before.state
    if state is None or after.id != before.id:
        return None
    kept = attrs.evolve(after, state=state)
    changed = ratio.get(after.arm, 0) != ratio_before.get(before.arm, 0)
    if not changed or state.phase.is_over:
        return Move(ratio, state)
    share = ratio.get(after.arm, 0)
    return moved(
        *(kept, ratio, seen),
        phase=Phase.PAUSED,
        ratio=share,
        by_hand=True,
        reason=f"the ratio was set to {format_share(share)} by hand",
    )


def brought_back(rollout: Rollout, ratio: Ratio, seen: Situation) -> Move | None:
    """Say how a rollout stands that comes back with a former document; None for as it did.

    One that was in progress there would go on by itself, though nobody asked for it now,
    with a judge and a hold that know nothing of what came between: so it is paused.
    """
    if rollout.is_over:
        return None
    before = rollout.state
    was = "had not begun" if before is None else f"was {before.phase.value}"
    state = before or RolloutState(Phase.PAUSED, to_begin=True, begun=seen.now_ms)
    return moved(
        *(attrs.evolve(rollout, state=state), ratio, seen),
        phase=Phase.PAUSED,
        ratio=ratio.get(rollout.arm, 0),
        by_hand=True,
        reason=f"it came back with a former document, in which it {was}",
    )


# === small ===

_INSTEAD = {
    Phase.RUNNING: "it goes on by itself; `canary rollout pause` or `abort` stops it",
    Phase.WAITING: "`canary rollout promote` begins the next step",
    Phase.PAUSED: "`canary rollout resume` lets it go on",
    Phase.ABORTING: "`canary rollout retry` begins it again",
    Phase.ABORTED: "`canary rollout retry` begins it again",
    Phase.DONE: "`canary rollout finish` makes its servers stable's; another id begins"
    " another one",
}

_FINISHED = (
    "`canary rollout undo` goes back to before it; another id begins another one"
)

_NOT_ALL = (
    "another rollout goes on from there: only what has all traffic can be finished;"
    " `canary rollout abort` takes it back"
)


def next_command(state: RolloutState) -> str:
    """Say what an operator does next."""
    if state.phase is Phase.DONE and state.ratio not in (None, WHOLE):
        return _FINISHED if _is_finished(state) else _NOT_ALL
    return _INSTEAD[state.phase]


def _begun(rollout: Rollout, command: str) -> RolloutState:
    if rollout.state is None:
        raise RolloutRefused(
            f"cannot {command}: rollout {rollout.id} has not begun; its driver begins it,"
            " or `canary rollout start`"
        )
    return rollout.state


def _is_finished(state: RolloutState) -> bool:
    """Tell whether `finish` was written: a rollout that is done has a ratio until then."""
    return state.phase is Phase.DONE and state.ratio == 0


def _refuse_finished(rollout: Rollout, state: RolloutState, command: str) -> None:
    """Refuse what would be said of an arm whose servers are stable's by now."""
    if _is_finished(state):
        raise RolloutRefused(
            f"cannot {command}: rollout {rollout.id} is finished, and the servers of"
            f" {rollout.arm} are {STABLE}'s; {_FINISHED}"
        )


def _going(rollout: Rollout, command: str) -> RolloutState:
    state = _begun(rollout, command)
    if state.phase.is_over or state.phase is Phase.ABORTING:
        _refuse(rollout, command, state.phase)
    return state


def _refuse(rollout: Rollout, command: str, phase: Phase) -> NoReturn:
    state = rollout.state
    instead = _INSTEAD[phase] if state is None else next_command(state)
    raise RolloutRefused(
        f"cannot {command}: rollout {rollout.id} is {phase.value}; {instead}"
    )


def _to(rollout: Rollout, ratio: Ratio, step: int, seen: Situation) -> Move:
    """Go to a step by hand: with its whole ratio at once."""
    share = rollout.steps[step].ratio
    found = at_step(rollout, ratio, step, seen, f"promoted to step {step}", share)
    assert found.ratio == shares(rollout, ratio, share), "all at once"
    was_paused = rollout.state is not None and rollout.state.phase is Phase.PAUSED
    return _judged_anew(found, seen) if was_paused else found


def _judged_anew(move: Move, seen: Situation) -> Move:
    """Let the judge begin with nothing: or what it stopped, it would stop again."""
    return attrs.evolve(move, state=attrs.evolve(move.state, judged_from=seen.now_ms))
