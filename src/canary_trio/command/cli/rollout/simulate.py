"""The command `canary rollout simulate`: what the judge of a rollout would say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from canary_health.finite import Finite
from canary_trio.command.cli.options import judge_options, store_options

if TYPE_CHECKING:
    from canary_trio.rollout.simulation import Scenario, Seen


class Rate(click.ParamType[float]):
    """A share, as a number or in percent."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `0.01` or `1%`."""
        text = str(value).strip()
        percent = text.endswith("%")
        try:
            rate = float(text.removesuffix("%")) / (100 if percent else 1)
        except ValueError:
            rate = -1
        if not 0 <= rate <= 1:
            self.fail(f"{text!r} is no share: 0 to 1, or 0% to 100%", param, ctx)
        return rate


@click.command()
@click.option(
    "--baseline",
    type=Rate(),
    default="1%",
    show_default=True,
    help="How many of the old version's requests fail.",
)
@click.option(
    "--canary",
    type=Rate(),
    help="How many of the new version's.  [default: as many as of the old]",
)
@click.option(
    "--slower",
    type=Finite(min=0.1, max=100),
    default=1.0,
    metavar="FACTOR",
    help="The new version's latencies, times the old version's.",
)
@click.option(
    "--after",
    type=click.IntRange(0, 100_000),
    default=0,
    metavar="REQUESTS",
    help="Per arm, before that the new version is as good as the old one.",
)
@judge_options.alpha("How likely a false alarm may be, however often one looks.")
@click.option(
    "--rate",
    type=Finite(min=0.001),
    metavar="REQUESTS",
    help="Per second, of each arm: says the seconds too.",
)
@click.option(
    "--limit",
    type=click.IntRange(100, 10_000_000),
    default=100_000,
    show_default=True,
    help="Requests per arm after which a run ends.",
)
@click.option("--runs", type=click.IntRange(1, 100_000), default=200, show_default=True)
@judge_options.seed("By which all of it is drawn.")
@store_options.as_json
def simulate(*, as_json: bool, **given: Any) -> None:
    """Say after how many requests a regression would be seen, by the judge's own code.

    Requests fail independently of each other here; failures in bursts take longer. Where
    users have keys it takes as many users, since each counts once in a step.
    """
    from canary_trio.rollout import simulation  # noqa: PLC0415
    from canary_trio.rollout.judge import JudgeSettings  # noqa: PLC0415

    baseline, canary, rate = given["baseline"], given["canary"], given["rate"]
    scenario = simulation.Scenario(
        baseline_errors=baseline,
        canary_errors=baseline if canary is None else canary,
        slower=given["slower"],
        healthy_ticks=-(-given["after"] // simulation.TICK_REQUESTS),
        limit=given["limit"],
    )
    settings = JudgeSettings(alpha=given["alpha"], latency_tolerance=1.0)
    seen = simulation.simulate(
        settings, scenario, runs=given["runs"], seed=given["seed"]
    )
    if as_json:
        click.echo(json.dumps(_table(seen, rate)))
    else:
        for line in _words(scenario, seen, rate):
            click.echo(line)


def _table(seen: Seen, rate: float | None) -> dict[str, object]:
    table: dict[str, object] = {"runs": seen.runs, "alarms": len(seen.requests)}
    for name, part in (("median", 0.5), ("p90", 0.9)):
        requests = seen.quantile(part)
        table[f"requests_{name}"] = requests
        if rate is not None:
            table[f"seconds_{name}"] = None if requests is None else requests / rate
    return table


def _words(scenario: Scenario, seen: Seen, rate: float | None) -> list[str]:
    what = f"errors {scenario.baseline_errors:.4g} and {scenario.canary_errors:.4g}"
    if scenario.slower != 1:
        what += f", latencies x {scenario.slower:g}"
    said = f"{what}: an alarm in {len(seen.requests)} of {seen.runs} runs"
    lines = [f"{said} within {scenario.limit:,} requests per arm"]
    for name, part in (("half of the runs", 0.5), ("9 of 10 runs", 0.9)):
        requests = seen.quantile(part)
        if requests is not None:
            seconds = "" if rate is None else f", {requests / rate:,.1f} s"
            lines.append(f"  {name}: after {requests:,} requests per arm{seconds}")
    return lines
