"""Mermaid's flowcharts as SVG, for the site: GitHub draws them itself, and a site would fetch a script.

As much of the language as our pages use: `subgraph` with a title, nodes with a text, and edges
`-->` and `---` in chains. Each subgraph is a column; a node lies below those that lead to it.
"""

from __future__ import annotations

import re

import attrs
from docs.tools.drawing import CANARY, LINE, QUIET, STABLE, THIRD, Sheet

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NODE = re.compile(r'(\w+)(?:\["(.*?)"\])?')
_WIDE, _LINE, _GAP = 6.9, 17, 22


@attrs.define(eq=False)
class Column:
    """One subgraph."""

    title: str
    texts: dict[str, list[str]] = attrs.field(factory=dict)
    edges: list[tuple[str, str, bool]] = attrs.field(factory=list)

    def take(self, line: str) -> None:
        """Take one line of nodes and edges in."""
        words = re.split(r"\s*(-->|---)\s*", line)
        names = []
        for word in words[::2]:
            match = _NODE.fullmatch(word.strip())
            assert match is not None, f"not understood: {word}"
            names.append(match[1])
            if match[2] is not None:
                self.texts[match[1]] = match[2].split("<br/>")
        for at, mark in enumerate(words[1::2]):
            self.edges.append((names[at], names[at + 1], mark == "-->"))

    def rows(self) -> list[list[str]]:
        """Give the nodes, those of a row beside each other."""
        rank = dict.fromkeys(self.texts, 0)
        for _ in rank:
            for above, below, _is_arrow in self.edges:
                rank[below] = max(rank[below], rank[above] + 1)
        return [
            [name for name in rank if rank[name] == row]
            for row in range(max(rank.values()) + 1)
        ]


def columns(text: str) -> list[Column]:
    """Read a flowchart; what stands outside of subgraphs is left out."""
    found: list[Column] = []
    inside = False
    for line in map(str.strip, text.splitlines()):
        begins = re.match(r'subgraph (\w+)(?:\["(.*)"\])?', line)
        if begins:
            found.append(Column(begins[2] or begins[1]))
            inside = True
        elif line == "end":
            inside = False
        elif inside:
            found[-1].take(line)
    return found


def drawn(text: str) -> str:
    """Draw a flowchart."""
    found = columns(text)
    widths = [
        max(
            [len(one.title) * 8.0 + 30]
            + [sum(_width(one, name) + _GAP for name in row) for row in one.rows()]
        )
        for one in found
    ]
    heights = [sum(_height(one, row) + _GAP for row in one.rows()) for one in found]
    names = ", ".join(one.title for one in found)
    sheet = Sheet(
        int(sum(widths) + 20 * (len(found) + 1)), int(max(heights)) + 70, names
    )
    left = 20.0
    for one, width, colour in zip(found, widths, (STABLE, CANARY, THIRD), strict=False):
        _draw(sheet, one, left, width, colour)
        left += width + 20
    return sheet.svg()


def _draw(sheet: Sheet, one: Column, left: float, width: float, colour: str) -> None:
    sheet.text(left + width / 2, 28, one.title, anchor="middle", bold=True)
    top = 44.0
    middles: dict[str, tuple[float, float, float]] = {}
    for row in one.rows():
        height = _height(one, row)
        room = sum(_width(one, name) for name in row)
        gap = (width - room) / (len(row) + 1)
        at = left + gap
        for name in row:
            sheet.box(
                at,
                top,
                _width(one, name),
                height,
                colour,
                words="|".join(one.texts[name]),
            )
            middles[name] = (at + _width(one, name) / 2, top, top + height)
            at += _width(one, name) + gap
        top += height + _GAP
    for above, below, is_arrow in one.edges:
        (x1, _, y1), (x2, y2, _) = middles[above], middles[below]
        sheet.line([(x1, y1), (x2, y2)], QUIET if is_arrow else LINE, arrow=is_arrow)


def _width(one: Column, name: str) -> float:
    return max(len(line) for line in one.texts[name]) * _WIDE + 24


def _height(one: Column, row: list[str]) -> float:
    return max(len(one.texts[name]) for name in row) * _LINE + 12


def with_drawings(markdown: str) -> str:
    """Give a page with its flowcharts drawn."""
    return BLOCK.sub(lambda match: f"<div>\n{drawn(match[1])}</div>", markdown)
