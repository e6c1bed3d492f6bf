"""What a gate's answer must be, and when a window is open. Pure."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from canary_trio.config.rollout import RolloutGate, TimeWindow

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NONE = object()


def why_not_passed(gate: RolloutGate, status: int, body: bytes) -> str:
    """Say why a response does not pass a gate; empty if it does."""
    if not any(low <= status <= high for low, high in gate.status):
        return f"found status {status}"
    if gate.json is None:
        return ""
    try:
        found = value_at(json.loads(body), gate.json.path)
    except (ValueError, RecursionError):
        return "the body is no JSON"
    if found is _NONE:
        return f"the body has no {gate.json.path}"
    wanted = gate.json.value
    is_same = found == wanted and isinstance(found, bool) is isinstance(wanted, bool)
    return "" if is_same else f"{gate.json.path} is not {json.dumps(wanted)}"


def value_at(value: Any, path: str) -> Any:
    """Give what stands at a path of JSON.

    >>> value_at({"a": [{"b": 5}]}, "a.0.b")
    5
    """
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _NONE
    return value


def why_out_of_bounds(gate: RolloutGate, body: bytes) -> str:
    """Say why what a Prometheus says does not pass a gate; empty if it does."""
    number = _number_in(body)
    if isinstance(number, str):
        return number
    if math.isnan(number):
        return "the query gave no number (NaN)"
    if gate.min is not None and number < gate.min:
        return f"the query gave less than {gate.min:g}"
    if gate.max is not None and number > gate.max:
        return f"the query gave more than {gate.max:g}"
    return ""


def _number_in(body: bytes) -> float | str:
    """Give the one number of a query's result, or say why there is none."""
    try:
        data = json.loads(body)["data"]
        kind, result = data["resultType"], data["result"]
        if kind == "vector":
            if len(result) != 1:
                return f"the query gave {len(result)} results, expected one number"
            result = result[0]["value"]
        elif kind != "scalar":
            return f"the query gave a {kind}, expected one number"
        return float(result[1])
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return "what came is no result of a query"


def is_open(window: TimeWindow, now_s: float) -> bool:
    """Tell whether steps may begin now, in seconds since 1970.

    >>> is_open(TimeWindow(begin="09:00", end="17:00"), 1_795_775_400)  # Friday, 10:30
    True
    """
    there = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(window.zone))
    clock = f"{there:%H:%M}"
    return _DAYS[there.weekday()] in window.days and window.begin <= clock < window.end


def opens_at(window: TimeWindow, now_s: float) -> float:
    """Give when a window opens next, to the minute; `now_s` if it is open."""
    if is_open(window, now_s):
        return now_s
    there = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(window.zone))
    hour, minute = map(int, window.begin.split(":"))
    for days in range(9):  # an hour that a clock skips is there the next day
        day = (there + timedelta(days=days)).date()
        begin = datetime(
            day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(window.zone)
        )
        if begin.timestamp() > now_s and is_open(window, begin.timestamp()):
            return begin.timestamp()
    return now_s + 86400.0


def window_words(window: TimeWindow, now_s: float) -> str:
    """Say when a window is open, and when it opens next."""
    there = datetime.fromtimestamp(opens_at(window, now_s), ZoneInfo(window.zone))
    days = ", ".join(window.days)
    return (
        f"open {days}, {window.begin} to {window.end} {window.zone}; next"
        f" {there:%Y-%m-%d %H:%M}"
    )
