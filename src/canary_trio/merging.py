"""What several workers say, as if one had said it. Pure.

Metrics: counters and histograms are added. So are gauges, which mostly count what is
spread over the workers (connections, requests in flight), but for those named below:
of some the lowest holds for all, of some the highest. The share that was observed is
that of all decisions together. Numbers whose labels differ stay apart.

Status: the numbers that count requests and connections are added, by name; of the
rest, what all agree on, or else what the worker says that lags furthest behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from canary_trio.copies import Outcome, Skip

LOWEST = frozenset(
    {
        "canary_arm_usable_servers",
        "canary_config_revision",
        "canary_server_healthy",
        "canary_split_mismatch_p",
        "process_start_time_seconds",
    }
)
"""Gauges of which the lowest holds for all."""

HIGHEST = frozenset(
    {
        "canary_arm_panic",
        "canary_config_remembered",
        "canary_server_ejected",
        "canary_server_latency_seconds",
        "canary_server_weight",
        "canary_split_asked_share",
        "canary_store_contact_age_seconds",
        "process_max_fds",
    }
)
"""Gauges of which the highest holds for all."""

_OBSERVED, _DECISIONS = "canary_split_observed_share", "canary_split_decisions"

ADDED = frozenset(
    {
        *("connections", "decisions", "ejections", "errors", "failures", "fallbacks"),
        *("in_flight", "pending", "requests", "retries", "saved"),
        *Outcome,
        *Skip,
    }
)
"""The names of the numbers in a status that are added."""

IN_ALL = frozenset({"healthy", "safe_to_remove", "up"})
"""The names of what is so if all workers say so."""

IN_ANY = frozenset({"ejected", "mismatch", "panic"})
"""The names of what is so if one worker says so."""

Table = dict[str, Any]
_Values = dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]


def merge_metrics(texts: Iterable[str], own: Sequence[Metric] = ()) -> bytes:
    """Merge expositions in Prometheus' text format, and add metrics of one's own."""
    metrics: dict[str, Metric] = {}
    values: dict[str, _Values] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            metrics.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                found.setdefault(key, []).append(sample.value)
    for name, metric in metrics.items():
        metric.samples = [
            Sample(sample, dict(labels), _merged(name, numbers))
            for (sample, labels), numbers in values[name].items()
        ]
    _observe(metrics)
    return b"".join(map(_text, (*metrics.values(), *own)))


def merge_status(tables: Sequence[Table]) -> Table:
    """Merge the states of workers; there is at least one.

    >>> one = {"running": 7, "arms": {"stable": {"requests": 1}}}
    >>> other = {"running": 6, "arms": {"stable": {"requests": 2}}}
    >>> merge_status([one, other])
    {'running': 6, 'arms': {'stable': {'requests': 3}}}
    """
    slowest_first = sorted(tables, key=lambda table: table.get("running") or 0)
    merged: Table = _merge_tables(slowest_first)
    arms = merged.get("arms")
    if isinstance(arms, dict):
        total = sum(arm.get("decisions", 0) for arm in arms.values())
        for arm in arms.values():
            if "observed_share" in arm:
                arm["observed_share"] = arm["decisions"] / total if total else None
    return merged


def _merged(name: str, numbers: list[float]) -> float:
    real = [number for number in numbers if not math.isnan(number)]
    if not real:
        return math.nan
    if name in LOWEST:
        return min(real)
    if name in HIGHEST:
        return max(real)
    return sum(real)


def _observe(metrics: Mapping[str, Metric]) -> None:
    """Work the observed share out anew, of the decisions of all."""
    if _OBSERVED not in metrics or _DECISIONS not in metrics:
        return
    counts = {s.labels["arm"]: s.value for s in metrics[_DECISIONS].samples}
    total = sum(counts.values())
    metrics[_OBSERVED].samples = [
        Sample(_OBSERVED, {"arm": arm}, count / total if total else math.nan)
        for arm, count in counts.items()
    ]


class _One:
    """A registry with one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _text(metric: Metric) -> bytes:
    return generate_latest(cast("CollectorRegistry", _One(metric)))


def _merge_tables(tables: Sequence[Table]) -> Table:
    names = dict.fromkeys(name for table in tables for name in table)
    return {
        name: _merge(name, [table[name] for table in tables if name in table])
        for name in names
    }


def _merge(name: str, values: list[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return _merge_tables(values)
    if name in ADDED and all(isinstance(value, int | float) for value in values):
        return sum(values)
    if name in _RULES:
        return _RULES[name](values)
    if all(_lists_servers(value) for value in values):
        urls = dict.fromkeys(row["url"] for value in values for row in value)
        return [
            _merge_tables([r for value in values for r in value if r["url"] == url])
            for url in urls
        ]
    return values[0]


def _union(lists: Sequence[list[str]]) -> list[str]:
    return list(dict.fromkeys(member for one in lists for member in one))


_RULES: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    **dict.fromkeys(IN_ALL, all),
    **dict.fromkeys(IN_ANY, any),
    "held_by": _union,
}


def _lists_servers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict) and "url" in row for row in value
    )
