"""Durations of options: plain numbers, or words such as 90s, 10m, 1h30m and 2d.

The rule: every option that is a duration is of this type, in both commands, so what one of them
takes the others take too. A plain number is of the option's own unit: seconds, or days where
the option is called so.
"""

from __future__ import annotations

import math
import re
from typing import Any

import click

_LENGTH = 40  # characters of a duration
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhd])")
_PARTS = re.compile(rf"(?:{_PART.pattern})+\Z")
_NUMBER = re.compile(
    r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?\Z", re.IGNORECASE
)


def read_duration(text: str, unit: str = "s") -> float:
    """Read a duration, in seconds; a plain number is of a unit.

    >>> read_duration("10m"), read_duration("1h30m"), read_duration("90")
    (600.0, 5400.0, 90.0)

    Raises:
        ValueError: it is none.
    """
    found = math.inf
    if len(text) <= _LENGTH and _NUMBER.match(text):
        found = float(text) * _UNITS[unit]
    elif len(text) <= _LENGTH and _PARTS.match(text):
        found = math.fsum(float(n) * _UNITS[u] for n, u in _PART.findall(text))
    if not math.isfinite(found):
        shown = text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"
        raise ValueError(
            f"found {shown!r}, expected a time such as 90s, 10m, 1h30m or 2d"
        )
    return found


def write_duration(seconds: float) -> str:
    """Write a duration in the largest unit that it is a whole number of.

    >>> write_duration(5400), write_duration(604800), write_duration(0.1)
    ('90m', '7d', '100ms')
    """
    for unit, size in reversed(_UNITS.items()):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.15g}{unit}"
    return f"{seconds * 1000:.15g}ms" if 0 < seconds < 1 else f"{seconds:.15g}s"


class Duration(click.FloatRange):
    """A duration in a range; it comes as a number of the option's unit.

    Args:
        min: of the unit.
        max: of the unit.
        min_open: whether it must be more than `min`.
        unit: what a plain number is: `s` or `d`.
    """

    name = "time"

    def __init__(
        self,
        min: float | None = 0.0,  # noqa: A002
        max: float | None = None,  # noqa: A002
        *,
        min_open: bool = False,
        unit: str = "s",
    ) -> None:
        super().__init__(min=min, max=max, min_open=min_open)
        self.unit = unit

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it."""
        try:
            seconds = read_duration(str(value).strip(), self.unit)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        found = seconds / _UNITS[self.unit]
        least = self.min or 0.0
        low = found <= least if self.min_open else found < least
        if low or (self.max is not None and found > self.max):
            self.fail(f"found {value}, expected {self._describe_range()}", param, ctx)
        return found

    def _describe_range(self) -> str:
        """Say the range, here and in click's help, in the words that are taken."""
        size = _UNITS[self.unit]
        least = write_duration((self.min or 0.0) * size)
        if self.max is None:
            return f"more than {least}" if self.min_open else f"at least {least}"
        return f"{least} to {write_duration(self.max * size)}"
