"""What counting for the judge of a rollout costs a proxy, per request.

    python -m benchmarks.evidence [--quick]

Two proxies of a service, one of which has all of the load, on a processor of its own. A
rollout is begun and taken away in turns: while there is one the loaded proxy counts, and
tells the store twice a second. In one half of these turns it also drives: it reads what all
proxies tell and asks the judge, five times a second, as one proxy of a fleet does; in the
other half the idle one does. One process is compared with itself, since two of the same
code differ by as much as is measured. Once with requests as the unit, once with users.

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
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Load, Peer, cookie_of, load
from benchmarks.peers import (
    canary_proxy,
    command_of,
    end_on_sigterm,
    need,
    process,
    show_python,
    versions,
    wait_for_port,
)
from http_trio.testing.ports import free_port

CONNECTIONS = 32
SETTLE_S = 2.0
"""Until a proxy drives what was begun, or has given it up."""

DRAWS = 40
"""Of who drives, until it is the one that is to: both ask for the lock, and one gets it."""

LOADED, IDLE = "loaded", "idle"

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

    def us(self, driver: str | None) -> float:
        """Give the processor time of a request, in a round of a second.

        Args:
            driver: who drives, while the proxy counts; None for no rollout.
        """
        document = dict(self._document)
        if driver is not None:
            self._begun += 1
            document["rollout"] = {**ROLLOUT, "id": f"bench-{self._begun}"}
        self._ask("config", "PUT", json.dumps(document).encode())
        time.sleep(SETTLE_S)
        if driver is not None:
            self._let_drive(driver)
        used = self._load()
        told = self._ask("proxies/?keys")
        if (b"/evidence" in told) != (driver is not None):
            raise RuntimeError(f"{driver} is to drive, and the store has {told!r}")
        return used.cpu_us

    def _let_drive(self, driver: str) -> None:
        """Take the lock from who drives until the right one does."""
        for _ in range(DRAWS):
            with contextlib.suppress(urllib.error.HTTPError):  # 404: nobody yet
                if json.loads(self._ask("driver?raw"))["by"] == driver:
                    return
                self._ask("driver", "DELETE")
            time.sleep(SETTLE_S / 10)
        raise RuntimeError(f"{driver} never drives")

    def _load(self) -> Load:
        """Ask for a second; where a busy machine let nothing through, once more."""
        for _ in range(TRIES):
            with contextlib.suppress(RuntimeError):
                return load(self._peer, CONNECTIONS, 1)
        return load(self._peer, CONNECTIONS, 1)

    def _ask(self, key: str, method: str = "GET", data: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._store}/v1/kv/canary/web/{key}"
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())


@contextlib.contextmanager
def idle_proxy(store: int) -> Iterator[None]:
    """Run another proxy of the service beside its store, on the other processor."""
    port = free_port()
    words = ("serve", "web", "--id", IDLE, "--bind", f"127.0.0.1:{port}", "--no-admin")
    config = ("--config-server", f"http://127.0.0.1:{store}")
    with process(1, *command_of("canary"), *words, *config):
        wait_for_port(port)
        yield


def measure(kind: str, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Give the microseconds of a request without counting, and what it adds.

    By who drives meanwhile; a figure for each round.
    """
    with contextlib.ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        document = {
            "ratio": 0.5,
            "arms": {
                name: {"servers": [f"http://127.0.0.1:{port}"]}
                for name, port in (("stable", one), ("canary", two))
            },
            **KINDS[kind],
        }
        running = canary_proxy(0, one, two, options=("--id", LOADED), **KINDS[kind])
        port, store, pid = stack.enter_context(running)
        stack.enter_context(idle_proxy(store))
        peer = Peer(kind, port, pid)
        cookie = cookie_of(peer, "canary") if "sticky_sessions" in document else ""
        turns = Turns(store, Peer(kind, port, pid, cookie=cookie), document)
        ways = (None, IDLE, LOADED)
        for driver in ways:
            turns.us(driver)  # caches warm up
        without: list[float] = []
        added: dict[str, list[float]] = {IDLE: [], LOADED: []}
        for number in range(rounds):
            order = ways if number % 2 else ways[::-1]
            found = {driver: turns.us(driver) for driver in order}
            without.append(found[None])
            for driver, values in added.items():
                values.append(found[driver] - found[None])
        return without, added


def bounds(values: list[float]) -> tuple[float, float]:
    """Give between which of some values their median is, with 95 % (by their order)."""
    count, found = len(values), sorted(values)
    low = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return found[low], found[count - 1 - low]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about five minutes")
    options = parser.parse_args()
    need("wrk", "nginx", "taskset", "pgrep")
    end_on_sigterm()
    show_python()
    for kind in KINDS:
        without, added = measure(kind, 16 if options.quick else 60)
        us = statistics.median(without)
        print(f"{kind}: {us:.3f} us without", flush=True)
        for driver, values in added.items():
            what = "counting" if driver == IDLE else "counting and driving"
            more, (low, high) = statistics.median(values), bounds(values)
            print(
                f"  {what:<21} adds {more:6.3f} us ({low:.3f} to {high:.3f})"
                f"   ratio {1 + more / us:.3f} (at most {MOST:g})",
                flush=True,
            )


if __name__ == "__main__":
    main()
