"""How each cost grows with its work: sweeps, each with the exponent of its fit.

    python -m benchmarks.scaling                     # all of it, some ten minutes
    python -m benchmarks.scaling --quick             # some three
    python -m benchmarks.scaling --only proxies      # one sweep

A sweep measures one cost at several sizes. A cost that is a power of the size is a straight line
where both are logarithms, so a line is fitted there by least squares: its slope is the exponent,
given with its standard error. Costs have a part that does not grow, which hides the rest while
sizes are small: `last` is the slope between the two largest sizes alone. 0 is a cost that
does not grow, 1 one that grows as its work does.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import trio

from benchmarks import fleet_simulated, routing, swap
from benchmarks.measure import Client, Peer, load, upload
from benchmarks.peers import (
    canary_proxy,
    directory,
    end_on_sigterm,
    memory,
    need,
    show_python,
    versions,
)
from benchmarks.store import allow_descriptors
from benchmarks.store_clients import Connections, Watchers, drive
from benchmarks.store_peers import kv_trio, ready, settle
from canary_trio.config.model import Balance
from canary_trio.routing.edge.table_codec import SERVICES

Points = Sequence[tuple[float, float]]

_SIZES = {"0B": 0, "1KiB": 1, "10KiB": 10, "100KiB": 100, "1MiB": 1024, "10MiB": 10240}
_GATEWAY_S = 600.0
"""How long one gateway may take, its changes included."""

_GATEWAY = re.compile(
    r"services live in ([\d.]+) s, ([\d.]+) KiB each.*effect: p50 ([\d.]+)", re.DOTALL
)


@attrs.frozen
class Plan:
    """How much is measured, and on which disk stores have their data."""

    quick: bool
    directory: Path


@attrs.frozen
class Fit:
    """A power of the size that a cost is near.

    Attributes:
        exponent: of the size.
        error: its standard error; infinite where two points fix the line.
        last: the exponent between the two largest sizes.
    """

    exponent: float
    error: float
    last: float

    @classmethod
    def of(cls, points: Points) -> Fit:
        """Fit a line to the logarithms; sizes and costs of 0 have none, and are left out."""
        logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
        if len(logs) < 2:
            raise ValueError(f"found {len(logs)} points, expected two at least")
        xs, ys = zip(*logs, strict=True)
        middle_x, middle_y = statistics.fmean(xs), statistics.fmean(ys)
        width = sum((x - middle_x) ** 2 for x in xs)
        slope = sum((x - middle_x) * (y - middle_y) for x, y in logs) / width
        left = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in logs)
        free = len(logs) - 2
        error = math.sqrt(left / free / width) if free else math.inf
        last = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
        return cls(slope, error, last)

    def __str__(self) -> str:
        return f"exponent {self.exponent:.2f} +- {self.error:.2f}, last {self.last:.2f}"


@attrs.frozen
class Sweep:
    """One cost at several sizes."""

    work: str
    what: str
    points: Points

    @property
    def fit(self) -> Fit:
        return Fit.of(self.points)

    def __str__(self) -> str:
        row = "  ".join(f"{size:,.0f}: {cost:,.4g}" for size, cost in self.points)
        return f"  {self.what:<46} {self.fit}\n      {row}"


# === the proxy ===


def connections(plan: Plan) -> Iterator[Sweep]:
    """Connections: so many busy ones of wrk, and 32 busy ones beside so many that are kept.

    Of busy ones no more than a server's `upstream_connections` lets through.
    """
    busy_counts, kept_counts = (1, 10, 100, 1000), (1, 10, 100, 1000, 5000)
    allow_descriptors(11_000)
    seconds = 1 if plan.quick else 2
    busy: dict[int, list[float]] = {count: [] for count in busy_counts}
    beside: dict[int, list[float]] = {}
    sizes: list[float] = []
    with versions(1) as (one, two), canary_proxy(0, one, two) as (port, _, pid):
        peer = Peer("canary", port, pid)
        load(peer, 32, 2)
        for _ in range(3 if plan.quick else 7):
            for count in busy_counts:
                busy[count].append(load(peer, count, seconds).cpu_us)
        kept: list[Client] = []
        for count in kept_counts:
            while len(kept) < count:
                kept.append(Client(peer.port, peer.request))
                kept[-1].request()
            sizes.append(memory(pid) / 2**20)
            rounds = range(3 if plan.quick else 7)
            beside[count] = [load(peer, 32, seconds).cpu_us for _ in rounds]
        for client in kept:
            client.close()
    yield _swept("connections", "us of CPU per request, all busy", busy)
    yield _swept("connections", "us of CPU per request, 32 beside those kept", beside)
    yield Sweep("connections", "MiB resident, all kept", _points(kept_counts, sizes))


def bodies(plan: Plan) -> Iterator[Sweep]:
    """Bodies of responses and of requests, 8 connections."""
    seconds = 1 if plan.quick else 2
    down: dict[int, list[float]] = {size: [] for size in _SIZES.values()}
    up: dict[int, list[float]] = {size: [] for size in _SIZES.values()}
    with (
        versions(1) as (one, two),
        canary_proxy(0, one, two) as (port, _, pid),
        directory() as path,
    ):
        peer = Peer("canary", port, pid)
        for _ in range(2 if plan.quick else 5):
            for name, kib in _SIZES.items():
                done = load(peer, 8, seconds, f"/large/{name}")
                down[kib].append(done.cpu_us)
                script = upload(path / name, kib << 10)
                sends = attrs.evolve(peer, script=script)
                up[kib].append(load(sends, 8, seconds, "/upload").cpu_us)
    yield _swept("bodies", "us of CPU per response, by KiB", down)
    yield _swept("bodies", "us of CPU per upload, by KiB", up)


def servers(plan: Plan) -> Iterator[Sweep]:
    """Servers of a document."""
    counts = (10, 100, 1000) if plan.quick else (10, 30, 100, 300, 1000, 3000)
    found = [trio.run(swap.changes, n, Balance.ROUND_ROBIN)[0] for n in counts]
    totals = [cost.total for cost in found]
    stops = [cost.stop for cost in found]
    yield Sweep("servers", "ms of CPU per change", _points(counts, totals))
    yield Sweep("servers", "ms of it at one go", _points(counts, stops))
    picks = [_pick_us(n) for n in counts]
    yield Sweep("servers", "us of CPU per choice of a server", _points(counts, picks))


def rules(plan: Plan) -> Iterator[Sweep]:
    """Rules of a document, none of which matches."""
    counts = (10, 100, 1000) if plan.quick else (10, 30, 100, 300, 1000)
    for kind in ("header equals", "path prefix", "network", "header regex"):
        make = routing.KINDS[kind]
        tables = [[{**make(n), "arm": "canary"} for n in range(c)] for c in counts]
        costs = [
            routing.cost_us(routing.routes_of(rules=table), [routing.SHOWS])
            for table in tables
        ]
        yield Sweep("rules", f"us per decision, {kind}", _points(counts, costs))
        documents = [{"arms": routing.ARMS, "rules": table} for table in tables]
        sums = [sum(routing.times_ms(document)) for document in documents]
        yield Sweep("rules", f"ms to read and compile, {kind}", _points(counts, sums))


def services(plan: Plan) -> Iterator[Sweep]:
    """Services of one gateway."""
    counts = (10, 100, 1000) if plan.quick else (10, 30, 100, 300, 1000, 3000)
    make = routing.ROUTE_KINDS["a host each"]
    costs = [routing.index_us(*routing.of_routes(make, count)) for count in counts]
    yield Sweep("services", "us to find a request's route", _points(counts, costs))
    live = [min(count, SERVICES) for count in counts]  # of routes there may be more
    rows = [_gateway(count) for count in live]
    for at, what in enumerate(
        ("s until all are live", "KiB resident for all", "ms from write to effect")
    ):
        yield Sweep("services", what, _points(live, [row[at] for row in rows]))


# === the store ===


def watchers(plan: Plan) -> Iterator[Sweep]:
    """Watchers of one key."""
    counts = (1, 10, 100, 1000, 5000, 10_000)
    allow_descriptors(10_500)
    times: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    with _directory(plan) as path:
        for count in counts:
            with ready(kv_trio(), path / str(count)) as server:
                settle(server)
                with Connections(server, count + 1) as kept:
                    watching = Watchers(kept, ["bench/key"] * count)
                    rounds = max(5, (200 if plan.quick else 1000) // count)
                    for _ in range(rounds):
                        used = server.cpu_s()
                        took = watching.change(count)
                        settle(server)
                        spent = server.cpu_s() - used
                        times.setdefault(count, []).append(took * 1e3)
                        costs.setdefault(count, []).append(spent * 1e3)
    yield _swept("watchers", "ms until the last has it", times)
    yield _swept("watchers", "ms of CPU per change, asking anew included", costs)


def proxies(plan: Plan) -> Iterator[Sweep]:
    """Simulated proxies: parked polls, reports, sessions, no data plane."""
    counts = (10, 100, 1000, 2000)
    allow_descriptors(fleet_simulated.EACH * max(counts) + 500)
    with _directory(plan) as path:
        found = []
        for count in counts:
            changes, idle_s = (20, 4.0) if plan.quick else (100, 10.0)
            where = path / str(count)
            found.append(fleet_simulated.simulate(where, count, changes, idle_s))
            print(fleet_simulated.told(found[-1]), flush=True)
    for what, rows in (
        ("ms until all have a change", [cost.heard_ms for cost in found]),
        ("ms until all have said so", [cost.said_ms for cost in found]),
        ("ms of the store's CPU per change", [cost.cpu_ms for cost in found]),
        ("part of a core that is used at rest", [[cost.idle] for cost in found]),
    ):
        middles = [statistics.median(row) for row in rows]
        yield Sweep("proxies", what, _points(counts, middles))
    kib = [cost.kib_each * cost.proxies for cost in found]
    yield Sweep("proxies", "KiB resident for all", _points(counts, kib))


def history(plan: Plan) -> Iterator[Sweep]:
    """States of a key that the store keeps."""
    depths = (10, 100, 1000, 10_000)
    peer = kv_trio()
    peer = attrs.evolve(peer, command=(*peer.command, "--history-count", "100000"))
    put = peer.dialect.put
    count = 500 if plan.quick else 2000
    show = b"GET /v1/kv/bench/key?history&limit=20 HTTP/1.1\r\nHost: kv\r\n\r\n"
    writes: list[float] = []
    reads: list[float] = []
    with _directory(plan) as path, ready(peer, path / "store") as server:
        written = 0
        for depth in depths:
            values = (b"%0100d" % n for n in range(written, depth))
            drive(server, 1, (put("bench/key", value) for value in values))
            settle(server)
            at = range(depth, depth + count)
            done = drive(server, 1, (put("bench/key", b"%0100d" % n) for n in at))
            written = depth + count
            writes.append(done.cpu_s / done.requests * 1e6)
            done = drive(server, 1, iter([show] * count))
            reads.append(done.cpu_s / done.requests * 1e6)
    yield Sweep("history", "us of CPU per write", _points(depths, writes))
    yield Sweep("history", "us of CPU to read the last 20", _points(depths, reads))


SWEEPS: dict[str, Callable[[Plan], Iterator[Sweep]]] = {
    "connections": connections,
    "bodies": bodies,
    "servers": servers,
    "rules": rules,
    "services": services,
    "watchers": watchers,
    "proxies": proxies,
    "history": history,
}


# === their parts ===


def _points(sizes: Sequence[float], costs: Sequence[float]) -> Points:
    return list(zip(sizes, costs, strict=True))


def _swept(work: str, what: str, rounds: dict[int, list[float]]) -> Sweep:
    points = [(size, statistics.median(found)) for size, found in rounds.items()]
    return Sweep(work, what, points)


def _pick_us(count: int) -> float:
    async def pick() -> float:
        return await swap.pick_us(count, Balance.ROUND_ROBIN, keyed=False)

    return trio.run(pick)


def _gateway(count: int) -> tuple[float, float, float]:
    """Run a gateway of so many services: seconds, KiB for all, ms."""
    words = [sys.executable, "-m", "benchmarks.gateway", str(count)]
    ran = subprocess.run(
        words, capture_output=True, check=False, text=True, timeout=_GATEWAY_S
    )
    out = ran.stdout + ran.stderr
    found = _GATEWAY.search(out)
    if found is None:
        raise SystemExit(f"the gateway of {count} services said:\n{out}")
    return float(found[1]), float(found[2]) * count, float(found[3])


@contextlib.contextmanager
def _directory(plan: Plan) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".scaling-", dir=plan.directory) as name:
        yield Path(name).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="some three minutes")
    parser.add_argument("--only", action="append", choices=SWEEPS, metavar="SWEEP")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all points")
    parser.add_argument("--dir", type=Path, default=Path(), help="for the stores' data")
    options = parser.parse_args()
    plan = Plan(options.quick, options.dir)
    need("nginx", "wrk", "taskset", "pgrep")
    end_on_sigterm()
    show_python()
    gc.disable()
    found: list[Sweep] = []
    for name in options.only or SWEEPS:
        busy = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"\n{name}, load average {busy}", flush=True)
        for sweep in SWEEPS[name](plan):
            print(sweep, flush=True)
            found.append(sweep)
    if options.json:
        rows = [{**attrs.asdict(one), "fit": attrs.asdict(one.fit)} for one in found]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
