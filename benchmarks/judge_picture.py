"""A picture of how soon a regression is seen, by how large it is: ours beside others.

At 100 requests/s of each arm, 1 % errors in the baseline. The others as their defaults have
them: a check once a minute of the last minute. A run ends after an hour.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from canary_trio.rollout.judge import JudgeSettings
from canary_trio.rollout.simulation import Scenario, binomial, simulate

RATE, MINUTE, MINUTES = 100, 60, 60
BASELINE = 0.01
FACTORS = (1.25, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0)
NEEDED = 0.5
"""Of the runs must have seen it, for a point to be drawn."""

Check = Callable[[random.Random, float], float | None]
"""Gives the seconds until the alarm; None if there is none within the hour."""


def flagger(draw: random.Random, errors: float) -> float | None:
    """More than 1 % errors in the last minute, five times in all."""
    return _minutes(draw, errors, most=0.01, failures=5)


def argo(draw: random.Random, errors: float) -> float | None:
    """More than 5 % errors in the last minute, once."""
    return _minutes(draw, errors, most=0.05, failures=1)


def kayenta(draw: random.Random, errors: float) -> float | None:
    """Mann-Whitney of the minutes so far at 0.98, with a tolerance of 0.25, each minute."""
    ours: list[float] = []
    theirs: list[float] = []
    for minute in range(1, MINUTES + 1):
        ours.append(binomial(draw, RATE * MINUTE, errors) / (RATE * MINUTE))
        theirs.append(binomial(draw, RATE * MINUTE, BASELINE) / (RATE * MINUTE))
        if _is_high(ours, theirs):
            return minute * MINUTE
    return None


def _minutes(
    draw: random.Random, errors: float, *, most: float, failures: int
) -> float | None:
    failed = 0
    for minute in range(1, MINUTES + 1):
        failed += binomial(draw, RATE * MINUTE, errors) > most * RATE * MINUTE
        if failed == failures:
            return minute * MINUTE
    return None


def _is_high(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Tell whether the shift's lower bound is above the tolerance, as Kayenta classifies."""
    shifts = sorted(a - b for a in ours for b in theirs)
    pairs, points = len(shifts), len(ours) + len(theirs)
    spread = math.sqrt(pairs * (points + 1) / 12)
    place = math.floor(pairs / 2 - 2.326 * spread)  # 0.98, two-sided
    if place < 1:
        return False  # so few points have no such bound
    return shifts[place - 1] > 0.25 * abs(statistics.median(shifts))


def delays(runs: int, seed: int) -> dict[str, list[float | None]]:
    """Give the median seconds until the alarm, by who looks and by `FACTORS`."""
    found: dict[str, list[float | None]] = {}
    settings = JudgeSettings(latency_quantiles=())
    ours: list[float | None] = []
    for factor in FACTORS:
        scenario = Scenario(
            BASELINE, BASELINE * factor, limit=RATE * MINUTE * MINUTES // 2
        )
        at = simulate(settings, scenario, runs=runs, seed=seed).quantile(NEEDED)
        ours.append(None if at is None else at / RATE)
    found["judge, alpha 1 %"] = ours
    others: dict[str, Check] = {
        "Flagger: 5 minutes above 1 %": flagger,
        "Argo Rollouts: a minute above 5 %": argo,
        "Kayenta: Mann-Whitney each minute": kayenta,
    }
    for name, check in others.items():
        draw = random.Random(seed)
        found[name] = [_median(check, draw, factor, runs) for factor in FACTORS]
    return found


def _median(
    check: Check, draw: random.Random, factor: float, runs: int
) -> float | None:
    seen = [check(draw, BASELINE * factor) for _ in range(runs)]
    known = sorted(one for one in seen if one is not None)
    place = math.ceil(NEEDED * runs) - 1
    return known[place] if place < len(known) else None


def alarms(runs: int, seed: int) -> dict[str, float]:
    """Give which part of an hour without a regression ends in an alarm."""
    settings = JudgeSettings(latency_quantiles=())
    same = Scenario(BASELINE, BASELINE, limit=RATE * MINUTE * MINUTES)
    ours = simulate(settings, same, runs=runs, seed=seed)
    found = {"judge, alpha 1 %": len(ours.requests) / runs}
    others = {"Flagger": flagger, "Argo Rollouts": argo, "Kayenta": kayenta}
    for name, check in others.items():
        draw = random.Random(seed)
        seen = [check(draw, BASELINE) is not None for _ in range(runs)]
        found[name] = sum(seen) / runs
    return found


def picture(path: Path, runs: int, seed: int) -> None:
    """Draw the delays as an SVG, and print the numbers."""
    import matplotlib as mpl  # noqa: PLC0415  # an extra

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "judge"  # the same numbers, the same file
    from matplotlib import pyplot as plt  # noqa: PLC0415

    found, false = delays(runs, seed), alarms(runs, seed)
    figure, axes = plt.subplots(figsize=(7, 4.5))
    styles = ("-", "-", "-", "--")  # the last two may lie on each other
    for (name, seconds), style in zip(found.items(), styles, strict=True):
        part = next(value for key, value in false.items() if name.startswith(key))
        points = [
            (factor, one)
            for factor, one in zip(FACTORS, seconds, strict=True)
            if one is not None
        ]
        label = f"{name}; {part:.0%} of equal arms in an hour"
        axes.plot(*zip(*points, strict=True), marker="o", ls=style, label=label)
        shown = ["never" if one is None else f"{one:.1f} s" for one in seconds]
        print(f"{label}: {', '.join(shown)}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(FACTORS, [f"x {factor:g}" for factor in FACTORS])
    axes.minorticks_off()
    axes.set_xlabel("errors of the canary, times the baseline's 1 %")
    axes.set_ylabel("seconds until half of the rollouts are stopped")
    axes.set_title("100 requests/s of each arm")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
