"""Times of a document: seconds as a number, or words such as 90s, 10m and 1h30m. Pure.

The words are those that options take. A value has seconds, and is written as them.
"""

from __future__ import annotations

from typing import Any

from canary_trio.config.codec import Codec, Fault, is_number, show

_UNITS = "smhd"  # what a time in words ends in; "ms" too
_SCHEMA = {
    "type": ["number", "string"],
    "pattern": r"^(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smhd]))+$",
    "maxLength": 40,
}


def seconds(low: float, high: float) -> Codec:
    """A time in seconds, in a range."""
    title = f"seconds from {low:g} to {high:g}, or words such as 5s"

    def decode(value: Any) -> float:
        found = seconds_of(value)
        if found is None or not low <= found <= high:
            raise Fault(show(value), title)
        return found

    return Codec(decode, {"title": title, **_SCHEMA, "minimum": low, "maximum": high})


def seconds_of(value: Any) -> float | None:
    """Give the seconds of a time as a document has it; None for what is none."""
    if is_number(value):
        return float(value)
    if not isinstance(value, str) or value[-1:] not in _UNITS or not value:
        return None
    from canary_health.durations import read_duration  # noqa: PLC0415  # few are words

    try:
        return read_duration(value)
    except ValueError:
        return None
