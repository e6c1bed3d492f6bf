"""How soon the judge of a rollout sees a regression, and how often it sees one too many.

    python -m benchmarks.judge [--quick] [--seed N] [--picture FILE.svg]

Simulated: no proxy, no clock. Prints requests per arm until the alarm (the median, and
what 9 of 10 runs need), beside two checks that users have today: a threshold on each
interval that counts its failures (as Flagger does: 60 s, 5 of them), and a z-test for
two proportions that is looked at after every 100 requests, which is what looking again and
again at a test for one look comes to. Then the same where the canary was fine for ten
minutes or an hour before, and what equal arms come to whose failures are a few users'.

The picture shows the delay against the effect, beside what others do by default, read from
their code: Flagger (1 % errors at most, looked at each 60 s, 5 failures in all), Argo
Rollouts (the 5 % of its own examples, each 60 s, one failure), and Kayenta's
Mann-Whitney test (0.98, tolerance 0.25) looked at every minute. It needs matplotlib: `pip
install .[bench]`.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.judge_picture import picture
from canary_trio.rollout.judge import JudgeSettings
from canary_trio.rollout.simulation import Scenario, Seen, binomial, simulate
from canary_trio.rollout.user_simulation import (
    Crowd,
    Unit,
    requests_until_alarm,
    users_until_alarm,
)
from canary_trio.rollout.user_simulation import false_alarms as false_alarms_of

ERRORS_ONLY = JudgeSettings(latency_quantiles=())
SAME = Scenario(0.01, 0.01, limit=100_000)
WORSE = (
    Scenario(0.01, 0.02),
    Scenario(0.01, 0.015),
    Scenario(0.001, 0.005),
    Scenario(0.001, 0.01),
    Scenario(0.05, 0.06),
    Scenario(0.01, 0.10),
)
LATE = (
    Scenario(0.01, 0.02, healthy_ticks=600),
    Scenario(0.01, 0.10, healthy_ticks=600),
    Scenario(0.01, 0.10, healthy_ticks=3600),
)
SLOWER = (1.0001, 1.2, 1.5)
CROWDS = {
    "1 % of users fail half of the time": Crowd(),
    "1 % of users are slow half of the time": Crowd(slow=0.5),
    "3 % of users always fail, in five steps": Crowd(
        failing=0.03, failures=1, ticks=120, steps=5
    ),
    "3 % of 300 users fail half of the time": Crowd(users=300, failing=0.03),
    "each request fails alike, 1 %, of 300 users": Crowd(
        users=300, failing=1, failures=0.01
    ),
}
FEW = (100, 300, 1_000, 3_000)
INTERVAL_REQUESTS, FAILURES, MOST_ERRORS = 6_000, 5, 0.015
"""Of the threshold: 60 s at 100 requests/s, and the rate that it calls too many."""


def z_test(draw: random.Random, scenario: Scenario, alpha: float) -> int | None:
    """The usual test for two proportions, one-sided, looked at after every tick."""
    limit = {0.05: 1.6449, 0.01: 2.3263}[alpha]
    ours = theirs = 0
    for requests in _ticks(scenario):
        ours += binomial(draw, scenario.tick_requests, scenario.canary_errors)
        theirs += binomial(draw, scenario.tick_requests, scenario.baseline_errors)
        pooled = (ours + theirs) / (2 * requests)
        spread = math.sqrt(2 * pooled * (1 - pooled) / requests)
        if spread and (ours - theirs) / requests / spread > limit:
            return requests
    return None


def threshold(draw: random.Random, scenario: Scenario) -> int | None:
    """A rate of errors above a limit, in five intervals in all."""
    failures = 0
    for interval in range(1, scenario.limit // INTERVAL_REQUESTS + 1):
        events = binomial(draw, INTERVAL_REQUESTS, scenario.canary_errors)
        failures += events > MOST_ERRORS * INTERVAL_REQUESTS
        if failures == FAILURES:
            return interval * INTERVAL_REQUESTS
    return None


def repeated(
    runs: int, seed: int, check: Callable[[random.Random], int | None]
) -> Seen:
    draw = random.Random(seed)
    seen = (check(draw) for _ in range(runs))
    return Seen(runs, tuple(sorted(one for one in seen if one is not None)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.svg", help="draw that, and nothing else"
    )
    given = parser.parse_args()
    runs = 200 if given.quick else 2_000
    if given.picture is not None:
        picture(given.picture, max(20, runs // 20), given.seed)
        return
    false_alarms(runs // 4, given.seed)
    delays(runs // 4, given.seed)
    late(runs // 20, given.seed)
    latencies(runs // 20, given.seed)
    users(runs // 20, given.seed)
    few_users(runs // 20, given.seed)


def false_alarms(runs: int, seed: int) -> None:
    rows = []
    for alpha in (0.05, 0.01):
        settings = attrs.evolve(ERRORS_ONLY, alpha=alpha)
        judge = simulate(settings, SAME, runs=runs, seed=seed)
        naive = repeated(runs, seed, lambda draw: z_test(draw, SAME, alpha))  # noqa: B023
        rows.append([f"{alpha:.0%}", _part(judge), _part(naive)])
    print(f"False alarms: 1 % errors in both, {SAME.limit:,} requests/arm, {runs} runs")
    print(table(["alpha", "judge", "z-test, looked at"], rows), end="\n\n")


def delays(runs: int, seed: int) -> None:
    rows = []
    for scenario in WORSE:
        judge = simulate(ERRORS_ONLY, scenario, runs=runs, seed=seed)
        fixed = repeated(runs, seed, lambda draw: threshold(draw, scenario))  # noqa: B023
        rows.append([_rates(scenario), _quantiles(judge), _quantiles(fixed)])
    print(f"Requests/arm until the alarm, median / 90 %, alpha 1 %, {runs} runs")
    head = ["errors", "judge", f"5 x {INTERVAL_REQUESTS:,} above {MOST_ERRORS:.1%}"]
    print(table(head, rows), end="\n\n")


def late(runs: int, seed: int) -> None:
    rows = [
        [
            f"{_rates(scenario)} after {scenario.healthy_ticks * 100:,}",
            _quantiles(simulate(ERRORS_ONLY, scenario, runs=runs, seed=seed)),
        ]
        for scenario in LATE
    ]
    print(f"The same, where the canary was fine before, {runs} runs")
    print(table(["errors", "judge"], rows), end="\n\n")


def latencies(runs: int, seed: int) -> None:
    settings = JudgeSettings(latency_tolerance=1.0)
    rows = []
    for slower in SLOWER:
        scenario = Scenario(0.01, 0.01, slower=slower, limit=30_000)
        seen = simulate(settings, scenario, runs=runs, seed=seed)
        rows.append([f"x {slower:g}", _quantiles(seen), _part(seen)])
    print(f"All latencies times a factor, alpha 1 %, {runs} runs")
    print(table(["latencies", "median / 90 %", "alarms"], rows))


def users(runs: int, seed: int) -> None:
    for what, crowd in CROWDS.items():
        rows = []
        for unit in Unit:
            found = false_alarms_of(unit, crowd, runs=runs, seed=seed)
            told = (f"{found.regressions} of {runs}", found.unsound, found.all_unsound)
            rows.append([unit.value, *map(str, told)])
        print(f"Equal arms of which {what}, {runs} runs")
        head = ["drawn, counted", "alarms", "of these unsound before", "unsound in all"]
        print(table(head, rows), end="\n\n")
    rows = []
    for count in (3_000, 10_000, 100_000):
        crowd = Crowd(count, failing=0, slow=0)
        asked, timed = users_until_alarm(crowd, 1.2, runs=runs, seed=seed)
        rows.append([f"{count:,}", _quantiles(timed), _quantiles(asked), _part(timed)])
    print(f"Each user counted once, all latencies times 1.2, {runs} runs")
    print(table(["users of an arm", "users", "requests", "alarms"], rows), end="\n\n")


def few_users(runs: int, seed: int) -> None:
    rows = []
    for count in FEW:
        alike = Crowd(count, failing=1, failures=0.01)
        few = Crowd(count, failing=max(0.01, 9 / count))
        many = attrs.evolve(few, failing=3 * few.failing)
        what_fails = {
            "each request, 1 -> 2 %": (attrs.evolve(alike, failures=0.02), alike),
            f"half of those of {few.failing:.0%} -> {many.failing:.0%} of users": (
                many,
                few,
            ),
        }
        for what, (canary, baseline) in what_fails.items():
            for unit in (Unit.USERS, Unit.REQUESTS_OF_USERS):
                worse, unsound = requests_until_alarm(
                    unit, canary, baseline, runs=runs, seed=seed
                )
                told = (_part(worse), _quantiles(worse), _part(unsound))
                rows.append(
                    [
                        f"{count:,}",
                        what,
                        "users" if unit is Unit.USERS else "requests",
                        *told,
                    ]
                )
    print(f"Users keep their arm, 60,000 requests/arm, {runs} runs")
    head = ["users", "what fails", "counted", "alarms", "median / 90 %", "unsound"]
    print(table(head, rows))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True))
        for row in (head, *rows)
    )


def _ticks(scenario: Scenario) -> Iterator[int]:
    step = scenario.tick_requests
    return iter(range(step, scenario.limit + 1, step))


def _rates(scenario: Scenario) -> str:
    return f"{scenario.baseline_errors:.4g} -> {scenario.canary_errors:.4g}"


def _part(seen: Seen) -> str:
    return f"{len(seen.requests) / seen.runs:.1%}"


def _quantiles(seen: Seen) -> str:
    found = (seen.quantile(0.5), seen.quantile(0.9))
    return " / ".join("never" if one is None else f"{one:,}" for one in found)


if __name__ == "__main__":
    main()
