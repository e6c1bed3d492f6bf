"""CPU time per request and requests/s of the proxy beside nginx, alternating, medians.

The proxy under test has processor 0; wrk and the upstreams have processor 1.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess

from benchmarks.peers import canary_proxy, cpu_s, need, nginx_proxy, versions

_HEADER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like"
    " Gecko) Chrome/120.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "session=abcdef0123456789abcdef0123456789; theme=dark",
    "Cache-Control": "max-age=0",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Upgrade-Insecure-Requests": "1",
}


def measure(
    port: int, pid: int, connections: int, seconds: float
) -> tuple[float, float]:
    """Give microseconds of CPU per request, and requests per second."""
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    for name, value in _HEADER.items():
        words += ["-H", f"{name}: {value}"]
    before = cpu_s(pid)
    out = subprocess.run(
        [*words, f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = cpu_s(pid) - before
    if "Non-2xx" in out or "Socket errors" in out:
        print(f"  errors at port {port}: {out}")
    requests = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return used / requests * 1e6, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about half a minute")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep")
    rounds, seconds = (3, 2) if options.quick else (5, 5)
    with (
        versions(1) as (one, two),
        nginx_proxy(0, one, two) as (nginx_port, nginx_pid),
        canary_proxy(0, one, two) as (port, _, pid),
        canary_proxy(0, one, two, sticky_sessions=True) as (sticky_port, _, sticky_pid),
    ):
        peers = {
            "nginx": (nginx_port, nginx_pid),
            "canary": (port, pid),
            "canary, sticky": (sticky_port, sticky_pid),
        }
        print(
            f"{'connections':>11}  {'proxy':<15} {'us CPU/request':>15} {'requests/s':>11}"
        )
        for connections in (32, 256):
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
            for _ in range(rounds):
                for name, (at, of) in peers.items():
                    found[name].append(measure(at, of, connections, seconds))
            base = statistics.median(cost for cost, _ in found["nginx"])
            for name, pairs in found.items():
                cost = statistics.median(cost for cost, _ in pairs)
                rate = statistics.median(rate for _, rate in pairs)
                print(
                    f"{connections:>11}  {name:<15} {cost:>15.1f} {rate:>11.0f}"
                    f"   {cost / base:.2f} x nginx"
                )


if __name__ == "__main__":
    main()
