"""The section of the judge: how soon a regression is seen, by how large it is."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.judge_picture import FACTORS, delays
from benchmarks.report.sections import Section


def judge(runs: int) -> Iterator[Section]:
    """Simulated, with a fixed seed."""
    curves = {
        name: [
            (factor, seconds)
            for factor, seconds in zip(FACTORS, found, strict=True)
            if seconds is not None
        ]
        for name, found in delays(runs, seed=1).items()
    }
    yield Section(
        "judge",
        "The judge's delay by effect",
        f"Simulated: 100 requests/s of each arm, 1 % errors in the baseline, {runs} runs; others"
        " as their defaults have them. What ends early is not seen within an hour.",
        curves=curves,
        axes=("errors of the canary, times the baseline's", "s until half are stopped"),
        logs=(True, True),
    )
