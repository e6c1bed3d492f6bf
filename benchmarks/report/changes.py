"""The sections of changes: how soon they are live, beside what they replace."""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from benchmarks.peers import cpu_s, directory, versions
from benchmarks.propagation import (
    Store,
    changes,
    churned,
    document,
    polled,
    proxy,
    wrk,
)
from benchmarks.report.sections import Section, middle
from benchmarks.store import Run, allow_descriptors
from benchmarks.store_clients import Connections, Watchers
from benchmarks.store_peers import find_peers, ready, settle

_POLLED_S = (1, 30)
_TURNS = 4  # of each store


@attrs.frozen
class Plan:
    """How much of changes is measured."""

    changes: int
    polls: dict[int, int]
    watchers: dict[int, int]
    storms: tuple[int, ...]
    storm_s: int
    storm_rounds: int


QUICK = Plan(
    100,
    {1: 10},
    {1: 40, 10: 20, 100: 10, 1000: 4},
    (0, 50, 200),
    storm_s=2,
    storm_rounds=2,
)
FULL = Plan(
    1000,
    {1: 30, 30: 10},
    {1: 300, 10: 100, 100: 50, 1000: 20, 5000: 5},
    (0, 10, 50, 100, 200),
    storm_s=5,
    storm_rounds=4,
)


def propagation(plan: Plan) -> Iterator[Section]:
    """From a write to the first request that is routed by it."""
    samples: dict[str, list[float]] = {}
    with versions(1) as (one, two):
        text = _texts(one, two)
        with contextlib.ExitStack() as stack:
            begun = []
            for peer in find_peers():
                scheme = "etcd" if peer.name == "etcd" else "http"
                path = stack.enter_context(directory())
                stack.enter_context(ready(peer, path / "store"))
                store = _begun(Store(peer), one, two)
                url = f"{scheme}://127.0.0.1:{peer.port}"
                port, _ = stack.enter_context(proxy(url, path / "state"))
                begun.append((_watched(peer.name), store, port))
            count = 2 * (plan.changes // (2 * _TURNS))  # there and back again
            for turn in range(_TURNS + 1):
                for name, store, port in begun if turn % 2 else reversed(begun):
                    times = changes(store, port, text, count)
                    if turn:  # the first one warms up
                        samples.setdefault(name, []).extend(times.from_start)
        for every_s, count in plan.polls.items():
            samples[f"polling at {every_s} s"] = polled(one, two, every_s, count)
    computed = []
    for every_s in _POLLED_S:
        name = f"polling at {every_s} s"
        if name not in samples:  # uniform between nothing and the whole interval
            samples[name] = [every_s * (n + 0.5) / 200 for n in range(200)]
            computed.append(name)
    yield Section(
        "propagation",
        "From a write to the first request that is routed by it",
        "Each store has a proxy of its own, and they take turns; data in memory, so no disk's"
        " sync is in it. A request is always under way, and each response says its revision."
        " Polling asks a web server for a file. The black line is the median.",
        samples=samples,
        axes=("seconds", "part of the changes"),
        logs=(True, False),
        computed=tuple(computed),
    )


def fan_out(plan: Plan) -> Iterator[Section]:
    """From a write to the last of so many who watch the key."""
    allow_descriptors(max(plan.watchers) + 500)
    curves: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix=".report-", dir=".") as name:
        peers = tuple(find_peers())
        run = Run(Path(name).resolve(), peers, quick=True)
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(ready(peer, run.directory / peer.name))
                for peer in peers
            ]
            for count, rounds in plan.watchers.items():
                times: dict[str, list[float]] = {peer.name: [] for peer in peers}
                with contextlib.ExitStack() as kept:
                    watching = []
                    for server in servers:
                        settle(server)
                        connections = kept.enter_context(Connections(server, count + 1))
                        watchers = Watchers(connections, ["bench/key"] * count)
                        watching.append((server.peer.name, watchers))
                    for _ in range(rounds):
                        for who, watchers in random.sample(watching, len(watching)):
                            times[who].append(watchers.change(count) * 1e3)
                for who, found in times.items():
                    curves.setdefault(who, []).append((float(count), middle(found)))
    yield Section(
        "fan-out",
        "From a write to the last of those who watch it",
        "All stores at once on one disk, all durable, asked in turns; medians.",
        curves=curves,
        axes=("watchers of one key", "ms"),
        logs=(True, True),
    )


def storm(plan: Plan) -> Iterator[Section]:
    """Requests per second while the document changes so often."""
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    peer = find_peers()[0]
    with (
        versions(1) as (one, two),
        directory() as path,
        ready(peer, path / "store"),
    ):
        store = _begun(Store(peer), one, two)
        with proxy(f"http://127.0.0.1:{peer.port}", path / "state") as (port, pid):
            for _ in range(plan.storm_rounds):
                for rate in plan.storms:
                    used = cpu_s(pid)
                    with wrk(port, plan.storm_s) as running:
                        storming = (rate, plan.storm_s)
                        probes, _ = churned(store, port, one, two, *storming)
                        out, _ = running.communicate(timeout=30)
                    found = re.search(r"Requests/sec: +([\d.]+)", out)
                    if found is None or "Non-2xx" in out or "Socket errors" in out:
                        raise SystemExit(f"requests failed at {rate} changes/s:\n{out}")
                    name, did = f"{rate} changes/s", float(found[1])
                    rates.setdefault(name, []).append(did)
                    count = did * plan.storm_s + len(probes)
                    spent = (cpu_s(pid) - used) / count * 1e6
                    costs.setdefault(name, []).append(round(spent, 2))
    yield Section(
        "storm",
        "Through a storm of changes",
        "wrk over 32 connections, and a document that is changed so often, each of which is"
        " checked, built and swapped in. A failed request would have ended the benchmark.",
        columns={"requests/s": rates, "us of CPU per request": costs},
    )


def _begun(store: Store, one: int, two: int) -> Store:
    store.send(document(one, two, 0))
    while store.take() is None:
        pass
    return store


def _texts(one: int, two: int) -> Callable[[int], bytes]:
    def text(ratio: int) -> bytes:
        return document(one, two, ratio)

    return text


def _watched(name: str) -> str:
    return f"{name}, watched"
