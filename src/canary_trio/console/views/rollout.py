"""A rollout as the console shows it: steps, countdown, the judge's tiles, what may be told. Pure.

All of it is read from the store: the document says how the rollout stands, its driver's note
what it waits for, how long a hold has lasted and what the judge has come to, and the proxies'
evidence what was counted. So any proxy shows it, whoever drives. One file,
since all of it is one table of one rollout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from canary_trio.config.model import Config
from canary_trio.config.rollout import Phase, Rollout
from canary_trio.control.driving.duty import KeptState
from canary_trio.control.driving.fleet_judge import settings_of
from canary_trio.control.fleet.evidence import evidence_in
from canary_trio.control.store_keys import driver_key, driver_state_key
from canary_trio.errors import RolloutRefused, printable
from canary_trio.rollout import commands
from canary_trio.rollout.fleet.counting_rule import judged_arms, window_of
from canary_trio.rollout.fleet.judge_state import JudgeState
from canary_trio.rollout.moves import Situation, mark_of, open_gates
from canary_trio.rollout.verdict import MetricVerdict, Verdict
from kv_trio import Entry

Table = dict[str, Any]

COMMANDS: Mapping[str, commands.Command] = {
    "promote": commands.promote,
    "promote-full": commands.promote_full,
    "pause": commands.pause,
    "resume": commands.resume,
    "abort": commands.abort,
    "retry": commands.retry,
    "skip-gate": commands.skip_gates,
}
"""What a rollout can be told that is a move of it alone."""

ACTIONS = (*COMMANDS, "undo", "finish")
"""All that it can be told."""


def rollout_view(
    config: Config, service: str, entries: Mapping[str, Entry], now: float
) -> Table | None:
    """Give a service's rollout; None if it has none.

    Args:
        config: the document.
        service: whose it is.
        entries: all that the store has of the service, by key.
        now: seconds since 1970.
    """
    rollout = config.rollout
    if rollout is None:
        return None
    state = rollout.state
    lock = entries.get(driver_key(service))
    note = entries.get(driver_state_key(service))
    kept = KeptState.load(None if note is None else note.value)
    is_driven = lock is not None and lock.session is not None
    own = kept.state.get("rollout") if is_driven else None
    own = own if isinstance(own, dict) else {}
    is_present = own.get("of") == mark_of(rollout)
    verdict = _verdict(rollout, own)
    seen = _time(kept.at)
    return {
        "id": printable(rollout.id),
        "arm": printable(rollout.arm),
        "against": printable(rollout.against),
        "phase": "not begun" if state is None else state.phase.value,
        "step": None if state is None or state.target == 0 else state.step,
        "steps": _steps(rollout),
        "ratio": config.ratio.get(rollout.arm, 0) / 10_000,
        "reason": "" if state is None else printable(state.reason),
        "by": "" if state is None else printable(state.by),
        "since": None if state is None else _time(state.since),
        "began": None if state is None else _time(state.begun),
        "waits_for": printable(str(own.get("waits_for", ""))) if is_present else "",
        "countdown_at": _countdown(rollout, own, kept.at) if is_present else None,
        "deadline_at": _deadline(rollout),
        "finding": _finding(rollout, verdict),
        "tiles": _tiles(rollout, verdict, service, entries.values()),
        "judged_at": seen if verdict is not None else None,
        "driver": printable(kept.by) if is_driven else "",
        "driver_seen": seen,
        "next": "its driver begins it"
        if state is None
        else commands.next_command(state),
        "over": rollout.is_over,
        "gates": _gates(rollout),
        "actions": _actions(config, rollout, now),
    }


def _steps(rollout: Rollout) -> list[Table]:
    state = rollout.state
    present = -1 if state is None or state.target == 0 else state.step
    is_done = state is not None and state.phase is Phase.DONE
    found = []
    for place, step in enumerate(rollout.steps):
        if is_done or place < present:
            where = "past"
        else:
            where = "present" if place == present else "future"
        found.append(
            {
                "ratio": step.ratio / 10_000,
                "hold_s": step.hold,
                "requests": step.requests,
                "gates": [g.name or g.kind for g in rollout.gates if g.is_at(place)],
                "state": where,
            }
        )
    return found


def _countdown(rollout: Rollout, own: Table, kept_at: int) -> float | None:
    """Give when the hold of the present step ends, as far as a clock decides that."""
    state = rollout.state
    if state is None or state.phase is not Phase.RUNNING:
        return None
    if not 0 <= state.step < len(rollout.steps):
        return None
    hold, held = rollout.steps[state.step].hold, own.get("held_s")
    if hold is None or not isinstance(held, int | float) or not math.isfinite(held):
        return None
    return round(kept_at / 1000 + hold - held, 1)


def _deadline(rollout: Rollout) -> float | None:
    state = rollout.state
    if state is None or rollout.deadline is None or state.phase.is_over:
        return None
    return round(state.begun / 1000 + rollout.deadline, 1)


def _gates(rollout: Rollout) -> list[str]:
    state = rollout.state
    if state is None or state.phase.is_over:
        return []
    following = 0 if state.target == 0 else state.step + 1
    return [printable(gate.name) for gate in open_gates(rollout, following)]


def _actions(config: Config, rollout: Rollout, now: float) -> list[str]:
    """Give what would be taken now: each is tried, and nothing is written."""
    seen = Situation(round(now * 1000))
    tried: dict[str, Callable[[], object]] = {
        **{
            name: partial(command, rollout, config.ratio, seen)
            for name, command in COMMANDS.items()
        },
        "finish": partial(commands.check_finish, rollout, config.ratio),
    }
    found = []
    for name, attempt in tried.items():
        try:
            comes_to = attempt()
        except RolloutRefused:
            continue
        if comes_to is not None or name == "finish":
            found.append(name)
    if rollout.state is not None and rollout.state.before:
        found.append("undo")
    return [name for name in ACTIONS if name in found]


# === the judge ===


def _verdict(rollout: Rollout, own: Table) -> Verdict | None:
    """Give what the judge has come to in this step, as its driver keeps it."""
    kept = own.get("judge")
    if rollout.judge is None or not isinstance(kept, list) or len(kept) != 2:
        return None
    settings, arms = settings_of(rollout.judge), judged_arms(rollout)
    try:
        state = JudgeState.load(str(kept[1]), settings, arms)
    except ValueError:
        return None
    return state.judge.verdict() if state.window == window_of(rollout) else None


def _finding(rollout: Rollout, verdict: Verdict | None) -> str | None:
    if verdict is not None:
        return str(verdict)
    state = rollout.state
    told = None if state is None else state.verdict
    return None if told is None else printable(told.finding)


def _tiles(
    rollout: Rollout, verdict: Verdict | None, service: str, entries: Iterable[Entry]
) -> list[Table]:
    if verdict is None or rollout.judge is None:
        return []
    arms = judged_arms(rollout)
    window, counted = window_of(rollout), []
    told = [
        one.arms
        for one in evidence_in(entries, service).values()
        if one.window == window
    ]
    for name in (arms.arm, arms.against):
        sums = [table[name] for table in told if name in table]
        units = (one.requests if one.users is None else one.users for one in sums)
        counted.append((sum(units), sum(one.errors for one in sums)))
    every = [one for table in told for one in table.values()]
    fails_once = any(one.users is not None for one in every)
    timed_once = fails_once or any(one.groups is not None for one in every)
    return [
        _tile(
            *(rollout, verdict, metric),
            counted if metric.name == "errors" else None,
            by_user=fails_once if metric.name == "errors" else timed_once,
        )
        for metric in verdict.metrics
    ]


def _tile(
    rollout: Rollout,
    verdict: Verdict,
    metric: MetricVerdict,
    counted: list[tuple[int, int]] | None,
    *,
    by_user: bool,
) -> Table:
    rules = rollout.judge
    assert rules is not None, "it has a verdict"
    if metric.name == "errors":
        of = "users of whom a request fails" if by_user else "requests that fail"
        words, tolerance = f"share of {of}", rules.errors.tolerance
    else:
        tolerance = 1.1 if rules.latency is None else rules.latency.tolerance
        bound = metric.bound_s
        beyond = "its first requests show" if bound is None else f"{bound * 1e3:g} ms"
        of = "users whose first response is" if by_user else "requests"
        words = f"share of {of} slower than {rollout.against}'s {metric.name}: {beyond}"
    needed = 1 / rules.alpha
    low, high = metric.ratio
    return {
        "metric": metric.name,
        "words": printable(words),
        "ratio": None if counted is None else _ratio(*counted),
        "low": _bound(low, low > 0),
        "high": _bound(high, math.isfinite(high)),
        "threshold": tolerance,
        "e_value": min(metric.e_value, 1e15),
        "needed": needed,
        "requests": list(verdict.requests),
        "failures": None if counted is None else [errors for _, errors in counted],
        "verdict": _words(metric.e_value, needed, verdict),
    }


def _words(e_value: float, needed: float, verdict: Verdict) -> str:
    if e_value >= needed:
        return "worse"
    if e_value >= math.sqrt(needed):
        return "may be worse"
    return "not enough data" if min(verdict.requests) == 0 else "no difference yet"


def _ratio(ours: tuple[int, int], theirs: tuple[int, int]) -> float | None:
    if not ours[0] or not theirs[0] or not theirs[1]:
        return None
    return round((ours[1] / ours[0]) / (theirs[1] / theirs[0]), 4)


def _bound(value: float, is_known: object) -> float | None:
    return round(value, 4) if is_known and math.isfinite(value) else None


def _time(ms: int) -> float | None:
    """Give a time in seconds; None where nobody knows.

    >>> _time(1500), _time(0)
    (1.5, None)
    """
    return ms / 1000 if 0 < ms < 2**53 else None
