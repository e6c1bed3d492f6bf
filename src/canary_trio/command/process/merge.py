"""What several workers say, as if one had said it. Pure.

How a number is merged stands beside it, see `admin.merge_rules`. Here is what the rules
do, and how a page of the docs lists them. What has no rule is left out: a number of one
worker is never shown as that of all. Numbers of metrics whose labels differ stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from canary_trio.admin.exposition import exposition
from canary_trio.admin.merge_rules import ByName, MergeRule, Rows, Shape, paths

BEGIN = "<!-- rules: written by `python -m canary_trio.command.process.admin` -->"
END = "<!-- end of the rules -->"


_OBSERVED, _DECISIONS = "canary_split_observed_share", "canary_split_decisions"

Table = dict[str, Any]
_Values = dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]


def merge_metrics(
    texts: Iterable[str], rules: Mapping[str, MergeRule], own: Sequence[Metric] = ()
) -> bytes:
    """Merge expositions in Prometheus' text format, and add metrics of one's own.

    Args:
        texts: what the workers say.
        rules: by the name of the family, which has no `_total`.
        own: what is shown beside it.
    """
    metrics: dict[str, Metric] = {}
    values: dict[str, _Values] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            if family.name not in rules:
                continue
            metrics.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                found.setdefault(key, []).append(sample.value)
    for name, metric in metrics.items():
        metric.samples = [
            Sample(sample, dict(labels), _number(rules[name], numbers))
            for (sample, labels), numbers in values[name].items()
        ]
    _observe(metrics)
    return b"".join(map(exposition, (*metrics.values(), *own)))


def merge_status(tables: Sequence[Table], rules: Mapping[str, Shape]) -> Table:
    """Merge the states of workers; there is at least one.

    >>> one = {"running": 7, "arms": {"stable": {"requests": 1}}}
    >>> other = {"running": 6, "arms": {"stable": {"requests": 2}}}
    >>> arms = ByName({"requests": MergeRule.ADDED})
    >>> merge_status([one, other], {"running": MergeRule.LOWEST, "arms": arms})
    {'running': 6, 'arms': {'stable': {'requests': 3}}}
    """
    slowest_first = sorted(tables, key=lambda table: table.get("running") or 0)
    merged = _merge_tables(rules, slowest_first)
    for part in (merged, *(merged.get("services") or {}).values()):
        _observe_arms(part.get("arms") or {})
    return merged


def _observe_arms(arms: Table) -> None:
    total = sum(arm.get("decisions", 0) for arm in arms.values())
    for arm in arms.values():
        if "observed_share" in arm:
            arm["observed_share"] = arm["decisions"] / total if total else None


def reference(status: Shape, metrics: Mapping[str, MergeRule]) -> str:
    """Give all rules as Markdown: a table for the status, one for the metrics."""
    fields: dict[tuple[str, MergeRule], list[str]] = {}
    for path, rule in paths(status):
        place, _, name = path.rpartition(".")
        fields.setdefault((place, rule), []).append(f"`{name}`")
    families: dict[MergeRule, list[str]] = {}
    for name, rule in metrics.items():
        if rule is not MergeRule.ADDED:
            families.setdefault(rule, []).append(f"`{name}`")
    families[MergeRule.ADDED] = ["all others"]
    lines = ["| `/status`, in | fields | of several workers |", "|---|---|---|"]
    lines += [
        f"| {f'`{place}`' if place else ''} | {', '.join(names)} | {rule.value} |"
        for (place, rule), names in fields.items()
    ]
    lines += ["", "| `/metrics` | of several workers |", "|---|---|"]
    lines += [
        f"| {', '.join(names)} | {rule.value} |" for rule, names in families.items()
    ]
    return "\n".join(lines) + "\n"


def with_reference(page: str, status: Shape, metrics: Mapping[str, MergeRule]) -> str:
    """Give a page of the docs with its tables of rules written anew.

    Raises:
        ValueError: it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no {BEGIN} with {END} behind it")
    return f"{before}{BEGIN}\n\n{reference(status, metrics)}\n{END}{after}"


def _number(rule: MergeRule, numbers: Sequence[float]) -> float:
    found = _merge_values(rule, [None if math.isnan(n) else n for n in numbers])
    return math.nan if found is None else float(found)


def _observe(metrics: Mapping[str, Metric]) -> None:
    """Work the observed share out anew, of the decisions of all."""
    if _OBSERVED not in metrics or _DECISIONS not in metrics:
        return
    samples = metrics[_DECISIONS].samples
    totals: dict[str | None, float] = {}
    for sample in samples:
        service = sample.labels.get("service")
        totals[service] = totals.get(service, 0.0) + sample.value
    metrics[_OBSERVED].samples = [
        Sample(_OBSERVED, dict(s.labels), s.value / total if total else math.nan)
        for s in samples
        for total in [totals[s.labels.get("service")]]
    ]


def _merge(shape: Shape, values: Sequence[Any]) -> Any:
    """Merge what several say, slowest first; None where none of them has it."""
    if isinstance(shape, MergeRule):
        return _merge_values(shape, values)
    known = [value for value in values if value is not None]
    if not known:
        return None
    match shape:
        case ByName(inner):
            names = dict.fromkeys(name for table in known for name in table)
            return _merge_tables(dict.fromkeys(names, inner), known)
        case Rows(key, inner):
            return _merge_rows(key, inner, known)
        case _:
            return _merge_tables(shape, known)


def _merge_tables(shapes: Mapping[str, Shape], tables: Sequence[Table]) -> Table:
    found = {
        name: [table[name] for table in tables if name in table] for name in shapes
    }
    return {
        name: _merge(shapes[name], values) for name, values in found.items() if values
    }


def _merge_rows(
    key: str, shapes: Mapping[str, Shape], lists: Sequence[Sequence[Table]]
) -> list[Table]:
    alike: dict[Any, list[Table]] = {}
    for row in (row for rows in lists for row in rows):
        alike.setdefault(row[key], []).append(row)
    return [_merge_tables(shapes, rows) for rows in alike.values()]


def _merge_values(rule: MergeRule, values: Sequence[Any]) -> Any:
    if rule is MergeRule.SLOWEST:
        return values[0]
    if rule is MergeRule.LONGEST and None in values:
        return None
    known = [value for value in values if value is not None]
    return _HOW[rule](known) if known else None


def _union(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(member for members in lists for member in members))


def _first_said(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


_HOW: Mapping[MergeRule, Callable[[Sequence[Any]], Any]] = {
    MergeRule.ADDED: sum,
    MergeRule.LOWEST: min,
    MergeRule.HIGHEST: max,
    MergeRule.LONGEST: max,
    MergeRule.ALL: all,
    MergeRule.ANY: any,
    MergeRule.UNION: _union,
    MergeRule.SAID: _first_said,
    MergeRule.SHARE: lambda _: None,  # until all decisions are known
}
