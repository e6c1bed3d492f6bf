"""HTTP/2 over TLS beside nginx, HAProxy and Caddy, alternating in short rounds, medians.

The proxy under test has processor 0; the load and the upstreams have processor 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing

import attrs

from benchmarks.measure import Load, Peer
from benchmarks.peers import (
    canary_proxy,
    cpu_s,
    directory,
    end_on_sigterm,
    memory,
    need,
    show_python,
    versions,
)
from benchmarks.rivals import caddy, haproxy, make_certificate, nginx_proxy
from benchmarks.secure_load import Clients, new_heads, same_heads
from benchmarks.tables import Bar, column, show
from http_trio.testing.ports import free_port

_BUFFERS = (
    "proxy_buffers 8 256k; proxy_buffer_size 256k;"
    " proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;"
)
_LARGE = (8, 4)
_HTTP1 = "canary, HTTP/1.1"


@attrs.frozen
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float
    idle: int
    repeats: int


QUICK = Plan(2, 1.0, idle=500, repeats=1)
FULL = Plan(5, 2.0, idle=2000, repeats=3)


class Bench:
    """The proxies that run, and the bars that were measured."""

    def __init__(self, stack: ExitStack, plan: Plan) -> None:
        self._plan = plan
        self.bars: list[Bar] = []
        path = stack.enter_context(directory())
        certificate = make_certificate(path)
        one, two = stack.enter_context(versions(1))
        arms = (0, one, two)

        def running(name: str, at: tuple[int, int]) -> Peer:
            return Peer(name, *at, "https")

        enter = stack.enter_context
        self._rivals = [
            running("nginx", enter(nginx_proxy(*arms, certificate=certificate))),
            running("haproxy", enter(haproxy(*arms, certificate=certificate))),
            running("caddy", enter(caddy(*arms, certificate=certificate))),
        ]
        buffered = nginx_proxy(*arms, certificate=certificate, more=_BUFFERS)
        self._buffered = running("nginx, 256 KiB buffers", enter(buffered))
        secure = free_port()
        options = ("--tls-bind", f"127.0.0.1:{secure}", "--tls-cert", str(certificate))
        _, _, pid = enter(canary_proxy(*arms, options=options))
        self._canary = running("canary", (secure, pid))

    # === tables ===

    def small(self) -> None:
        """Small responses: processor time per request, and requests per second."""
        peers = [*self._rivals, self._canary]
        rows = [*peers, attrs.evolve(self._canary, name=_HTTP1)]
        for kind in ("new", "the same"):
            for connections, streams in ((32, 1), (16, 10)):
                found: dict[str, list[Load]] = {row.name: [] for row in rows}
                for _ in range(self._plan.rounds):
                    for peer in peers:
                        one = self._small(peer, connections, streams, kind)
                        found[peer.name].append(one)
                    found[_HTTP1].append(self._small(self._canary, 32, 0, kind))
                at = f"{connections} x {streams}"
                print(f"\nSmall responses, {at} streams, heads {kind} (HTTP/1.1: 32)")
                cpu, rate = column(found, "cpu_us"), column(found, "rate")
                busy = column(found, "busy")
                show(rows, {"us CPU/request": cpu, "requests/s": rate}, busy)
                if kind == "new":
                    self._judge(at, cpu, rate)

    def _judge(
        self, at: str, cpu: Mapping[str, float], rate: Mapping[str, float]
    ) -> None:
        ours = cpu["canary"]
        over = ours - cpu[_HTTP1]
        self.bars += [
            Bar(f"CPU, {at}", ours / cpu["nginx"], 3.0, 2.0),
            Bar(f"CPU, {at}", ours / cpu["caddy"], 0.6, unit="x caddy"),
            Bar(f"over HTTP/1.1, {at}", over, 15, 8, unit="us"),
            Bar(
                f"requests/s, {at}", rate["canary"], 12e3, 2e4, "", more_is_better=True
            ),
        ]

    def large(self) -> None:
        """Responses of 1 MiB: bytes per second, under h2load."""
        peers = [*self._rivals, self._buffered, self._canary]
        found: dict[str, list[Load]] = {peer.name: [] for peer in peers}
        for _ in range(self._plan.rounds):
            for peer in peers:
                found[peer.name].append(_h2load(peer, *_LARGE, self._plan.seconds))
        print("\nAnswers of 1 MiB, 8 clients x 4 streams (h2load)")
        rate = {
            name: value / 2**20 for name, value in column(found, "bytes_rate").items()
        }
        cpu = column(found, "cpu_us")
        show(peers, {"us CPU/MiB": cpu, "MiB/s": rate}, column(found, "busy"))
        ratio = rate["canary"] / rate["nginx"]
        bar = Bar("throughput, 1 MiB", ratio, 0.7, 1.0, more_is_better=True)
        self.bars.append(bar)

    def memory(self) -> None:
        """Memory of an idle connection that has had one response."""
        peers = [*self._rivals, self._canary]
        found = {peer.name: self._idle(peer, http2=True) for peer in peers}
        http1 = self._idle(self._canary, http2=False)
        found[_HTTP1] = http1
        print(f"\nMemory of {self._plan.idle} idle connections over TLS")
        rows = [*peers, attrs.evolve(self._canary, name=_HTTP1)]
        show(rows, {"KiB each": found})
        self.bars.append(
            Bar("memory per idle connection", found["canary"], 40, 24, unit="KiB")
        )

    # === how ===

    def _small(self, peer: Peer, connections: int, streams: int, kind: str) -> Load:
        """Measure one round; in HTTP/1.1 if streams is 0."""
        heads = new_heads() if kind == "new" else same_heads(peer)
        with closing(Clients(peer, connections, http2=streams > 0)) as clients:
            return clients.load(heads, max(1, streams), self._plan.seconds)

    def _idle(self, peer: Peer, *, http2: bool) -> float:
        """Give the KiB of memory that an idle connection costs.

        The most of some repeats: later ones find memory that the first left behind.
        """
        each = []
        for _ in range(self._plan.repeats):
            with closing(Clients(peer, 32, http2=http2)) as warm:
                warm.once(new_heads())
                before = memory(peer.pid)
                with closing(Clients(peer, self._plan.idle, http2=http2)) as kept:
                    kept.once(same_heads(peer))
                    each.append(memory(peer.pid) - before)
            time.sleep(0.5)
        return max(each) / self._plan.idle / 1024


def _h2load(peer: Peer, connections: int, streams: int, seconds: float) -> Load:
    """Ask for 1 MiB as fast as it goes, by h2load.

    Raises:
        RuntimeError: a request failed.
    """
    url = f"https://127.0.0.1:{peer.port}/large/1MiB"
    words = ["taskset", "-c", "1", "h2load", f"-c{connections}", f"-m{streams}"]
    words += ["-D", f"{seconds:g}", "--warm-up-time=0", url]
    before, begun = cpu_s(peer.pid), time.monotonic()
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used, wall = cpu_s(peer.pid) - before, time.monotonic() - begun
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    size = re.search(r"\), ([\d.]+)([KMG]B) \((\d+)\) data", out)
    if found is None or size is None or found[2] != "0" or found[3] != "0":
        raise RuntimeError(f"{peer.name} failed requests:\n{out}")
    sent = int(size[3])
    return Load(
        used / sent * 2**20 * 1e6, int(found[1]) / wall, sent / wall, used / wall
    )


TABLES: dict[str, Callable[[Bench], None]] = {
    "small": Bench.small,
    "large": Bench.large,
    "memory": Bench.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--only", choices=TABLES, help="one table")
    options = parser.parse_args()
    need("nginx", "haproxy", "caddy", "h2load", "openssl", "taskset", "pgrep")
    end_on_sigterm()
    os.sched_setaffinity(0, {1})
    show_python()
    with ExitStack() as stack:
        bench = Bench(stack, QUICK if options.quick else FULL)
        for name, table in TABLES.items():
            if options.only in (None, name):
                table(bench)
        print("\nThe bars")
        for bar in bench.bars:
            print(bar)


if __name__ == "__main__":
    main()
