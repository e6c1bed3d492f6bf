"""What the commands that write a document say of it, and of the fleet that routes by it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import attrs
import click

if TYPE_CHECKING:
    from canary_trio.control.report import Fleet


@attrs.frozen
class Written:
    """What became of a write.

    Attributes:
        revision: of the document now.
        changed: False if the same document was there already.
        took_s: from the write to the end of the wait.
    """

    revision: int
    changed: bool = attrs.field(kw_only=True)
    took_s: float = attrs.field(kw_only=True)

    @property
    def words(self) -> str:
        """What became of it, in words."""
        if self.changed:
            return f"revision {self.revision} written"
        return f"nothing changed; revision {self.revision} is there already"


def say_written(written: Written, fleet: Fleet | None, *, as_json: bool) -> None:
    """Print what became of a write; end the command where it is not live everywhere."""
    revision, took_s = written.revision, written.took_s
    if fleet is None:
        table = {"revision": revision, "changed": written.changed}
        click.echo(json.dumps(table) if as_json else written.words)
        return
    live, known = len(fleet.live), len(fleet.reports)
    lagging = [report.id for report in fleet.lagging]
    refusing = [report.id for report in fleet.refusing]
    if as_json:
        shown: dict[str, object] = {"revision": revision, "live": live}
        shown["changed"] = written.changed
        shown |= {"proxies": known, "lagging": lagging, "refusing": refusing}
        shown["ms"] = took_s * 1e3
        click.echo(json.dumps(shown))
    elif not known:
        click.echo(f"{written.words}; no proxy is live")
    else:
        if not written.changed:
            click.echo(written.words)
        in_time = f" in {took_s * 1e3:.1f} ms"
        click.echo(f"revision {revision} live on {live}/{known} proxies{in_time}")
    for report in fleet.refusing:
        assert report.failed is not None, "that is what refusing means"
        for problem in report.failed.problems:
            click.echo(f"canary: refused by {report.id}: {problem}", err=True)
    if refusing:
        sys.exit(1)
    if lagging:
        click.echo(f"canary: not yet live on: {', '.join(lagging)}", err=True)
        sys.exit(3)
