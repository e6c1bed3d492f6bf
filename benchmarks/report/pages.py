"""A report as Markdown: the machine, then each section with its picture and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report.sections import (
    Section,
    middle,
    number,
    quantile,
    spread,
)

_QUIET = 1.0  # load average of a machine that has nothing else to do

_HOW = (
    "Systems take turns in short rounds; figures are medians, with the least and the most of"
    " the rounds in brackets. Compare ratios within this page: machines differ, and what else"
    " ran on this one is in all of it."
)


def page(
    facts: Mapping[str, Any], sections: Sequence[Section], pictures: Mapping[str, str]
) -> str:
    """Give the page; `pictures` are files beside it, by a section's key."""
    said = ["# Benchmarks", "", _machine(facts), ""]
    said += [_HOW, ""]
    for section in sections:
        said += [f"## {section.title}", "", section.words, ""]
        if section.key in pictures:
            said += [f"![{section.title}]({pictures[section.key]})", ""]
        said += [*_tables(section), ""]
    if "releases" in pictures:
        said += ["## By release", "", f"![By release]({pictures['releases']})", ""]
    return "\n".join(said)


def _machine(facts: Mapping[str, Any]) -> str:
    programs = ", ".join(
        f"{name} {version}" for name, version in facts["programs"].items() if version
    )
    busy = ""
    if facts["load_average"] > _QUIET:
        busy = " **Something else was running here:** look at the spread before you believe a figure."
    built = "" if facts["python_optimised"] else " (built without optimisation)"
    return (
        f"{facts['processor']}, {facts['processors']} processors, {facts['memory_gib']} GiB;"
        f" {facts['system']} {facts['kernel']}; Python {facts['python']}{built}; {programs}."
        f" Load average when it began: {facts['load_average']}.{busy}"
    )


def _tables(section: Section) -> Iterator[str]:
    if section.columns:
        yield from _columns(section)
    elif section.samples:
        yield from _samples(section)
    else:
        yield from _points(section)


def _columns(section: Section) -> Iterator[str]:
    labels = list(section.columns)
    beside = any("nginx" in rounds for rounds in section.columns.values())
    head = ["", *labels, *(["x nginx's CPU"] if beside else [])]
    yield _row(head)
    yield _row(["---"] * len(head))
    first = section.columns[labels[0]]
    for name in first:
        cells = [
            spread(section.columns[label][name])
            if name in section.columns[label]
            else ""
            for label in labels
        ]
        if beside:
            cells.append(f"{middle(first[name]) / middle(first['nginx']):.2f}")
        yield _row([name, *cells])


def _samples(section: Section) -> Iterator[str]:
    yield _row(["", "median, ms", "99 %, ms", "worst, ms", "changes"])
    yield _row(["---"] * 5)
    for name, values in section.samples.items():
        figures = (middle(values), quantile(values, 0.99), max(values))
        count = "computed" if name in section.computed else str(len(values))
        yield _row([name, *(number(value * 1000) for value in figures), count])


def _points(section: Section) -> Iterator[str]:
    xs = list(dict.fromkeys(x for curve in section.curves.values() for x, _ in curve))
    yield _row([f"{section.axes[1]}, by {section.axes[0]}", *map(number, xs)])
    yield _row(["---"] * (1 + len(xs)))
    for name, curve in section.curves.items():
        known = dict(curve)
        yield _row([name, *(number(known[x]) if x in known else "" for x in xs)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
