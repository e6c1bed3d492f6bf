"""kv-trio beside etcd and Consul: watches, durable writes, reads, and a start.

All run at once, on one disk, and take turns; medians. The clients are raw sockets (see
`store_peers`), so the times are the servers'. A watch's time is from the start of a PUT
to the end of the response of the last who waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from benchmarks.peers import show_python
from benchmarks.store_clients import Connections, Load, Watchers, drive, until
from benchmarks.store_peers import (
    Peer,
    Server,
    find_peers,
    kv_trio,
    ready,
    responses,
    running,
    settle,
)

_OURS = "kv-trio"
_ALONE = "kv-trio, no others"
_VALUE = b"v" * 100
_MANY = 10_000
_WRITERS, _READERS, _FILLERS = 64, 32, 16
_IN_ONE = 64  # writes of one transaction, the most that Consul takes
_SAME = 1.2  # how much apart two noisy medians of one cost may be


@attrs.frozen
class Run:
    """The options of a run."""

    directory: Path
    peers: tuple[Peer, ...]
    quick: bool

    def choose(self, quick: int, full: int) -> int:
        return quick if self.quick else full


@attrs.frozen
class Row:
    """One line of the table; `value` is what is compared."""

    work: str
    server: str
    value: float
    text: str
    more: bool = False


@attrs.frozen
class Bar:
    """What a figure of kv-trio's is to reach, and what it is meant to reach.

    Attributes:
        bar: that many times the best peer's figure, or an absolute one.
        peer: the one to compare with; the best if empty.
        more: whether more is better.
    """

    work: str
    bar: float
    aim: float
    unit: str
    of_peers: bool = True
    peer: str = ""
    more: bool = False


_BARS = (
    Bar("one watcher", 1.0, 0.5, "ms"),
    Bar("100 watchers", 0.5, 0.5, "ms"),
    Bar("1,000 watchers", 40.0, 20.0, "ms", of_peers=False),
    Bar("10,000 watchers", 400.0, 150.0, "ms", of_peers=False),
    Bar("10,000 watchers: memory", 8.0, 8.0, "KiB each", of_peers=False),
    Bar("10,000 keys", _SAME, _SAME, "ms"),
    Bar("durable writes", 1.0, 2.0, "/s", peer="etcd", more=True),
    Bar("reads", 3.0, 3.0, "/CPU s", peer="etcd", more=True),
    Bar("reads", 3.0, 3.0, "/CPU s", peer="Consul", more=True),
    Bar("start", 2.0, 2.0, "s", of_peers=False),
)


# === the works ===


def one_watcher(run: Run) -> list[Row]:
    return _watch_one_key(run, "one watcher", 1, run.choose(200, 1000))


def hundred_watchers(run: Run) -> list[Row]:
    return _watch_one_key(run, "100 watchers", 100, run.choose(10, 50))


def thousand_watchers(run: Run) -> list[Row]:
    return _watch_one_key(run, "1,000 watchers", 1000, run.choose(5, 30))


def _watch_one_key(run: Run, work: str, count: int, rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {peer.name: [] for peer in run.peers}
    with contextlib.ExitStack() as stack:
        watching: dict[str, Watchers] = {}
        for server in _serve(stack, run, run.peers):
            kept = stack.enter_context(Connections(server, count + 1))
            watching[server.peer.name] = Watchers(kept, ["bench/key"] * count)
        for _ in range(rounds):
            for name in _shuffled(watching):
                times[name].append(watching[name].change(count))
    return [_times_row(work, name, found) for name, found in times.items()]


def many_watchers(run: Run) -> list[Row]:
    """Measure kv-trio alone: the peers are not made for it."""
    work, rounds = "10,000 watchers", run.choose(5, 20)
    with contextlib.ExitStack() as stack:
        (server,) = _serve(stack, run, run.peers[:1])
        bare = server.rss()
        kept = stack.enter_context(Connections(server, _MANY + 1))
        watchers = Watchers(kept, ["bench/key"] * _MANY)
        parked = server.rss()
        times = [watchers.change(_MANY) for _ in range(rounds)]
        first, each = ((rss - bare) / _MANY / 1024 for rss in (parked, server.rss()))
    text = (
        f"{each:.2f} KiB each, {first:.2f} before the first change, {_MANY:,} of them"
    )
    return [
        _times_row(work, _OURS, times),
        Row(f"{work}: memory", _OURS, each, text),
    ]


def many_keys(run: Run) -> list[Row]:
    """Compare one watcher beside 10,000 on other keys with one who is alone."""
    times: dict[str, list[float]] = {_OURS: [], _ALONE: []}
    keys = [f"bench/{n:05}" for n in range(_MANY)]
    with contextlib.ExitStack() as stack:
        watching: dict[str, Watchers] = {}
        peers = (run.peers[0], kv_trio(_ALONE))
        for server in _serve(stack, run, peers):
            _fill(server, keys)
            watched = keys if server.peer.name == _OURS else keys[:1]
            kept = stack.enter_context(Connections(server, len(watched) + 1))
            watching[server.peer.name] = Watchers(kept, watched)
        for _ in range(run.choose(100, 500)):
            for name in _shuffled(watching):
                times[name].append(watching[name].change(1))
    return [_times_row("10,000 keys", name, found) for name, found in times.items()]


def durable_writes(run: Run) -> list[Row]:
    def requests(server: Server) -> Iterator[bytes]:
        put, now = server.peer.dialect.put, time.time_ns()
        numbers = range(_WRITERS * 200)
        return itertools.cycle(
            [put(f"bench/{n % _WRITERS}", b"%050d%050d" % (now, n)) for n in numbers]
        )

    loads = _drive_in_turns(run, _WRITERS, requests)
    rows = []
    for name, found in loads.items():
        rate = statistics.median(load.requests / load.seconds for load in found)
        cost = statistics.median(load.cpu_s / load.requests * 1e3 for load in found)
        text = f"{rate:,.0f}/s, {cost:.3f} CPU s per 1,000"
        rows.append(Row("durable writes", name, rate, text, more=True))
    return rows


def reads(run: Run) -> list[Row]:
    def requests(server: Server) -> Iterator[bytes]:
        responses(server, server.peer.dialect.put("bench/key", _VALUE))
        return itertools.repeat(server.peer.dialect.get("bench/key"))

    loads = _drive_in_turns(run, _READERS, requests)
    rows = []
    for name, found in loads.items():
        rate = statistics.median(load.requests / load.seconds for load in found)
        per_cpu_s = statistics.median(load.requests / load.cpu_s for load in found)
        text = f"{per_cpu_s:,.0f} per CPU s, {rate:,.0f}/s"
        rows.append(Row("reads", name, per_cpu_s, text, more=True))
    return rows


def start(run: Run) -> list[Row]:
    count = run.choose(20_000, 100_000)
    keys = [f"bench/{n:06}" for n in range(count)]
    times: dict[str, list[float]] = {peer.name: [] for peer in run.peers}
    for peer in run.peers:
        with ready(peer, run.directory / peer.name) as server:
            _fill(server, keys)
    for _ in range(3):
        for peer in run.peers:
            begun = time.perf_counter()
            with running(peer, run.directory / peer.name) as server:
                if not responses(server, peer.dialect.get(keys[-1])):
                    sys.exit(f"{peer.name} does not start with {count:,} keys")
                times[peer.name].append(time.perf_counter() - begun)
    rows = []
    for name, found in times.items():
        middle = statistics.median(found)
        text = f"{middle:.2f} s, worst {max(found):.2f}, {count:,} keys"
        rows.append(Row("start", name, middle, text))
    return rows


_WORKS: dict[str, Callable[[Run], list[Row]]] = {
    "one-watcher": one_watcher,
    "100-watchers": hundred_watchers,
    "1000-watchers": thousand_watchers,
    "10000-watchers": many_watchers,
    "10000-keys": many_keys,
    "writes": durable_writes,
    "reads": reads,
    "start": start,
}


# === their parts ===


def _serve(
    stack: contextlib.ExitStack, run: Run, peers: Sequence[Peer]
) -> list[Server]:
    enter = stack.enter_context
    servers = [enter(ready(peer, run.directory / peer.name)) for peer in peers]
    for server in servers:
        settle(server)
    return servers


def _shuffled(names: Collection[str]) -> list[str]:
    """Give an order by chance, so that nobody always follows the same other one."""
    return random.sample([*names], len(names))


def _drive_in_turns(
    run: Run, connections: int, requests: Callable[[Server], Iterator[bytes]]
) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {peer.name: [] for peer in run.peers}
    with contextlib.ExitStack() as stack:
        servers = _serve(stack, run, run.peers)
        for _, server in itertools.product(range(3), servers):
            to_send = requests(server)
            end = time.perf_counter() + run.choose(1, 4)
            load = drive(server, connections, until(end, to_send))
            loads[server.peer.name].append(load)
    return loads


def _fill(server: Server, keys: Sequence[str]) -> None:
    """Write keys, in transactions."""
    put_all = partial(server.peer.dialect.put_all, value=_VALUE)
    parts = (keys[at : at + _IN_ONE] for at in range(0, len(keys), _IN_ONE))
    drive(server, _FILLERS, map(put_all, parts))


def _times_row(work: str, server: str, times: list[float]) -> Row:
    times = sorted(times)
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)] * 1e3
    p50 = statistics.median(times) * 1e3
    text = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {len(times)} changes"
    return Row(work, server, p50, text)


# === what is printed ===


def show(rows: list[Row]) -> None:
    """Print the rows of a work, each with its ratio to the best peer's."""
    for row in rows:
        best = _best_peer(rows, row.work, more=row.more)
        ratio = "" if best is None else f"{row.value / best:6.2f} x best peer"
        print(f"{row.work:<24} {row.server:<19} {row.text:<62} {ratio}".rstrip())
    sys.stdout.flush()


def judge(bar: Bar, rows: list[Row]) -> str:
    """Say whether a bar and an aim are met; empty if that was not measured."""
    ours = [row.value for row in rows if (row.work, row.server) == (bar.work, _OURS)]
    peers = [row for row in rows if bar.peer in ("", row.server)]
    base = _best_peer(peers, bar.work, more=bar.more) if bar.of_peers else 1.0
    if not ours or base is None:
        return ""
    than = f", beside {bar.peer}" if bar.peer else ""
    words = [f"{bar.work}{than}: {ours[0]:,.2f} {bar.unit}"]
    for name, factor in (("bar", bar.bar), ("aim", bar.aim)):
        goal = factor * base
        words.append(f"{name} {goal:,.2f}: {_verdict(ours[0], goal, more=bar.more)}")
    return "; ".join(words)


def _verdict(found: float, goal: float, *, more: bool) -> str:
    met = found >= goal if more else found <= goal
    return "met" if met else f"missed by {abs(found / goal - 1):.1%}"


def _best_peer(rows: list[Row], work: str, *, more: bool) -> float | None:
    peers = [row.value for row in rows if row.work == work and row.server != _OURS]
    return (max if more else min)(peers) if peers else None


# === the machine ===


def disk_of(directory: Path) -> str:
    """Give the file system of a directory, and what a sync costs there.

    Ends the program on one in memory: nothing there is durable.
    """
    words = ["df", "--output=fstype", str(directory)]
    df = subprocess.run(words, capture_output=True, text=True, check=True)
    kind = df.stdout.split()[-1]
    if kind in ("tmpfs", "ramfs"):
        sys.exit(
            f"{directory} is on {kind}, which is not durable; choose another --dir"
        )
    return f"{kind}, one sync of 4 KiB {_sync_ms(directory):.2f} ms"


def _sync_ms(directory: Path) -> float:
    times = []
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def allow_descriptors(needed: int) -> None:
    """Raise the limit on descriptors, for this process and the servers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if 0 <= most < needed:
        sys.exit(f"ulimit -Hn is {most}; {needed} descriptors are needed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--only", action="append", choices=_WORKS, metavar="NAME")
    parser.add_argument("--dir", type=Path, default=Path(), help="on the disk to use")
    options = parser.parse_args()
    allow_descriptors(10_500)
    gc.disable()  # a collection amid a round would count as a server's time
    peers = tuple(find_peers())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix=".store-", dir=options.dir) as name:
        directory = Path(name).resolve()
        show_python()
        print(f"data on {disk_of(directory)}; {os.cpu_count()} processors", flush=True)
        for work in options.only or _WORKS:
            run = Run(directory / work, peers, options.quick)
            found = _WORKS[work](run)
            show(found)
            rows += found
    print("", *filter(None, (judge(bar, rows) for bar in _BARS)), sep="\n")


if __name__ == "__main__":
    main()
