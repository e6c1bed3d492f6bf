"""What counting for the judge of a rollout costs a proxy, per request.

    python -m benchmarks.evidence [--quick]

Two proxies of this checkout take turns in short rounds, alike but that one has a rollout
that is judged, so it counts, and tells the store twice a second. Once with requests as the
unit of failures, once with users. The figures are medians of processor time; the noise of
the run stands beside the ratio, see `benchmarks.against`.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from typing import Any

from benchmarks.measure import Peer, cookie_of, load
from benchmarks.peers import (
    canary_proxy,
    end_on_sigterm,
    need,
    show_python,
    versions,
)

CONNECTIONS = 32
MOST = 1.03
"""What counting may come to."""

ROLLOUT = {
    "id": "bench",
    "steps": [{"ratio": 0.5, "hold": None}, 1],
    "judge": True,
    "state": {
        "phase": "paused",
        "by_hand": True,
        "step": 0,
        "target": 0.5,
        "ratio": 0.5,
        "begun": 1,
        "since": 1,
    },
}
KINDS: dict[str, dict[str, Any]] = {
    "requests": {},
    "users": {"sticky_sessions": {"cookie": "canary"}},
}


def measure(kind: str, rounds: int, seconds: int) -> dict[bool, list[float]]:
    """Give the microseconds of each round, with and without counting."""
    found: dict[bool, list[float]] = {False: [], True: []}
    document = KINDS[kind]
    with contextlib.ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        peers = {}
        for counts in found:
            changes = {**document, "rollout": ROLLOUT} if counts else document
            running = canary_proxy(0, one, two, **changes)
            port, _, pid = stack.enter_context(running)
            peer = Peer(kind, port, pid)
            cookie = cookie_of(peer, "canary") if "sticky_sessions" in document else ""
            peers[counts] = Peer(kind, port, pid, cookie=cookie)
        for peer in peers.values():
            load(peer, CONNECTIONS, seconds)  # caches warm up
        for number in range(rounds):
            for counts in sorted(peers, reverse=number % 2 == 1):
                used = load(peers[counts], CONNECTIONS, seconds)
                found[counts].append(used.cpu_us)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    options = parser.parse_args()
    need("wrk", "nginx", "taskset", "pgrep")
    end_on_sigterm()
    show_python()
    for kind in KINDS:
        found = measure(kind, *((6, 1) if options.quick else (20, 2)))
        without, counting = (statistics.median(found[one]) for one in (False, True))
        noise = max(
            abs(statistics.median(one[::2]) / statistics.median(one[1::2]) - 1)
            for one in found.values()
        )
        ratio = counting / without
        print(
            f"{kind:<10} without {without:7.3f} us   counting {counting:7.3f} us"
            f"   ratio {ratio:.3f} (at most {MOST:g})   noise {noise:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
