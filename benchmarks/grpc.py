"""gRPC through the proxy, beside nginx's `grpc_pass`, and beside no proxy at all.

The proxy under test has processor 0; clients and servers have processor 1. Unary calls of
`grpcio` at both ends show what a proxy adds to one; h2load against nghttpd, which answers
with a trailer as gRPC does, shows what a call costs a proxy that is busy.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import grpc

from benchmarks.measure import Load, Peer
from benchmarks.peers import (
    canary_proxy,
    cpu_s,
    directory,
    end_on_sigterm,
    need,
    nginx,
    process,
    python,
    show_python,
    wait_for_port,
)
from benchmarks.tables import Bar, column, show
from http_trio.testing.ports import free_port

_NGINX = """
  upstream calls {{ server 127.0.0.1:{server}; keepalive 512;
                    keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} http2; http2_max_requests 100000000;
    location / {{ grpc_pass grpc://calls; grpc_set_header X-Forwarded-For $remote_addr;
    }} }}
"""
_MESSAGE = b"x" * 100
_FRAME = b"\0" + len(_MESSAGE).to_bytes(4, "big") + _MESSAGE
_CALLS = 100  # at a time, before the next peer has its turn


@attrs.frozen
class Plan:
    """How much is measured."""

    turns: int
    rounds: int
    seconds: float


QUICK = Plan(turns=5, rounds=2, seconds=1.0)
FULL = Plan(turns=20, rounds=5, seconds=2.0)


# === the server of the calls ===


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, _details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda message, _: message)


def _serve(port: int) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def _echo() -> Iterator[int]:
    """Run a server of grpcio; give its port."""
    port = free_port()
    with process(1, *python("-m", "benchmarks.grpc", "--serve", port)):
        wait_for_port(port)
        yield port


@contextlib.contextmanager
def _nghttpd(path: Path) -> Iterator[int]:
    """Run a server that answers every call with one message and a trailer."""
    port = free_port()
    folder = path / "bench.Echo"
    folder.mkdir()
    (folder / "Say").write_bytes(_FRAME)
    words = ("--no-tls", "-a", "127.0.0.1", "--trailer=grpc-status: 0", "-d", path)
    with process(1, "nghttpd", *words, port):
        wait_for_port(port)
        yield port


# === the proxies ===


@contextlib.contextmanager
def _canary(server: int) -> Iterator[Peer]:
    port = free_port()
    arms = {
        name: {"servers": [f"h2c://127.0.0.1:{server}"]}
        for name in ("stable", "canary")
    }
    options = ("--h2c-bind", f"127.0.0.1:{port}")
    with canary_proxy(0, server, server, options=options, arms=arms) as (_, _, pid):
        yield Peer("canary", port, pid)


@contextlib.contextmanager
def _grpc_pass(server: int) -> Iterator[Peer]:
    port = free_port()
    with nginx(0, _NGINX.format(port=port, server=server), port) as running:
        yield Peer("nginx", port, running.pid)


# === tables ===


def latency(plan: Plan) -> list[Bar]:
    """Tell what a proxy adds to a unary call, one at a time."""
    with ExitStack() as stack:
        server = stack.enter_context(_echo())
        peers = [
            stack.enter_context(_canary(server)),
            stack.enter_context(_grpc_pass(server)),
        ]
        ports = {"direct": server, **{peer.name: peer.port for peer in peers}}
        calls = {
            name: stack.enter_context(
                grpc.insecure_channel(f"127.0.0.1:{port}")
            ).unary_unary("/bench.Echo/Say")
            for name, port in ports.items()
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            _timed(call)
        for _ in range(plan.turns):
            for name, call in calls.items():
                times[name] += _timed(call)
    print("\nUnary calls, one at a time: milliseconds (grpcio at both ends)")
    print(f"  {'':<24}{'p50':>12}{'added':>12}{'p99':>12}{'added':>12}")
    middle = {name: statistics.median(each) for name, each in times.items()}
    late = {name: statistics.quantiles(each, n=100)[98] for name, each in times.items()}
    for name in times:
        row = (
            *(middle[name], middle[name] - middle["direct"]),
            *(late[name], late[name] - late["direct"]),
        )
        print(f"  {name:<24}" + "".join(f"{value * 1000:>12.3f}" for value in row))
    added_ms = (middle["canary"] - middle["direct"]) * 1000
    return [Bar("added to the p50 of a unary call", added_ms, 1.0, unit="ms")]


def _timed(call: Any) -> list[float]:
    found = []
    for _ in range(_CALLS):
        begun = time.perf_counter()
        call(_MESSAGE)
        found.append(time.perf_counter() - begun)
    return found


def rate(plan: Plan) -> list[Bar]:
    """Tell what a call costs a proxy that is busy."""
    with ExitStack() as stack:
        path = stack.enter_context(directory())
        server = stack.enter_context(_nghttpd(path))
        peers = [
            stack.enter_context(_grpc_pass(server)),
            stack.enter_context(_canary(server)),
        ]
        message = path / "message"
        message.write_bytes(_FRAME)
        for clients, streams in ((32, 1), (16, 10)):
            found: dict[str, list[Load]] = {peer.name: [] for peer in peers}
            for _ in range(plan.rounds):
                for peer in peers:
                    found[peer.name].append(
                        _h2load(peer, clients, streams, message, plan.seconds)
                    )
            print(
                f"\nUnary calls, {clients} clients x {streams} streams (h2load, nghttpd)"
            )
            cpu, calls = column(found, "cpu_us"), column(found, "rate")
            show(peers, {"us CPU/call": cpu, "calls/s": calls}, column(found, "busy"))
    return []


def _h2load(
    peer: Peer, clients: int, streams: int, message: Path, seconds: float
) -> Load:
    """Make calls as fast as it goes.

    Raises:
        RuntimeError: a call failed.
    """
    words = ["taskset", "-c", "1", "h2load", f"-c{clients}", f"-m{streams}"]
    words += ["-D", f"{seconds:g}", "--warm-up-time=0", "-d", str(message)]
    words += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    words += [f"http://127.0.0.1:{peer.port}/bench.Echo/Say"]
    before, begun = cpu_s(peer.pid), time.monotonic()
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used, wall = cpu_s(peer.pid) - before, time.monotonic() - begun
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    if found is None or found[2] != "0" or found[3] != "0" or found[1] == "0":
        raise RuntimeError(f"{peer.name} failed calls:\n{out}")
    count = int(found[1])
    return Load(used / count * 1e6, count / wall, 0.0, used / wall)


TABLES = {"latency": latency, "rate": rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds")
    parser.add_argument("--only", choices=TABLES, help="one table")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.serve)
        sys.exit()
    need("nginx", "h2load", "nghttpd", "taskset", "pgrep")
    end_on_sigterm()
    os.sched_setaffinity(0, {1})
    show_python()
    bars: list[Bar] = []
    for name, table in TABLES.items():
        if options.only in (None, name):
            bars += table(QUICK if options.quick else FULL)
    print("\nThe bars")
    for bar in bars:
        print(bar)


if __name__ == "__main__":
    main()
