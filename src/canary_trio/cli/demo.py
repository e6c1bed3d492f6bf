"""The demonstration: the main job in one process, with traffic of its own.

Two example versions, a store, a proxy and a trickle of requests run in one nursery.
What is shown is measured here: the share is counted from the answers, and the time of
a change runs from its arrival at the store to the step in which the proxy routes by it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table

import http_trio
import kv_trio
from canary_trio.config.model import STABLE, WHOLE
from canary_trio.control.store_keys import config_key
from canary_trio.serve import Proxy, ProxyOptions, serve
from http_trio import Answer, Exchange

SERVICE = "demo"
_REQUESTS_PER_S = 100
_WINDOW = 500  # requests over which the present share is counted
_FRAME_S = 0.25
_PLAIN_S = 1.0


@attrs.define(eq=False)
class Seen:
    """What the demonstration has seen.

    Attributes:
        changes: (revision, milliseconds) of each change.
        recent: the versions that answered last.
    """

    total: int = 0
    errors: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)
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

    def share(self, version: str) -> float:
        """Give the share of the recent answers that a version gave."""
        return self.recent.count(version) / len(self.recent) if self.recent else 0.0


@attrs.frozen
class _Places:
    """Where the parts listen, and where the store keeps its data."""

    bind: str
    admin: str
    store: str
    data: Path


def run(
    *, for_s: float | None, bind: str, admin: str, store: str, data: Path | None
) -> str:
    """Run until Ctrl-C or for a time; give why it could not, empty if it could."""
    console = Console(highlight=False)
    seen = Seen()
    failure = ""
    with _directory(data) as directory:
        places = _Places(bind, admin, store, directory)
        try:
            trio.run(_run, console, seen, for_s, places)
        except* (http_trio.BadBind, kv_trio.KvError) as group:
            failure = "; ".join(map(str, _leaves(group)))
    if not failure:
        for line in _summary(seen):
            console.print(line)
    return failure


def version(name: str) -> http_trio.Handler:
    """Give the handler of an example version: it says its name."""
    answer = Answer(200, name.encode() + b"\n")

    def handler(exchange: Exchange) -> None:
        exchange.respond(answer)

    return handler


async def _run(
    console: Console, seen: Seen, for_s: float | None, places: _Places
) -> None:
    ends = (signal.SIGINT, signal.SIGTERM)
    with (
        trio.move_on_after(for_s or math.inf),
        trio.open_signal_receiver(*ends) as signals,
    ):
        async with trio.open_nursery() as nursery:
            servers = [
                await nursery.start(http_trio.serve, version(name), ["127.0.0.1:0"])
                for name in ("v1", "v2")
            ]
            kv = await nursery.start(
                partial(
                    kv_trio.serve,
                    [places.store],
                    data=places.data,
                    observe=seen.written,
                )
            )
            document = _document(*(server.url for server in servers))
            options = ProxyOptions(
                config_server=kv.url,
                binds=[places.bind],
                admin=places.admin,
                bootstrap=document,
                remember=False,
            )
            start = partial(serve, SERVICE, options, on_live=seen.live)
            proxy = await nursery.start(start)
            seen.changes.clear()  # the first document is no change
            _introduce(console, proxy, kv.url)
            nursery.start_soon(_trickle, proxy.addresses[0], seen)
            nursery.start_soon(_show, console, seen, proxy)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def _trickle(address: str, seen: Seen) -> None:
    """Send requests over one kept connection, steadily, and count who answers."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            async with await trio.open_tcp_stream(
                host.strip("[]"), int(port)
            ) as stream:
                while True:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
                    answer = await stream.receive_some()
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        break
                    name = answer.rpartition(b"\r\n\r\n")[2].strip().decode()
                    seen.total += 1
                    seen.answers[name] += 1
                    seen.recent.append(name)
                    await trio.sleep(1 / _REQUESTS_PER_S)
        except (OSError, trio.BrokenResourceError):
            pass
        seen.errors += 1
        await trio.sleep(_FRAME_S)


async def _show(console: Console, seen: Seen, proxy: Proxy) -> None:
    if not console.is_terminal:
        await _show_plain(console, seen, proxy)
        return
    with Live(_table(seen, proxy), console=console, auto_refresh=False) as live:
        while True:
            await trio.sleep(_FRAME_S)
            live.update(_table(seen, proxy), refresh=True)


async def _show_plain(console: Console, seen: Seen, proxy: Proxy) -> None:
    told = 0
    while True:
        await trio.sleep(_PLAIN_S)
        for revision, took_ms in seen.changes[told:]:
            console.print(f"revision {revision} live {took_ms:.2f} ms after its write")
        told = len(seen.changes)
        shares = "  ".join(
            f"{name} {100 * seen.share(name):.1f} %" for name in ("v1", "v2")
        )
        console.print(
            f"revision {proxy.revision}  {shares}  requests {seen.total}"
            f"  errors {seen.errors}"
        )


def _table(seen: Seen, proxy: Proxy) -> Table:
    table = Table(
        title=f"revision {proxy.revision}", title_justify="left", min_width=60
    )
    table.add_column("arm")
    table.add_column("asked", justify="right")
    table.add_column(f"got (last {len(seen.recent)})", justify="right")
    table.add_column("requests", justify="right")
    asked = proxy.config.shares
    for arm, name in ((STABLE, "v1"), ("canary", "v2")):
        share = seen.share(name)
        table.add_row(
            f"{arm} ({name})",
            f"{100 * asked.get(arm, 0) / WHOLE:.2f} %",
            f"{100 * share:.2f} %  {'█' * round(20 * share):<20}",
            str(seen.answers[name]),
        )
    last = ", ".join(f"{revision}: {ms:.2f} ms" for revision, ms in seen.changes[-4:])
    table.caption = f"write to live: {last or 'no change yet'}   errors: {seen.errors}"
    table.caption_justify = "left"
    return table


def _introduce(console: Console, proxy: Proxy, store_url: str) -> None:
    command = _command()
    to = "" if store_url == "http://127.0.0.1:8500" else f" --config-server {store_url}"
    console.print(
        f"The proxy is at {proxy.url}, its status at {proxy.admin_url}/status"
    )
    console.print("Paste into a second terminal:\n")
    for change in ("ratio=0.5", "ratio=1", "style=random ratio=0.25"):
        console.print(
            f"  {command} set {SERVICE} {change} --wait 2{to}", soft_wrap=True
        )
    console.print(f"  {command} status {SERVICE}{to}\n", soft_wrap=True)


def _command() -> str:
    """How this very program is called from another terminal in this directory."""
    script = Path(sys.argv[0])
    if script.name != "canary" or not script.exists():
        return "canary"
    found = shutil.which("canary")
    if found and Path(found).resolve() == script.resolve():
        return "canary"
    return os.path.relpath(script)


def _summary(seen: Seen) -> Iterator[str]:
    shares = ", ".join(
        f"{name} {count}" for name, count in sorted(seen.answers.items())
    )
    yield f"{seen.total} requests ({shares or 'none'}), {seen.errors} errors"
    if seen.changes:
        times = [took_ms for _, took_ms in seen.changes]
        yield (
            f"{len(times)} changes, live {statistics.median(times):.2f} ms (median),"
            f" {max(times):.2f} ms (worst) after their write"
        )


def _document(stable: str, canary: str) -> bytes:
    document = {
        "style": "round_robin",
        "ratio": 0.1,
        "arms": {"stable": {"servers": [stable]}, "canary": {"servers": [canary]}},
    }
    return json.dumps(document, indent=2).encode()


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
    else:
        with tempfile.TemporaryDirectory(prefix="canary-demo-") as made:
            yield Path(made)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
