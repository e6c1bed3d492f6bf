"""The proxy beside nginx, HAProxy and Caddy, alternating in short rounds, medians.

The proxy under test has processor 0; the load and the upstreams have processor 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import attrs

from benchmarks.measure import (
    Client,
    Load,
    Peer,
    cookie_of,
    fresh_heads,
    idle_memory,
    load,
)
from benchmarks.peers import (
    canary_proxy,
    directory,
    end_on_sigterm,
    need,
    show_python,
    versions,
)
from benchmarks.rivals import caddy, copier, haproxy, make_certificate, nginx_proxy
from benchmarks.tables import Bar, column, show
from http_trio.testing.ports import free_port

USERS = 500
RULES = (  # none of them matches: every request is held against all
    {"header": "X-Canary", "equals": "always", "arm": "canary"},
    {"cookie": "beta", "present": True, "arm": "canary"},
    {"path_prefix": "/beta/", "arm": "canary"},
    {"host": "beta.example.test", "arm": "canary"},
    {"query": "preview", "equals": "1", "arm": "canary"},
)


@attrs.frozen
class Plan:
    """How much is measured."""

    rounds: int
    seconds: int
    large_rounds: int
    latency_blocks: int
    idle: int
    tls: tuple[int, ...]


QUICK = Plan(2, 1, large_rounds=1, latency_blocks=10, idle=1000, tls=(32,))
FULL = Plan(5, 2, large_rounds=5, latency_blocks=60, idle=5000, tls=(32, 256))

_ALL = "canary, all features"
_NEW = "canary, new heads"


class Bench:
    """The peers that run, and the bars that were measured."""

    def __init__(self, stack: ExitStack, plan: Plan) -> None:
        self._stack = stack
        self._plan = plan
        self._one, self._two = stack.enter_context(versions(1))
        self.bars: list[Bar] = []

    # === peers ===

    def _rival(self, name: str) -> Peer:
        arms = (0, self._one, self._two)
        match name:
            case "nginx":
                running = nginx_proxy(*arms)
            case "nginx, 256 KiB buffers":
                more = (
                    "proxy_buffers 8 256k; proxy_buffer_size 256k;"
                    " proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;"
                )
                running = nginx_proxy(*arms, more=more)
            case "haproxy":
                running = haproxy(*arms)
            case "caddy":
                running = caddy(*arms)
            case _:
                running = copier(0, self._one)
        return Peer(name, *self._stack.enter_context(running))

    def _canary(
        self,
        name: str,
        *,
        cookie: str = "",
        fresh: bool = False,
        options: tuple[str, ...] = (),
        **document: object,
    ) -> Peer:
        running = canary_proxy(
            0, self._one, self._two, options=options, checkout=None, **document
        )
        port, _, pid = self._stack.enter_context(running)
        peer = Peer(name, port, pid)
        if fresh:
            users = [cookie_of(peer, cookie) for _ in range(USERS)] if cookie else []
            path = self._stack.enter_context(directory()) / "heads.lua"
            return attrs.evolve(peer, script=fresh_heads(path, users))
        return attrs.evolve(peer, cookie=cookie_of(peer, cookie)) if cookie else peer

    # === tables ===

    def small(self) -> None:
        """Small responses: processor time per request, and requests per second."""
        peers = [self._rival(name) for name in ("nginx", "haproxy", "caddy", "copier")]
        peers += [
            self._canary("canary"),
            self._canary("canary, new users", sticky_sessions=True),
            self._canary(
                "canary, returning",
                cookie="canary",
                sticky_sessions={"cookie": "canary"},
            ),
            self._canary(_NEW, fresh=True),
            *(
                self._canary(
                    name,
                    cookie="canary",
                    fresh=fresh,
                    options=("--access-log", "{dir}/access.log"),
                    sticky_sessions={"cookie": "canary"},
                    rules=RULES,
                )
                for name, fresh in ((_ALL, False), (f"{_ALL}, new heads", True))
            ),
        ]
        for connections in (32, 256):
            loads = self._take_turns(peers, connections, "/", self._plan.rounds)
            print(f"\nSmall responses, {connections} connections")
            cpu = column(loads, "cpu_us")
            rate = column(loads, "rate")
            show(
                peers,
                {"us CPU/request": cpu, "requests/s": rate},
                busy=column(loads, "busy"),
            )
            at = f"{connections} connections"
            self._bar(f"CPU per request, {at}", cpu, "nginx", 1.75, 1.25)
            self._bar(f"CPU per request, {at}", cpu, "caddy", 0.5)
            self._bar(f"requests/s, {at}", rate, "nginx", 0.6, 0.9, more=True)
            self._bar(f"requests/s, {at}", rate, "caddy", 2.0, more=True)
            for ours, bar, aim in (
                (_NEW, 1.7, 1.4),
                (_ALL, 2.5, 1.75),
                (f"{_ALL}, new heads", 2.2, 1.8),
            ):
                what = ours.removeprefix("canary, ")
                self._bar(f"CPU, {what}, {at}", cpu, "nginx", bar, aim, ours=ours)

    def large(self) -> None:
        """Large responses, 8 connections: bytes per second."""
        names = ("nginx", "nginx, 256 KiB buffers", "haproxy", "caddy", "copier")
        peers = [*map(self._rival, names), self._canary("canary")]
        for size in ("1MiB", "10MiB"):
            rounds = self._plan.large_rounds
            loads = self._take_turns(peers, 8, f"/large/{size}", rounds)
            print(f"\nAnswers of {size}, 8 connections")
            rate = {
                name: value / 2**20
                for name, value in column(loads, "bytes_rate").items()
            }
            cpu = {
                name: column(loads, "cpu_us")[name] / float(size.removesuffix("MiB"))
                for name in rate
            }
            busy = column(loads, "busy")
            show(peers, {"us CPU/MiB": cpu, "MiB/s": rate}, busy=busy)
            self._bar(f"throughput, {size}", rate, "nginx", 1.0, 1.3, more=True)

    def latency(self) -> None:
        """What each proxy adds to a request over one connection."""
        names = ("nginx", "haproxy", "caddy", "copier")
        peers = [*map(self._rival, names), self._canary("canary")]
        direct = Peer("direct", self._one, 0)
        clients = {
            peer.name: Client(peer.port, peer.request) for peer in (direct, *peers)
        }
        times: dict[str, list[float]] = {name: [] for name in clients}
        for client in clients.values():
            client.times(200)
        for _ in range(self._plan.latency_blocks):
            for name, client in clients.items():
                times[name] += client.times(100)
        print("\nAdded latency, one connection (direct: the whole round trip)")
        columns = {}
        for label, share in (("p50, us", 0.5), ("p99, us", 0.99)):
            found = {name: _quantile(row, share) * 1e6 for name, row in times.items()}
            base = found.pop("direct")
            print(f"  direct, {label}: {base:.0f}")
            columns[label] = {name: value - base for name, value in found.items()}
            self._bar(f"added latency, {label[:3]}", columns[label], "nginx", 2.0, 1.2)
            self._bar(f"added latency, {label[:3]}", columns[label], "caddy", 1.0)
        show(peers, columns)

    def tls(self) -> None:
        """Small responses over TLS."""
        path = self._stack.enter_context(directory())
        certificate = make_certificate(path)
        arms = (0, self._one, self._two)
        at, pid = self._stack.enter_context(nginx_proxy(*arms, certificate=certificate))
        secure = free_port()
        options = ("--tls-bind", f"127.0.0.1:{secure}", "--tls-cert", str(certificate))
        ours = self._canary("canary", options=options)
        peers = [
            Peer("nginx", at, pid, "https"),
            attrs.evolve(ours, port=secure, scheme="https"),
        ]
        for connections in self._plan.tls:
            loads = self._take_turns(peers, connections, "/", self._plan.rounds)
            print(f"\nSmall responses over TLS 1.3, {connections} connections")
            cpu, rate = column(loads, "cpu_us"), column(loads, "rate")
            busy = column(loads, "busy")
            show(peers, {"us CPU/request": cpu, "requests/s": rate}, busy)

    def memory(self) -> None:
        """Memory of an idle kept connection."""
        names = ("nginx", "haproxy", "caddy", "copier")
        peers = [*map(self._rival, names), self._canary("canary")]
        count = self._plan.idle
        found = {peer.name: idle_memory(peer, count) / 1024 for peer in peers}
        print(f"\nMemory of {count} idle kept connections")
        show(peers, {"KiB each": found})
        self.bars.append(
            Bar("memory per idle connection", found["canary"], 12, 4, unit="KiB")
        )

    # === how ===

    def _take_turns(
        self, peers: Sequence[Peer], connections: int, path: str, rounds: int
    ) -> dict[str, list[Load]]:
        found: dict[str, list[Load]] = {peer.name: [] for peer in peers}
        for _ in range(rounds):
            for peer in peers:
                one = load(peer, connections, self._plan.seconds, path)
                found[peer.name].append(one)
        return found

    def _bar(
        self,
        what: str,
        found: Mapping[str, float],
        rival: str,
        bar: float,
        aim: float | None = None,
        *,
        more: bool = False,
        ours: str = "canary",
    ) -> None:
        ratio = found[ours] / found[rival]
        unit = f"x {rival}"
        self.bars.append(Bar(what, ratio, bar, aim, unit, more_is_better=more))


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


TABLES: dict[str, Callable[[Bench], None]] = {
    "small": Bench.small,
    "large": Bench.large,
    "latency": Bench.latency,
    "memory": Bench.memory,
    "tls": Bench.tls,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--only", choices=TABLES, help="one table")
    options = parser.parse_args()
    need("nginx", "haproxy", "caddy", "wrk", "openssl", "taskset", "pgrep")
    end_on_sigterm()
    os.sched_setaffinity(0, {1})
    show_python()
    plan = QUICK if options.quick else FULL
    bars: list[Bar] = []
    for name, table in TABLES.items():
        if options.only in (None, name):
            with ExitStack() as stack:
                bench = Bench(stack, plan)
                table(bench)
                bars += bench.bars
    print("\nThe bars" if bars else "")
    for bar in bars:
        print(bar)


if __name__ == "__main__":
    main()
