"""What `canary watch` draws at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from canary_trio.admin.asking.arm_table import HEADS
from canary_trio.command.cli.watching.watched import PROXY_HEADS, arm_cells

if TYPE_CHECKING:
    from canary_trio.command.cli.watching.watched import Watched

_ARM_HEADS = (*HEADS[:7], HEADS[-2], HEADS[-1])


def picture(watched: Watched, now: float) -> RenderableType:
    """Give all of it, as it is now."""
    rows, proxies = watched.rows, list(watched.proxies(now))
    parts: list[RenderableType] = [
        Text(watched.head(now), style="bold red" if watched.fault else "bold")
    ]
    parts += [
        Text(note, style="bold black on yellow" if note.startswith(">>>") else "")
        for note in watched.notes(now)
    ]
    if rows:
        parts.append(_table("arms, the last minute", _ARM_HEADS, arm_cells(rows)))
    if proxies:
        parts.append(_table("proxies", PROXY_HEADS, proxies))
    if watched.changes:
        parts += [Text(""), Text("the last changes", style="italic")]
        parts += [
            Text(line, style="yellow" if "by hand" in line else "", no_wrap=True)
            for line in watched.changes
        ]
    parts += [Text(""), Text("q ends", style="dim")]
    return Group(*parts)


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", expand=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at in (0, len(heads) - 1) else "right")
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return table


def _style(cell: str) -> str:
    bad = ("panic", "0/", "as of", "(stale)", "never", "refused", "no response")
    return "red" if cell.startswith(bad) or "(stale)" in cell else ""
