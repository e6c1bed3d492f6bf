"""What counting for the judge of a rollout costs a proxy, per request.

    python -m benchmarks.evidence [--quick]

One proxy, whose rollout is begun and taken away in turns: while it has one it counts, tells
the store twice a second, and drives. Two proxies would not do, since two processes of the
same code differ by as much as is measured. Once with requests as the unit, once with users.

The figures are of processor time: the median without, the median of the differences of
neighbouring rounds, and between which bounds that median lies in 95 of 100 such runs. What
does not hang on the number of requests, telling and judging, is part of it: a busy machine,
which lets the proxy serve fewer, makes more of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time
import urllib.request
from typing import Any

from benchmarks.measure import Load, Peer, cookie_of, load
from benchmarks.peers import (
    canary_proxy,
    end_on_sigterm,
    need,
    show_python,
    versions,
)

CONNECTIONS = 32
SETTLE_S = 2.0
"""Until a proxy drives what was begun, or has given it up."""

TRIES = 4
"""Of a round in which not one request came through, or one failed, before the last."""

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


class Turns:
    """A proxy that counts for a judge in turns.

    Args:
        store: the port of its store.
        peer: the proxy.
        document: its document, without a rollout.
    """

    def __init__(self, store: int, peer: Peer, document: dict[str, Any]) -> None:
        self._store, self._peer, self._document = store, peer, document
        self._begun = 0

    def us(self, *, counts: bool) -> float:
        """Give the processor time of a request, in a round of a second."""
        document = dict(self._document)
        if counts:
            self._begun += 1
            document["rollout"] = {**ROLLOUT, "id": f"bench-{self._begun}"}
        text = json.dumps(document).encode()
        self._ask(urllib.request.Request(self._url("config"), data=text, method="PUT"))
        time.sleep(SETTLE_S)
        used = self._load()
        told = self._ask(urllib.request.Request(self._url("proxies/?keys")))
        if (b"/evidence" in told) != counts:
            raise RuntimeError(
                f"counting is to be {counts}, and the store has {told!r}"
            )
        return used.cpu_us

    def _load(self) -> Load:
        """Ask for a second; where a busy machine let nothing through, once more."""
        for _ in range(TRIES):
            with contextlib.suppress(RuntimeError):
                return load(self._peer, CONNECTIONS, 1)
        return load(self._peer, CONNECTIONS, 1)

    def _url(self, key: str) -> str:
        return f"http://127.0.0.1:{self._store}/v1/kv/canary/web/{key}"

    def _ask(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())


def measure(kind: str, pairs: int) -> tuple[list[float], list[float]]:
    """Give the microseconds of a request without counting, and what it adds, by pair."""
    with versions(1) as (one, two):
        document = {
            "ratio": 0.5,
            "arms": {
                name: {"servers": [f"http://127.0.0.1:{port}"]}
                for name, port in (("stable", one), ("canary", two))
            },
            **KINDS[kind],
        }
        with canary_proxy(0, one, two, **KINDS[kind]) as (port, store, pid):
            peer = Peer(kind, port, pid)
            cookie = cookie_of(peer, "canary") if "sticky_sessions" in document else ""
            turns = Turns(store, Peer(kind, port, pid, cookie=cookie), document)
            for counts in (False, True):
                turns.us(counts=counts)  # caches warm up
            without, added = [], []
            for number in range(pairs):
                order = (False, True) if number % 2 else (True, False)
                found = {counts: turns.us(counts=counts) for counts in order}
                without.append(found[False])
                added.append(found[True] - found[False])
            return without, added


def bounds(values: list[float]) -> tuple[float, float]:
    """Give between which of some values their median is, with 95 % (by their order)."""
    count, found = len(values), sorted(values)
    low = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return found[low], found[count - 1 - low]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about four minutes")
    options = parser.parse_args()
    need("wrk", "nginx", "taskset", "pgrep")
    end_on_sigterm()
    show_python()
    for kind in KINDS:
        without, added = measure(kind, 16 if options.quick else 80)
        us, more = statistics.median(without), statistics.median(added)
        low, high = bounds(added)
        print(
            f"{kind:<10} without {us:7.3f} us   counting adds {more:6.3f} us"
            f" ({low:.3f} to {high:.3f})   ratio {1 + more / us:.3f} (at most {MOST:g})",
            flush=True,
        )


if __name__ == "__main__":
    main()
