"""A measurement as a picture: latency by quantile, and B beside A. Pure; SVG as text.

Both axes of the first panel are logarithmic: times, and how many of the requests are slower. So
a stall, which few requests see, has as much room as the median. The second shows every ratio with
its bounds, and where "the same" is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from canary_trio.bench.comparison import Measurement, value_of
from canary_trio.bench.report import how
from canary_trio.bench.tally import LoadResult

_WIDTH, _LEFT, _RIGHT = 760, 70, 24
_TOP, _HEIGHT = 92, 300
_GAP, _ROW = 78, 34
_COLOURS = ("#1f6fb4", "#d9660a")
_INK, _FAINT = "#222222", "#d8d8d8"
_PARTS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)
_TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999)
_LEAST_BEYOND = 5  # requests beyond a quantile that is drawn
_WIDEST = 16.0  # the factor at which the second panel ends, either way


def svg(comparison: Measurement) -> str:
    """Give the picture, as the text of an SVG file."""
    ratios = [metric for metric in comparison.metrics if metric.ratio is not None]
    height = _TOP + _HEIGHT + 50 + (_GAP + _ROW * len(ratios) if ratios else 0)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    font = 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *_legend(comparison),
        *_curves(comparison.results),
        *(_ratios(comparison) if ratios else ()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(comparison: Measurement) -> Iterator[str]:
    for number, url in enumerate(comparison.urls):
        y = 24 + 20 * number
        yield f'<rect x="16" y="{y - 10}" width="12" height="12" fill="{_COLOURS[number]}"/>'
        yield _text(36, y, f"{'AB'[number]}  {url}"[:100])
    yield _text(16, 24 + 20 * len(comparison.urls), how(comparison), colour="#666666")


# === latency by quantile ===


def _curves(results: Sequence[LoadResult]) -> Iterator[str]:
    curves = [_curve(one) for one in results]
    values = [value for curve in curves for _, value in curve]
    if not values:
        yield _text(_LEFT, _TOP + 40, "no response has a latency")
        return
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.0001))
    last = max(part for curve in curves for part, _ in curve)
    yield from _grid(low, high, last)
    for number, curve in enumerate(curves):
        points = [(_x(part, last), _y(value, low, high)) for part, value in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = _COLOURS[number]
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _curve(result: LoadResult) -> list[tuple[float, float]]:
    count = sum(result.latencies.values())
    found = []
    for part in _PARTS:
        value = value_of(result, part)
        if value and (part == _PARTS[0] or count * (1 - part) >= _LEAST_BEYOND):
            found.append((part, value))
    return found


def _grid(low: float, high: float, last: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _TOP + _HEIGHT
    decade = low
    while decade <= high * 1.001:
        y = _y(decade, low, high)
        yield _line(_LEFT, y, right, y)
        said = f"{decade * 1000:g} ms" if decade < 1 else f"{decade:g} s"
        yield _text(_LEFT - 8, y + 4, said, anchor="end")
        decade *= 10
    for part in sorted({*_TICKS, last}):
        if part <= last:
            x = _x(part, last)
            yield _line(x, _TOP, x, bottom)
            yield _text(x, bottom + 18, f"{part * 100:g} %", anchor="middle")
    yield _text(
        (_LEFT + right) / 2,
        bottom + 38,
        "of the requests took less than this",
        anchor="middle",
        colour="#666666",
    )


def _x(part: float, last: float) -> float:
    span = math.log10((1 - _PARTS[0]) / (1 - last)) or 1.0
    along = math.log10((1 - _PARTS[0]) / (1 - part)) / span
    return _LEFT + along * (_WIDTH - _RIGHT - _LEFT)


def _y(value: float, low: float, high: float) -> float:
    along = math.log(value / low) / math.log(high / low)
    return _TOP + _HEIGHT * (1 - along)


# === B beside A ===


def _ratios(comparison: Measurement) -> Iterator[str]:
    top = _TOP + _HEIGHT + _GAP + 16
    bottom = top + _ROW * len(comparison.metrics)
    yield _text(16, top - 22, "B, times A: what was found, and its bounds", bold=True)
    for factor in (1 / 16, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 16.0):
        x = _ratio_x(factor)
        colour, width = (_INK, 1.5) if factor == 1 else (_FAINT, 1.0)
        yield _line(x, top - 10, x, bottom - 10, colour=colour, width=width)
        said = f"x {factor:g}" if factor >= 1 else f"1/{1 / factor:g}"
        yield _text(x, bottom + 6, said, anchor="middle")
    for number, metric in enumerate(comparison.metrics):
        y = top + _ROW * number + 6
        yield _text(_LEFT - 8, y + 4, metric.name, anchor="end")
        if metric.ratio is None:
            continue
        if not metric.ratio.bounds[0] and math.isinf(metric.ratio.bounds[1]):
            yield _text(_ratio_x(1) + 10, y + 4, "not known: too few", colour="#666666")
            continue
        low, high = (_ratio_x(end) for end in metric.ratio.bounds)
        yield (
            f'<rect x="{low:.1f}" y="{y - 5}" width="{max(high - low, 1):.1f}" height="10"'
            f' fill="{_COLOURS[1]}" fill-opacity="0.35"/>'
        )
        if metric.ratio.value:
            x = _ratio_x(metric.ratio.value)
            yield f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{_COLOURS[1]}"/>'


def _ratio_x(factor: float) -> float:
    held = min(max(factor, 1 / _WIDEST), _WIDEST)
    along = (math.log(held) / math.log(_WIDEST) + 1) / 2
    return _LEFT + along * (_WIDTH - _RIGHT - _LEFT)


# === pieces ===


def _text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "start",
    colour: str = _INK,
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(said)}</text>"
    )


def _line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    *,
    colour: str = _FAINT,
    width: float = 1.0,
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width:g}"/>'
    )
