"""Durations as Go writes them, such as `1m30s`: Consul's API has them everywhere. Pure."""

from __future__ import annotations

import re

MAX_S = 2**63 / 1e9
"""Seconds below which a duration is: Go counts nanoseconds in 64 bits."""

_LENGTH = 100  # characters of a duration; what is longer takes long to be looked at
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def parse_duration_s(text: str) -> float:
    """Read a duration as Go writes it.

    >>> parse_duration_s("1m30s"), parse_duration_s("250ms"), parse_duration_s("0")
    (90.0, 0.25, 0.0)

    Raises:
        ValueError: it is no duration, or longer than Go's are (292 years).
    """
    if len(text) > _LENGTH:
        raise ValueError(f"a duration of {len(text)} characters, expected such as 10s")
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in "+-" else text
    if rest == "0":
        return 0.0
    parts = _DURATION.findall(rest)
    if not parts or "".join(parts) != rest:
        raise ValueError(f"duration {text!r}, expected such as 10s or 1m30s")
    total_s = sum(_part_s(part) for part in parts)
    if total_s >= MAX_S:
        raise ValueError(f"duration {text!r}, expected less than {MAX_S:.0f} s")
    return sign * total_s if total_s else 0.0  # never -0.0


def format_duration(seconds: float) -> str:
    """Write whole milliseconds as a duration.

    >>> format_duration(1.5)
    '1500ms'
    """
    return f"{round(seconds * 1000)}ms"


def _part_s(part: str) -> float:
    number = part.rstrip("nuµmsh")
    return float(number) * _UNITS[part[len(number) :]]
