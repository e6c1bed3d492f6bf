"""SVG by hand: boxes, words, arrows and lines, on a white sheet that reads on dark pages too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs

INK, QUIET, LINE = "#1f2933", "#616e7c", "#9aa5b1"
STABLE, CANARY, THIRD = "#2f6f8f", "#e0a100", "#9b5094"
PALE = {STABLE: "#dceaf1", CANARY: "#fbefc9", THIRD: "#efdeed", LINE: "#eef1f4"}


@attrs.define(eq=False)
class Sheet:
    """A picture in the making; sizes are in pixels."""

    width: int
    height: int
    title: str
    parts: list[str] = attrs.field(factory=list)

    def box(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        colour: str = LINE,
        *,
        words: str = "",
        plain: bool = False,
    ) -> None:
        """Draw a box, perhaps with words in it, whose lines are parted by a bar."""
        fill = colour if plain else PALE.get(colour, colour)
        self.parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f' rx="{0 if plain else 6}" fill="{fill}"'
            + ("" if plain else f' stroke="{colour}"')
            + "/>"
        )
        lines = words.split("|") if words else []
        first = top + height / 2 - 8.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            self.text(left + width / 2, first + 17 * number, line, anchor="middle")

    def text(
        self,
        left: float,
        top: float,
        words: str,
        *,
        anchor: str = "start",
        colour: str = INK,
        size: int = 13,
        bold: bool = False,
    ) -> None:
        """Write words; `top` is their base line."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{left:.1f}" y="{top:.1f}" font-size="{size}" fill="{colour}"'
            f' text-anchor="{anchor}"{weight}>{escape(words)}</text>'
        )

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str = QUIET,
        *,
        width: float = 1.5,
        dashed: bool = False,
        arrow: bool = False,
    ) -> None:
        """Draw a line through points."""
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
            + (' stroke-dasharray="4 4"' if dashed else "")
            + (' marker-end="url(#tip)"' if arrow else "")
            + "/>"
        )

    def svg(self) -> str:
        """Give the picture."""
        return "\n".join(
            [
                (
                    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
                    f' width="{self.width}" height="{self.height}" role="img"'
                    ' font-family="system-ui, sans-serif">'
                ),
                f"<title>{escape(self.title)}</title>",
                (
                    '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
                    f' markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{QUIET}"/>'
                    "</marker></defs>"
                ),
                f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#ffffff"/>',
                *self.parts,
                "</svg>\n",
            ]
        )
