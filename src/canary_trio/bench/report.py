"""A measurement for people and programs: lines for a terminal, Markdown, JSON. Pure.

The rule: all three say the same, and no figure stands without its bounds where it has some.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from canary_trio.bench.comparison import (
    Decided,
    Figure,
    Measurement,
    MetricComparison,
)
from canary_trio.bench.conditions import ERRORS, ConditionOutcome
from canary_trio.bench.intervals import Bounds
from canary_trio.rollout.latency import bound_of, quantile

_NAMES = ("A", "B")


def lines(comparison: Measurement) -> Iterator[str]:
    """Give the lines for a terminal."""
    for name, url in zip(_NAMES, comparison.urls, strict=False):
        yield f"{name}  {url}"
    yield how(comparison)
    yield ""
    table = [list(row) for row in rows(comparison)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    yield ""
    yield from findings(comparison)


def markdown(comparison: Measurement) -> str:
    """Give a page, to be kept or put beside a change."""
    said = ["# canary bench", ""]
    for name, url in zip(_NAMES, comparison.urls, strict=False):
        said.append(f"- {name}: `{url}`")
    said += ["", how(comparison), ""]
    head, *body = rows(comparison)
    for number, row in enumerate((head, ["---"] * len(head), *body)):
        del number
        said.append("| " + " | ".join(row) + " |")
    said.append("")
    said += [f"- {line}" for line in findings(comparison)]
    return "\n".join([*said, ""])


def how(comparison: Measurement) -> str:
    """Say how it was asked."""
    plan, protocol = comparison.plan, "HTTP/2" if comparison.http2 else "HTTP/1.1"
    if plan.rate is None:
        pace = f"closed loop, {plan.concurrency} under way at each"
    else:
        pace = f"open loop, {plan.rate:g} requests/s to each"
    took = f"{comparison.cost.wall_s:.1f} s after {plan.warm_up_s:g} s of warm-up"
    return f"{protocol}, {pace}, {took}; bounds hold with {1 - comparison.alpha:.3g}"


def rows(comparison: Measurement) -> Iterator[list[str]]:
    """Give a table, its head first."""
    results, wall_s = comparison.results, comparison.cost.wall_s
    is_pair = len(results) > 1
    yield ["", *_NAMES[: len(results)], *(["B to A"] if is_pair else [])]
    rest = [""] if is_pair else []
    yield ["requests", *(f"{one.requests:,}" for one in results), *rest]
    yield ["requests/s", *(f"{one.rate(wall_s):,.0f}" for one in results), *rest]
    for metric in comparison.metrics:
        yield [metric.name, *(_cell(metric, arm) for arm in metric.arms)] + (
            [_ratio(metric)] if is_pair else []
        )
    yield ["slowest", *(_time(one.slowest_s) for one in results), *rest]


def findings(comparison: Measurement) -> Iterator[str]:
    """Give what follows, line by line: the verdict first."""
    if comparison.verdict:
        yield f"{comparison.verdict}."
    for one in comparison.decided:
        yield f"--fail-if {one.condition.text}: {one.outcome.value} ({_about(one)})"
    for name, result in zip(_NAMES, comparison.results, strict=False):
        if result.failures:
            said = ", ".join(f"{why} {n:,}" for why, n in result.failures.items())
            yield f"errors of {name}: {said}"
        odd = {status: n for status, n in result.statuses.items() if status >= 300}
        if odd:
            said = ", ".join(f"{status} {n:,}" for status, n in odd.items())
            yield f"statuses of {name}: {said} of {result.requests:,}; only 5xx are errors"
    if comparison.resent:
        yield (
            f"{comparison.resent:,} requests were sent twice: the server had closed a kept"
            " connection"
        )
    yield from _generator(comparison)


def as_json(comparison: Measurement) -> dict[str, Any]:
    """Give what JSON takes; an end that is not known is null."""
    cost, plan = comparison.cost, comparison.plan
    requests = sum(one.requests for one in comparison.results)
    return {
        "urls": list(comparison.urls),
        "protocol": "HTTP/2" if comparison.http2 else "HTTP/1.1",
        "loop": "closed" if plan.rate is None else "open",
        "rate": plan.rate,
        "concurrency": plan.concurrency if plan.rate is None else None,
        "seconds": cost.wall_s,
        "warm_up_seconds": plan.warm_up_s,
        "interrupted": cost.interrupted,
        "alpha": comparison.alpha,
        "arms": [
            {
                "requests": one.requests,
                "errors": one.errors,
                "failures": dict(one.failures),
                "statuses": {str(code): n for code, n in one.statuses.items()},
                "requests_per_second": one.rate(cost.wall_s),
                "received_bytes": one.received,
                "slowest_seconds": one.slowest_s,
            }
            for one in comparison.results
        ],
        "metrics": {metric.name: _metric_json(metric) for metric in comparison.metrics},
        "verdict": comparison.verdict or None,
        "fail_if": [
            {
                "condition": one.condition.text,
                "outcome": one.outcome.name.lower(),
                "bounds": _ends(one.bounds),
            }
            for one in comparison.decided
        ],
        "generator": {
            "cpu_seconds": cost.cpu_s,
            "cpu_microseconds_per_request": cost.cpu_s / requests * 1e6
            if requests
            else None,
            "busy": cost.busy,
            "late_p99_seconds": _late(comparison),
            "waited_for_connection": cost.held_up,
            "unfinished": cost.unfinished,
            "limit": comparison.limited or None,
        },
    }


# === private ===


def _generator(comparison: Measurement) -> Iterator[str]:
    cost = comparison.cost
    requests = sum(one.requests for one in comparison.results) or 1
    said = f"{cost.cpu_s / requests * 1e6:.0f} us of CPU per request"
    said += f", {cost.busy:.0%} of a core"
    if (late_s := _late(comparison)) is not None:
        said += f"; 99 % were sent at most {_time(late_s)} late"
    yield f"the generator: {said}"
    if comparison.limited:
        yield f"THE GENERATOR WAS THE LIMIT: {comparison.limited}"
    if cost.held_up:
        yield (
            f"{cost.held_up:,} requests waited here, since as many as may be were under way"
            " (--connections); their latency has that in it"
        )
    if cost.interrupted:
        yield f"interrupted; {cost.unfinished:,} requests had not ended, and are not counted"


def _late(comparison: Measurement) -> float | None:
    lateness = comparison.cost.lateness
    return bound_of(quantile(lateness, 0.99)) if lateness else None


def _about(one: Decided) -> str:
    low, high = one.bounds
    if one.outcome is ConditionOutcome.UNDECIDED:
        return f"{_bounds(one, low, high)}: more requests would tell"
    return _bounds(one, low, high)


def _bounds(one: Decided, low: float, high: float) -> str:
    if one.condition.relative:
        return f"x {_number(low)} to {_number(high)}"
    write = _share if one.condition.metric == ERRORS else _time
    return f"{write(low)} to {write(high)}"


def _cell(metric: MetricComparison, arm: Figure) -> str:
    write = _share if metric.name == ERRORS else _time
    if arm.value is None:
        return "none"
    low, high = arm.bounds
    return f"{write(arm.value)} ({write(low)} to {write(high)})"


def _ratio(metric: MetricComparison) -> str:
    ratio = metric.ratio
    if ratio is None:
        return ""
    low, high = ratio.bounds
    said = "x ?" if ratio.value is None else f"x {_number(ratio.value)}"
    said += f" ({_number(low)} to {_number(high)})"
    if metric.difference is not None:
        less, more = (100 * end for end in metric.difference)
        said += f", {less:+.2f} to {more:+.2f} points"
    return said


def _metric_json(metric: MetricComparison) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": "share" if metric.name == ERRORS else "seconds",
        "arms": [
            {"value": arm.value, "bounds": _ends(arm.bounds)} for arm in metric.arms
        ],
    }
    if metric.ratio is not None:
        found["ratio"] = {
            "value": metric.ratio.value,
            "bounds": _ends(metric.ratio.bounds),
        }
    if metric.difference is not None:
        found["difference"] = {"bounds": _ends(metric.difference)}
    return found


def _ends(bounds: Bounds) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in bounds]


def _number(value: float) -> str:
    return "?" if math.isinf(value) else f"{value:.3g}"


def _share(value: float) -> str:
    return f"{value * 100:.3g} %"


def _time(seconds: float) -> str:
    if math.isinf(seconds):
        return "?"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
