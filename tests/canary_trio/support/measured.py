"""Measurements as tests need them: results with given latencies and errors."""

from __future__ import annotations

import random

from canary_trio.bench.comparison import Measurement, compare
from canary_trio.bench.conditions import read_condition
from canary_trio.bench.plan import GeneratorCost, LoadPlan
from canary_trio.bench.tally import LoadResult, LoadTally

URLS = ("http://a.example/", "http://b.example/?q=<1>")
COST = GeneratorCost(cpu_s=0.5, wall_s=2.0)


def result(
    requests: int, slower: float = 1.0, errors: int = 0, seed: int = 1
) -> LoadResult:
    """Give the result of so many requests in two seconds."""
    draw, tally = random.Random(seed), LoadTally(0.0)
    for number in range(requests):
        due = 2 * number / requests
        took_s = 0.02 * slower * draw.lognormvariate(0, 0.5)
        tally.responded(due, took_s, 503 if number < errors else 200, 100)
    return tally.result()


def comparison(
    *results: LoadResult,
    conditions: tuple[str, ...] = (),
    cost: GeneratorCost = COST,
    alpha: float = 0.01,
) -> Measurement:
    """Give what follows from some results."""
    return compare(
        URLS[: len(results)],
        results,
        LoadPlan(),
        cost,
        conditions=[read_condition(one) for one in conditions],
        alpha=alpha,
    )
