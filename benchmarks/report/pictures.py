"""Sections as pictures, by matplotlib: bars with their spread, curves, histograms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.sections import Section, middle, number

_OURS = "#d9660a"
_OTHERS = ("#1f6fb4", "#4c9a5b", "#7a5ca8", "#6b6b6b", "#b0404f")
_FAINT = "#8a8a8a"
_STYLES = ("--", "-.", ":")  # of others; ours is the one that is solid


def draw(section: Section, folder: Path) -> str:
    """Draw a section into a file; give its name."""
    plt = _pyplot()
    if section.columns:
        figure = _bars(plt, section)
    elif section.samples:
        figure = _histogram(plt, section)
    else:
        figure = _curves(plt, section)
    return _save(plt, figure, folder / f"{section.key}.svg")


def draw_history(history: Mapping[str, Mapping[str, float]], folder: Path) -> str:
    """Draw what releases gave: by release, the figure of each of some systems."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 4.2))
    releases = list(history)
    names = list(dict.fromkeys(itertools.chain.from_iterable(history.values())))
    for name, colour in zip(names, (_OURS, *_OTHERS), strict=False):
        points = [
            (at, history[release][name])
            for at, release in enumerate(releases)
            if name in history[release]
        ]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
        for at, value in points:
            axes.annotate(
                f"{value:.2f}", (at, value), (0, 8), textcoords="offset points"
            )
    axes.set_xticks(range(len(releases)), releases)
    axes.set_xlim(-0.5, len(releases) - 0.5)
    axes.margins(y=0.2)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("us of CPU, times nginx's in the same run")
    axes.set_title("A small response with a new head, by release", fontsize=11)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=9)
    return _save(plt, figure, folder / "releases.svg")


def _bars(plt: Any, section: Section) -> Any:
    label, rounds = next(iter(section.columns.items()))
    names = list(rounds)
    figure, axes = plt.subplots(figsize=(8, 1.4 + 0.5 * len(names)))
    values = [middle(rounds[name]) for name in names]
    below = [
        value - min(rounds[name]) for name, value in zip(names, values, strict=True)
    ]
    above = [
        max(rounds[name]) - value for name, value in zip(names, values, strict=True)
    ]
    axes.barh(
        names,
        values,
        xerr=[below, above],
        color=_colours(names),
        error_kw={"ecolor": "#222222", "capsize": 4},
        height=0.62,
    )
    most = max(max(rounds[name]) for name in names)
    for at, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.text(max(rounds[name]) + most * 0.02, at, number(value), va="center")
    axes.set_xlim(0, most * 1.14)
    axes.invert_yaxis()
    axes.set_xlabel(f"{label} (median; the line is from the least to the most)")
    axes.set_title(section.title, fontsize=11)
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _curves(plt: Any, section: Section) -> Any:
    figure, axes = plt.subplots(figsize=(8, 4.6))
    names = list(section.curves)
    styles = itertools.cycle(_STYLES)
    for name, colour in zip(names, _colours(names), strict=True):
        points = section.curves[name]
        if points:
            style = (
                "-" if name.startswith(("canary", "kv-trio", "judge")) else next(styles)
            )
            xs, ys = zip(*points, strict=True)
            axes.plot(
                *(xs, ys),
                marker="o",
                ms=4,
                lw=3 if style == "-" else 1.5,  # others may lie on it
                ls=style,
                color=colour,
                label=name,
            )
    for which, is_log in zip(("x", "y"), section.logs, strict=True):
        if is_log:
            getattr(axes, f"set_{which}scale")("log")
            _plain(getattr(axes, f"{which}axis"), plt)
    places = sorted({x for curve in section.curves.values() for x, _ in curve})
    if section.logs[0]:
        axes.set_xticks(places)
        axes.xaxis.set_tick_params(which="minor", length=0)
    if section.key == "latency":
        axes.invert_xaxis()
    if not section.logs[1]:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(section.axes[0])
    axes.set_ylabel(section.axes[1])
    axes.set_title(section.title, fontsize=11)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _histogram(plt: Any, section: Section) -> Any:
    """Draw one row for each system, on one logarithmic axis of time."""
    names = list(section.samples)
    figure, rows = plt.subplots(
        len(names), 1, figsize=(8, 0.6 + 1.05 * len(names)), sharex=True
    )
    every = list(itertools.chain.from_iterable(section.samples.values()))
    low = math.floor(math.log10(max(min(every), 1e-4)) * 4) / 4
    high = math.ceil(math.log10(max(every)) * 4) / 4
    count = round((high - low) * 16)
    bins = [10 ** (low + (high - low) * at / count) for at in range(count + 1)]
    for axes, name, colour in zip(rows, names, _colours(names), strict=True):
        values = section.samples[name]
        weights = [1 / len(values)] * len(values)
        is_computed = name in section.computed
        fill = (
            {"color": colour} if not is_computed else {"color": _FAINT, "hatch": "//"}
        )
        axes.hist(values, bins=bins, weights=weights, alpha=0.85, **fill)
        axes.axvline(middle(values), color="#222222", lw=1.2)
        said = "computed, not measured" if is_computed else f"{len(values)} changes"
        axes.set_title(
            f"{name}: half within {_time(middle(values))} ({said})",
            loc="left",
            fontsize=9,
            pad=3,
        )
        axes.set_xscale("log")
        axes.set_yticks([])
        axes.grid(visible=True, axis="x", alpha=0.3)
    figure.suptitle(section.title, fontsize=11)
    _plain(rows[-1].xaxis, plt)
    rows[-1].set_xlabel(
        "seconds from the write to the first request that is routed by it"
    )
    return figure


def _time(seconds: float) -> str:
    return f"{number(seconds * 1000)} ms" if seconds < 1 else f"{number(seconds)} s"


def _plain(axis: Any, plt: Any) -> None:
    """Write 0.01 and 1000, not powers of ten; also between them, for axes that are short."""
    del plt
    from matplotlib.ticker import (  # noqa: PLC0415
        FuncFormatter,
        LogLocator,
        NullFormatter,
    )

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _colours(names: Sequence[str]) -> list[str]:
    others = itertools.cycle(_OTHERS)
    return [
        _OURS
        if name.startswith(("canary", "kv-trio", "judge")) or "changes/s" in name
        else next(others)
        for name in names
    ]


def _pyplot() -> Any:
    import matplotlib as mpl  # noqa: PLC0415  # an extra

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "report"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt


def _save(plt: Any, figure: Any, path: Path) -> str:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path.name
