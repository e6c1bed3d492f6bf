"""The rollout of a document: JSON to values and back. Pure.

What the rollout must agree on with the rest of the document, its arms and shares, is in
`checks`; what its own fields must agree on is here. One file, since it is one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from canary_trio.config.codec import (
    Codec,
    Fault,
    any_of,
    boolean,
    checked,
    enumeration,
    integer,
    list_of,
    note_step,
    number,
    optional,
    show,
    table,
    text,
)
from canary_trio.config.parts.judge_codec import JUDGE, MOST_REQUESTS
from canary_trio.config.parts.times import seconds
from canary_trio.config.rollout import (
    MOST_E_VALUE,
    AtDeadline,
    ExpectedJson,
    Phase,
    Rollout,
    RolloutGate,
    RolloutHook,
    RolloutState,
    RolloutStep,
    StoredVerdict,
    TimeWindow,
)
from canary_trio.config.scalars import ARM_NAME, METHOD, SHARE, VALUE, status_codes
from canary_trio.config.url import BASE_URL, REQUEST_URL

MOST_STEPS = 100
MOST_GATES = 20
LONGEST_HOLD_S = 30 * 86400
LONGEST_S = 90 * 86400
_MOST_MS = 2**53

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ROLLOUT_ID = text(
    r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,99}",
    "a name of letters, digits and - _ . : / @ +, at most 100, such as v42",
)
GATE_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
    "a name of letters, digits, - _ and ., at most 63",
)
FILE_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
    "the name of a file in the directory of --rollout-files: letters, digits, - _ and .,"
    " no slash",
)


# === steps ===


_STEP_TABLE = table(
    RolloutStep,
    ratio=SHARE,
    hold=optional(seconds(0, LONGEST_HOLD_S)),
    requests=integer(0, MOST_REQUESTS),
)


def _decode_step(value: Any) -> RolloutStep:
    if isinstance(value, dict):
        step: RolloutStep = _STEP_TABLE.decode(value)
        return step
    return RolloutStep(SHARE.decode(value))


def _encode_step(step: RolloutStep) -> Any:
    plain = step == RolloutStep(step.ratio)
    return SHARE.encode(step.ratio) if plain else _STEP_TABLE.encode(step)


_STEPS = list_of(
    Codec(_decode_step, any_of(SHARE.schema, _STEP_TABLE.schema), _encode_step),
    least=1,
    most=MOST_STEPS,
    of="steps, such as [0.01, 0.05, 1]",
)


# === gates ===

_SCALAR = checked(
    lambda v: v is None or isinstance(v, bool | int | float | str),
    "a text, a number, true, false or null",
    type=["string", "number", "boolean", "null"],
)
_TIME = text(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00", "a time of day, HH:MM")


def _decode_zone(value: Any) -> str:
    zone: str = _ZONE_NAME.decode(value)
    try:
        ZoneInfo(zone)
    except (ValueError, OSError) as exc:  # also: none of that name is known here
        raise Fault(show(value), "a time zone, such as Europe/Berlin") from exc
    return zone


_ZONE_NAME = text(
    r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}",
    "a time zone, such as Europe/Berlin",
)
_WINDOW_TABLE = table(
    TimeWindow,
    days=list_of(
        checked(lambda v: v in _DAYS, f"one of {', '.join(_DAYS)}", enum=list(_DAYS)),
        least=1,
        most=7,
        of="days",
    ),
    begin=_TIME,
    end=_TIME,
    zone=Codec(_decode_zone, _ZONE_NAME.schema),
)


def _decode_window(value: Any) -> TimeWindow:
    window: TimeWindow = _WINDOW_TABLE.decode(value)
    if window.begin >= window.end:
        found = f"{window.begin} to {window.end}"
        fault = Fault(found, "an end after the beginning, on the same day")
        raise note_step(fault, ".to")
    return window


_GATE_TABLE = table(
    RolloutGate,
    name=GATE_NAME,
    at=optional(
        list_of(integer(0, MOST_STEPS - 1), least=1, most=MOST_STEPS, of="steps")
    ),
    url=REQUEST_URL,
    method=METHOD,
    headers=FILE_NAME,
    status=status_codes(least=1),
    json=table(
        ExpectedJson,
        path=text(r"[^\x00-\x1f\x7f]{1,200}", "names with dots between, such as a.b"),
        value=_SCALAR,
    ),
    prometheus=BASE_URL,
    query=text(r"[^\x00-\x1f\x7f]{1,4000}", "a query, in one line"),
    min=number(-1e300, 1e300),
    max=number(-1e300, 1e300),
    window=Codec(_decode_window, _WINDOW_TABLE.schema, _WINDOW_TABLE.encode),
    approval=boolean(),
    timeout=seconds(0.1, 60),
    interval=seconds(1, 3600),
    tries=optional(integer(1, 10_000)),
)

_KINDS = ("url", "prometheus", "window", "approval")
_FIELDS_OF = {
    "url": ("method", "headers", "status", "json", "timeout", "interval", "tries"),
    "prometheus": ("query", "min", "max", "timeout", "interval", "tries"),
    "window": (),
    "approval": (),
}


def _decode_gate(value: Any) -> RolloutGate:
    gate: RolloutGate = _GATE_TABLE.decode(value)
    kinds = [kind for kind in _KINDS if kind in value and value[kind] is not False]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise Fault(found, "one of url, prometheus, window and approval")
    kind = kinds[0]
    for name in value:
        if name not in ("name", "at", *_KINDS, *_FIELDS_OF[kind]):
            fault = Fault(show(value[name]), f"no such field: the gate is by {kind}")
            raise note_step(fault, f".{name}")
    if kind == "prometheus":
        _check_bounds(gate)
    return gate


def _check_bounds(gate: RolloutGate) -> None:
    if gate.query is None:
        raise note_step(Fault("nothing", "a query"), ".query")
    if gate.min is None and gate.max is None:
        raise Fault("neither min nor max", "a bound of the query's result")
    if gate.min is not None and gate.max is not None and gate.min > gate.max:
        fault = Fault(f"{gate.max:g}", f"at least min, {gate.min:g}")
        raise note_step(fault, ".max")


def _encode_gate(gate: RolloutGate) -> Any:
    encoded = _GATE_TABLE.encode(gate)
    return {key: one for key, one in encoded.items() if one is not None}


_GATES = list_of(
    Codec(_decode_gate, _GATE_TABLE.schema, _encode_gate), most=MOST_GATES, of="gates"
)


# === all of it ===

_REASON = VALUE
_MOMENT = integer(0, _MOST_MS)
_STATE = table(
    RolloutState,
    phase=enumeration(Phase),
    step=integer(0, MOST_STEPS - 1),
    target=optional(SHARE),
    to_begin=boolean(),
    ratio=optional(SHARE),
    begun=_MOMENT,
    judged_from=_MOMENT,
    since=_MOMENT,
    by=_REASON,
    reason=_REASON,
    by_hand=boolean(),
    passed=list_of(GATE_NAME, most=MOST_GATES, of="gates"),
    verdict=optional(
        table(
            StoredVerdict,
            finding=_REASON,
            e_value=number(0, MOST_E_VALUE),
            requests=list_of(integer(0, _MOST_MS), most=2, of="numbers"),
        )
    ),
    before=_MOMENT,
)
_ROLLOUT_TABLE = table(
    Rollout,
    id=ROLLOUT_ID,
    steps=_STEPS,
    arm=ARM_NAME,
    against=ARM_NAME,
    judge=JUDGE,
    gates=_GATES,
    deadline=optional(seconds(1, LONGEST_S)),
    when=enumeration(AtDeadline),
    slope=number(0.0001, 1),
    hook=optional(
        table(
            RolloutHook,
            url=REQUEST_URL,
            key=optional(FILE_NAME),
            timeout=seconds(0.1, 60),
            tries=integer(1, 20),
        )
    ),
    state=optional(_STATE),
)


def _faults(rollout: Rollout) -> Iterator[Exception]:
    yield from _first_faults(rollout)
    before = 0
    for place, step in enumerate(rollout.steps):
        if step.ratio <= before and place:
            found = f"{step.ratio / 10_000:g} after {before / 10_000:g}"
            yield note_step(Fault(found, "steps that rise"), f".steps[{place}]")
        before = step.ratio
    seen: set[str] = set()
    for place, gate in enumerate(rollout.gates):
        if gate.name in seen:
            fault = Fault(f"a second {show(gate.name)}", "each name once")
            yield note_step(fault, f".gates[{place}].name")
        seen.add(gate.name)
        for step_number in gate.at or ():
            if step_number >= len(rollout.steps):
                fault = Fault(
                    f"step {step_number}", f"a step from 0 to {len(rollout.steps) - 1}"
                )
                yield note_step(fault, f".gates[{place}].at")


def _first_faults(rollout: Rollout) -> Iterator[Exception]:
    """Find a first step that exposes users before copies were compared, or nobody at all."""
    first, where = rollout.steps[0].ratio, ".steps[0]"
    if not rollout.compares_first:
        if not first:
            expected = "more than 0: only with judge.mirror a step exposes nobody"
            yield note_step(Fault("0", expected), where)
    elif first:
        expected = (
            "0: with judge.mirror the first step exposes nobody, such as"
            ' {"ratio": 0, "hold": 60}'
        )
        yield note_step(Fault(f"{first / 10_000:g}", expected), where)
    elif len(rollout.steps) == 1:
        yield note_step(Fault("0 alone", "steps that follow"), ".steps")


def _named(gates: tuple[RolloutGate, ...]) -> tuple[RolloutGate, ...]:
    """Give gates without a name one: their kind, with a number from the second on."""
    taken = {gate.name for gate in gates}
    named = []
    for gate in gates:
        name = gate.name
        if not name:
            places = (f"{gate.kind}-{n}" for n in range(2, len(gates) + 3))
            free = (one for one in (gate.kind, *places) if one not in taken)
            name = next(free)
            taken.add(name)
        named.append(attrs.evolve(gate, name=name))
    return tuple(named)


def _decode_rollout(value: Any) -> Rollout:
    rollout: Rollout = _ROLLOUT_TABLE.decode(value)
    rollout = attrs.evolve(rollout, gates=_named(rollout.gates))
    faults = list(_faults(rollout))
    if faults:
        raise ExceptionGroup("rollout", faults)
    return rollout


ROLLOUT = Codec(_decode_rollout, _ROLLOUT_TABLE.schema, _ROLLOUT_TABLE.encode)
"""A rollout."""

STATE = _STATE
"""How one stands."""
