"""Puts the programs of examples/ into the pages that show them, so that both say the same."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACE = re.compile(
    r"<!-- example: (?P<name>[\w.]+) -->\n```python title=\"[\w.]+\"\n.*?```\n",
    re.DOTALL,
)


def pages() -> list[Path]:
    """Give the pages that show programs."""
    return [
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if "<!-- example: " in path.read_text(encoding="utf-8")
    ]


def filled(page: Path) -> str:
    """Give a page with its programs as they are."""
    return _PLACE.sub(_program, page.read_text(encoding="utf-8"))


def _program(match: re.Match[str]) -> str:
    name = match["name"]
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    return f'<!-- example: {name} -->\n```python title="{name}"\n{text}```\n'
