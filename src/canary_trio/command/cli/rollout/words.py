"""What the commands of rollouts take as words: times such as 10m, shares such as 5%."""

from __future__ import annotations

import math
import re
from typing import Any

import click

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)([smhd]?))+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def read_duration(text: str) -> float:
    """Read a time, in seconds.

    >>> read_duration("10m"), read_duration("1h30m"), read_duration("90")
    (600.0, 5400.0, 90.0)

    Raises:
        ValueError: it is none.
    """
    if len(text) > 40 or not _DURATION.match(text):
        raise ValueError(
            f"found {text!r}, expected a time such as 90s, 10m, 1h30m or 2d"
        )
    return math.fsum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))


def read_share(text: str) -> float:
    """Read a share of all traffic.

    >>> read_share("5%"), read_share("0.25"), read_share("1")
    (0.05, 0.25, 1.0)

    Raises:
        ValueError: it is none.
    """
    percent = text.strip().endswith("%")
    try:
        share = float(text.strip().removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"found {text!r}, expected a share such as 5% or 0.05")
    return round(share, 10)


def read_steps(
    text: str, hold: float | None, requests: int
) -> list[dict[str, Any] | float]:
    """Read steps: shares with commas between, all but the last with the same hold.

    >>> read_steps("1%,50%,100%", 60, 0)
    [{'ratio': 0.01, 'hold': 60}, {'ratio': 0.5, 'hold': 60}, 1.0]

    Raises:
        ValueError: one is no share.
    """
    shares = [read_share(part) for part in text.split(",")]
    more: dict[str, Any] = {} if hold == 0 else {"hold": hold}
    if requests:
        more["requests"] = requests
    last = len(shares) - 1
    return [
        share if place == last or not more else {"ratio": share, **more}
        for place, share in enumerate(shares)
    ]


class Duration(click.ParamType[float]):
    """A time, such as 90s or 10m."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it as seconds."""
        if isinstance(value, float):
            return value
        try:
            return read_duration(str(value).strip())
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
