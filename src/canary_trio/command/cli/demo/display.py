"""What the demonstration shows: a table at a terminal, lines elsewhere.

All of it is measured: the share is counted from the responses, and the time of a change
runs from its arrival at the store to the step in which the proxy routes by it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from canary_trio.config.model import STABLE, WHOLE
from canary_trio.control.store_keys import config_key
from canary_trio.errors import printable
from canary_trio.serving.proxy import Proxy

SERVICE = "demo"

STEPS = (
    {"ratio": 0.1, "hold": 20},
    {"ratio": 0.25, "hold": 20},
    {"ratio": 0.5, "hold": 20},
    {"ratio": 1.0},
)
JUDGE = {"then": "abort", "requests": 100, "latency": None}
"""At 100 requests/s nobody would wait for the 5,000 of the default."""

FRAME_S = 0.25
"""How often what is shown at a terminal is drawn anew."""

_WINDOW = 500  # requests over which the present share is counted
_PLAIN_S = 1.0


@attrs.define(eq=False)
class DemoRecord:
    """What the demonstration has seen.

    Attributes:
        changes: (revision, milliseconds) of each change.
        recent: the versions that responded last, to requests of this revision.
    """

    total: int = 0
    errors: int = 0
    responses: Counter[str] = attrs.field(factory=Counter)
    recent: deque[str] = attrs.field(factory=lambda: deque(maxlen=_WINDOW))
    changes: list[tuple[int, float]] = attrs.field(factory=list)
    written_at: dict[int, float] = attrs.field(factory=dict)

    def written(self, changed: set[bytes], index: int, queued_at: float) -> None:
        """Note that the document was written."""
        if config_key(SERVICE).encode() in changed:
            self.written_at = {index: queued_at}

    def live(self, revision: int) -> None:
        """Note that requests are routed by a revision from now on."""
        written_at = self.written_at.pop(revision, None)
        if written_at is not None:
            took_ms = (trio.current_time() - written_at) * 1e3
            self.changes.append((revision, took_ms))
            self.recent.clear()

    def responded(self, version: str, sent: int) -> None:
        """Count a response to a request that was sent after so many changes.

        One that was under way while the document changed is no answer of the new one.
        """
        self.total += 1
        self.responses[version] += 1
        if sent == len(self.changes):
            self.recent.append(version)

    def share(self, version: str) -> float:
        """Give the share of the recent responses that a version gave."""
        return self.recent.count(version) / len(self.recent) if self.recent else 0.0


async def show(console: Console, record: DemoRecord, proxy: Proxy) -> None:
    """Show what happens, until cancelled."""
    if not console.is_terminal:
        await _show_plain(console, record, proxy)
        return
    with Live(_table(record, proxy), console=console, auto_refresh=False) as live:
        while True:
            await trio.sleep(FRAME_S)
            live.update(_table(record, proxy), refresh=True)


async def _show_plain(console: Console, record: DemoRecord, proxy: Proxy) -> None:
    shown = 0
    while True:
        await trio.sleep(_PLAIN_S)
        for revision, took_ms in record.changes[shown:]:
            console.print(f"revision {revision} live {took_ms:.2f} ms after its write")
        shown = len(record.changes)
        shares = "  ".join(
            f"{name} {100 * record.share(name):.1f} %" for name in ("v1", "v2")
        )
        console.print(
            f"revision {proxy.revision}  {shares}  requests {record.total}"
            f"  errors {record.errors}{_rollout(proxy)}",
            soft_wrap=True,
            markup=False,
        )


def _table(record: DemoRecord, proxy: Proxy) -> Table:
    table = Table(
        title=f"revision {proxy.revision}", title_justify="left", min_width=60
    )
    table.add_column("arm")
    table.add_column("asked", justify="right")
    table.add_column(f"got (last {len(record.recent)})", justify="right")
    table.add_column("requests", justify="right")
    shares = proxy.config.shares
    for arm, name in ((STABLE, "v1"), ("canary", "v2")):
        share = record.share(name)
        table.add_row(
            f"{arm} ({name})",
            f"{100 * shares.get(arm, 0) / WHOLE:.2f} %",
            f"{100 * share:.2f} %  {'█' * round(20 * share):<20}",
            str(record.responses[name]),
        )
    last = ", ".join(f"{revision}: {ms:.2f} ms" for revision, ms in record.changes[-4:])
    table.caption = Text(
        f"write to live: {last or 'no change yet'}   errors: {record.errors}"
        f"{_rollout(proxy)}"
    )
    table.caption_justify = "left"
    return table


def _rollout(proxy: Proxy) -> str:
    """Say how the rollout stands; nothing if there is none."""
    rollout = proxy.config.rollout
    if rollout is None:
        return ""
    state = rollout.state
    if state is None:
        return f"   rollout {rollout.id}: begins"
    words = f"   rollout {rollout.id}: {state.phase.value}, step {state.step}"
    return f"{words}, {printable(state.reason)}" if state.reason else words


def introduce(console: Console, proxy: Proxy, store_url: str, version_url: str) -> None:
    """Say where everything is, and what can be done."""
    command = _command()
    to = "" if store_url == "http://127.0.0.1:8500" else f" --config-server {store_url}"
    console.print(
        f"The proxy is at {proxy.url}, its status at {proxy.admin_url}/status",
        soft_wrap=True,
    )
    console.print("Paste into a second terminal:\n")
    for change in ("ratio=0.5", "ratio=1", "style=random ratio=0.25"):
        console.print(
            f"  {command} set {SERVICE} {change} --wait 2{to}", soft_wrap=True
        )
    console.print(f"  {command} status {SERVICE}{to}", soft_wrap=True)
    rollout = json.dumps({"id": "v2", "steps": list(STEPS), "judge": JUDGE})
    console.print(
        f"  echo '{rollout}' | {command} rollout start {SERVICE} -{to}",
        soft_wrap=True,
        markup=False,
    )
    console.print(f"  curl -X POST {version_url}/fail    (or /heal)\n", soft_wrap=True)
    if console.is_terminal:
        console.print("Or press r for a rollout, and f to let v2 fail.\n")


def _command() -> str:
    """How this very program is called from another terminal in this directory."""
    script = Path(sys.argv[0])
    if script.name != "canary" or not script.exists():
        return "canary"
    found = shutil.which("canary")
    if found and Path(found).resolve() == script.resolve():
        return "canary"
    return os.path.relpath(script)


def summarize(record: DemoRecord) -> Iterator[str]:
    """Give the lines that are printed at the end."""
    shares = ", ".join(
        f"{name} {count}" for name, count in sorted(record.responses.items())
    )
    yield f"{record.total} requests ({shares or 'none'}), {record.errors} errors"
    if record.changes:
        times = [took_ms for _, took_ms in record.changes]
        yield (
            f"{len(times)} changes, live {statistics.median(times):.2f} ms (median),"
            f" {max(times):.2f} ms (worst) after their write"
        )
