"""How fast a change is live: from the PUT to the first request that is routed by it.

One loop does everything over raw sockets: it sends the PUT that flips the ratio between
0 and 1, then probes the proxy without a pause over one kept connection until the new
version answers. The time is taken when that probe was sent, so the resolution is one
probe's round trip (given as `probe`); the true time lies within one probe before it.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.peers import canary_proxy, need, versions

_PROBE = b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n"


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def put(document: Mapping[str, object], ratio: int) -> bytes:
    body = json.dumps({**document, "ratio": ratio}).encode()
    head = b"PUT /v1/kv/canary/web/config HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def one_change(
    store: socket.socket, proxy: socket.socket, request: bytes, wanted: bytes
) -> tuple[float, float, list[float]]:
    """Give the times from the PUT's start and from its response, and the probes' own."""
    probes = []
    acknowledged = 0.0
    begun = time.perf_counter()
    store.sendall(request)
    while True:
        sent = time.perf_counter()
        proxy.sendall(_PROBE)
        while True:
            waiting = [proxy] if acknowledged else [proxy, store]
            ready, _, _ = select.select(waiting, [], [], 5)
            if store in ready:
                acknowledged = time.perf_counter()
                assert store.recv(4096).endswith(b"true")
            if proxy in ready:
                break
        response = proxy.recv(4096)
        probes.append(time.perf_counter() - sent)
        if response.endswith(wanted):
            break
    if not acknowledged:
        assert store.recv(4096).endswith(b"true")
        acknowledged = time.perf_counter()
    return sent - begun, sent - acknowledged, probes


def show(label: str, times: list[float]) -> None:
    times = sorted(times)
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
    row = (statistics.median(times), p99, times[-1])
    print(f"  {label:<42} " + "  ".join(f"{value * 1e3:7.2f}" for value in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep")
    with versions(1) as (one, two), canary_proxy(0, one, two) as (port, at, _):
        document = {
            "arms": {
                "stable": {"servers": [f"http://127.0.0.1:{one}"]},
                "canary": {"servers": [f"http://127.0.0.1:{two}"]},
            }
        }
        for load in ("quiet", "under load (wrk, 32 connections)"):
            with ExitStack() as stack:
                if load != "quiet":
                    words = ["taskset", "-c", "1", "wrk", "-t1", "-c32", "-d600s"]
                    wrk = subprocess.Popen(
                        [*words, f"http://127.0.0.1:{port}/"], stdout=subprocess.DEVNULL
                    )
                    stack.callback(wrk.wait)
                    stack.callback(wrk.kill)
                store = stack.enter_context(connect(at))
                proxy = stack.enter_context(connect(port))
                one_change(store, proxy, put(document, 0), b"v1")
                from_start, from_response, probes = [], [], []
                for n in range(options.changes):
                    ratio = 1 - n % 2
                    wanted = b"v2" if ratio else b"v1"
                    time.sleep(0.002)  # until the proxy asks again, as in real life
                    times = one_change(store, proxy, put(document, ratio), wanted)
                    from_start.append(times[0])
                    from_response.append(times[1])
                    probes += times[2]
                print(
                    f"{f'{load}, {options.changes} changes, ms':<47}"
                    f"{'p50':>8}{'p99':>9}{'worst':>9}"
                )
                show("PUT sent, to first request routed by it", from_start)
                show("PUT answered, to first request routed by it", from_response)
                show("probe", probes)


if __name__ == "__main__":
    main()
