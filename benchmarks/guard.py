"""What a small response costs the proxy, held against a copier of bytes: for CI.

    python -m benchmarks.guard            # fails if it costs 15 % more than it did
    python -m benchmarks.guard --keep     # what is measured now is what it is held to

Both are Python on trio, on one processor, under the same load, and take turns in rounds of a
second, so the ratio of their processor times says what our code costs and little of the machine:
a slower one slows both. What is compared is the least of each one's rounds, since whatever else
runs on a machine only ever adds. A noisy one gets three chances, each of more rounds, and only
what is too dear in all of them fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import Peer, fresh_heads, load
from benchmarks.peers import canary_proxy, directory, end_on_sigterm, need, versions
from benchmarks.rivals import copier

KEPT = Path(__file__).parent / "results" / "guard.json"
"""What it is held to, by kind of head."""

MORE = 0.15
"""How much more it may cost."""

CHANCES = (3, 6, 10)
"""Rounds, until it is believed."""

_CONNECTIONS = 32
_KINDS = ("one head", "new heads")


class Guard:
    """Two proxies of our own, which take turns."""

    def __init__(self, stack: ExitStack) -> None:
        one, two = stack.enter_context(versions(1))
        self._floor = Peer("copier", *stack.enter_context(copier(0, one)))
        port, _, pid = stack.enter_context(canary_proxy(0, one, two))
        heads = fresh_heads(stack.enter_context(directory()) / "heads.lua", ())
        self._ours = {
            "one head": Peer("canary", port, pid),
            "new heads": Peer("canary", port, pid, script=heads),
        }
        self._floors: list[float] = []
        self._found: dict[str, list[float]] = {kind: [] for kind in _KINDS}

    def measure(self, rounds: int) -> dict[str, float]:
        """Give the ratio to the copier, by kind of head, of all rounds so far."""
        for _ in range(rounds):
            self._floors.append(load(self._floor, _CONNECTIONS, 1).cpu_us)
            for kind, peer in self._ours.items():
                self._found[kind].append(load(peer, _CONNECTIONS, 1).cpu_us)
        floor = min(self._floors)
        return {kind: min(found) / floor for kind, found in self._found.items()}


def too_dear(found: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Say what costs more than it may."""
    return [
        f"{kind}: {ratio:.2f} times the copier's processor time, {ratio / kept[kind] - 1:+.0%}"
        f" to the {kept[kind]:.2f} in {KEPT.parent.name}/{KEPT.name}; {MORE:+.0%} is allowed"
        for kind, ratio in found.items()
        if ratio > kept[kind] * (1 + MORE)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="write what is measured")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep")
    if (os.cpu_count() or 1) < 2:
        print("guard: not measured, since it takes two processors")
        return
    end_on_sigterm()
    with ExitStack() as stack:
        guard = Guard(stack)
        if options.keep:
            now = guard.measure(sum(CHANCES))
            rounded = {kind: round(ratio, 3) for kind, ratio in now.items()}
            KEPT.write_text(json.dumps(rounded, indent=2) + "\n")
            print(f"guard: kept {rounded}")
            return
        kept = json.loads(KEPT.read_text())
        faults: list[str] = []
        found: dict[str, float] = {}
        for rounds in CHANCES:
            found = guard.measure(rounds)
            faults = too_dear(found, kept)
            if not faults:
                break
    for kind, ratio in found.items():
        print(f"guard: {kind}: {ratio:.2f} times the copier, kept {kept[kind]:.2f}")
    if faults:
        sys.exit("guard: a small response has become too dear\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
