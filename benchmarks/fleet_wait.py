"""`--wait` with a fleet: from the write until all of so many proxies route by it.

Each proxy is a process. Also how often the one who waits reads the store for that: each
read is of all reports at once, so one read would be all, if they came together.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import trio

from benchmarks.peers import command_of, directory, process
from benchmarks.store_peers import kv_trio, ready
from benchmarks.tables import Bar
from canary_trio.control.changes.documents import change
from canary_trio.control.fleet.applied import wait_applied
from canary_trio.control.sources.kv import KvSource
from http_trio.testing.ports import free_port
from kv_trio import Listing

BARS_MS = {20: 50.0}
START_S = 600
"""All proxies start at once; fifty take 40 s of two processors that have nothing else to do."""


class Counted(KvSource):
    """A store of which it is counted how often all of a fleet is read."""

    reads = 0

    async def list(self, prefix: str, **how: Any) -> Listing:
        self.reads += 1
        return await super().list(prefix, **how)


def wait(one: int, two: int, fleets: list[int], count: int) -> None:
    from benchmarks.propagation import KEY, document, show  # noqa: PLC0415  # a circle

    bars: list[Bar] = []
    print(f"write to --wait, ms{'p50':>39}{'p99':>11}{'worst':>11}")
    for size in fleets:
        peer = kv_trio()
        with directory() as path, ready(peer, path / "store"):
            url = f"http://127.0.0.1:{peer.port}"
            with contextlib.ExitStack() as stack:
                start = document(one, two, 0)
                trio.run(put, url, KEY, start)
                for number in range(size):
                    stack.enter_context(member(url, path / str(number), number))
                times, reads = trio.run(measure, url, size, count)
            p99 = show(f"{size} proxies, {count} changes", times)
            print(f"  {reads:.2f} reads of the store for each change by who waits")
            if size in BARS_MS:
                bars.append(Bar(f"p99, {size} proxies", p99, BARS_MS[size], unit="ms"))
    print(*bars, sep="\n")


def member(
    url: str, path: Path, number: int
) -> contextlib.AbstractContextManager[object]:
    bind = ("--bind", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}")
    words = (*bind, "--config-server", url, "--data", str(path), "--id", f"p{number}")
    return process(number % 2, *command_of("canary"), "serve", "web", *words)


async def put(url: str, key: str, value: bytes) -> None:
    async with KvSource(url) as client:
        await client.put(key, value)


async def measure(url: str, size: int, count: int) -> tuple[list[float], float]:
    times = []
    async with KvSource(url) as writer, Counted(url) as client:
        for n in range(-3, count):
            ratio = (n % 2 + 1) / 4
            revision = await change(writer, "web", f"ratio={ratio}")
            begun = time.perf_counter()
            if n == 0:
                client.reads = 0
            with trio.fail_after(120 if n > -3 else START_S):
                fleet = await wait_applied(client, "web", revision, expect=size)
            if n >= 0:
                times.append(time.perf_counter() - begun)
            if len(fleet.live) != size or fleet.revision != revision:
                raise SystemExit(f"{len(fleet.live)} of {size} at {revision}")
    return times, client.reads / count
