"""This checkout beside another one: what a change costs, or gains.

    git worktree add ../before main~20
    python -m benchmarks.against ../before

Both run at once, by one interpreter and with the same libraries, and take turns in short
rounds; the figures are medians, the ratio is this one's to the other's. The noise of the
run stands beside it: how far apart the medians of even and odd rounds of one and the same
checkout are. A difference within it is none.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from benchmarks.measure import Peer, cookie_of, fresh_heads, load
from benchmarks.peers import (
    canary_proxy,
    directory,
    end_on_sigterm,
    need,
    show_python,
    versions,
)
from benchmarks.proxy import RULES, USERS
from benchmarks.rivals import make_certificate
from benchmarks.secure_load import Clients
from benchmarks.secure_load import new_heads as fresh
from benchmarks.store import Run, allow_descriptors
from benchmarks.store_clients import Connections, Watchers
from benchmarks.store_peers import kv_trio, ready, settle
from http_trio.testing.ports import free_port

_THIS, _OTHER = "this", "other"
_HERE = Path(__file__).parents[1]
_CONNECTIONS = 32


@attrs.frozen
class Plan:
    """How much is measured.

    Attributes:
        rounds: of the proxy, for each checkout.
        seconds: of one of them.
        changes: rounds of the store with one watcher.
        herds: rounds of the store with 1,000 watchers.
    """

    rounds: int
    seconds: int
    changes: int
    herds: int


QUICK = Plan(6, 1, changes=200, herds=10)
FULL = Plan(20, 2, changes=2000, herds=60)

_T = TypeVar("_T")

Work = Callable[[Path, Plan], dict[str, list[float]]]
"""Gives the figures of each round, by checkout; the less the better."""


def small(other: Path, plan: Plan) -> dict[str, list[float]]:
    """Processor time in us per request, one head for ever."""
    return _small(other, plan, new_heads=False)


def new_heads(other: Path, plan: Plan) -> dict[str, list[float]]:
    """Processor time in us per request, another path and cookie in each."""
    return _small(other, plan, new_heads=True)


def features(other: Path, plan: Plan) -> dict[str, list[float]]:
    """The same, with a signed cookie, five rules and an access log."""
    return _small(other, plan, new_heads=True, features=True)


def http2(other: Path, plan: Plan) -> dict[str, list[float]]:
    """Processor time in us per request over HTTP/2 and TLS, new heads, a stream each."""
    found: dict[str, list[float]] = {_THIS: [], _OTHER: []}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_on_processor(1))  # the load is this process
        certificate = make_certificate(stack.enter_context(directory()))
        one, two = stack.enter_context(versions(1))
        peers = []
        for name, checkout in ((_THIS, _HERE), (_OTHER, other)):
            secure = free_port()
            options = (
                *("--tls-bind", f"127.0.0.1:{secure}"),
                *("--tls-cert", str(certificate)),
            )
            running = canary_proxy(0, one, two, checkout=checkout, options=options)
            _, _, pid = stack.enter_context(running)
            peers.append(Peer(name, secure, pid, "https"))
        for turn in [*peers, *_turns(peers, plan.rounds)]:  # first caches warm up
            with contextlib.closing(Clients(turn, _CONNECTIONS, http2=True)) as clients:
                used = clients.load(fresh(), 1, plan.seconds)
            found[turn.name].append(used.cpu_us)
    return {name: values[1:] for name, values in found.items()}


def one_watcher(other: Path, plan: Plan) -> dict[str, list[float]]:
    """Milliseconds from a PUT to the response of the one who watches."""
    return _watch(other, 1, plan.changes)


def thousand_watchers(other: Path, plan: Plan) -> dict[str, list[float]]:
    """Milliseconds from a PUT to the response of the last of 1,000 who watch."""
    return _watch(other, 1000, plan.herds)


_WORKS: dict[str, Work] = {
    "small": small,
    "new-heads": new_heads,
    "features": features,
    "http2": http2,
    "one-watcher": one_watcher,
    "1000-watchers": thousand_watchers,
}


def _small(
    other: Path, plan: Plan, *, new_heads: bool, features: bool = False
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {_THIS: [], _OTHER: []}
    options: tuple[str, ...] = ()
    document: dict[str, object] = {}
    if features:
        options = ("--access-log", "{dir}/access.log")
        document = {"sticky_sessions": {"cookie": "canary"}, "rules": RULES}
    with contextlib.ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        peers = []
        for name, checkout in ((_THIS, _HERE), (_OTHER, other)):
            running = canary_proxy(
                0, one, two, options=options, checkout=checkout, **document
            )
            port, _, pid = stack.enter_context(running)
            peer = Peer(name, port, pid)
            if new_heads:
                count = USERS if features else 0
                users = [cookie_of(peer, "canary") for _ in range(count)]
                path = stack.enter_context(directory()) / "heads.lua"
                peer = attrs.evolve(peer, script=fresh_heads(path, users))
            peers.append(peer)
        for peer in peers:
            load(peer, _CONNECTIONS, plan.seconds)  # caches warm up
        for turn in _turns(peers, plan.rounds):
            used = load(turn, _CONNECTIONS, plan.seconds)
            found[turn.name].append(used.cpu_us)
    return found


@contextlib.contextmanager
def _on_processor(number: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _watch(other: Path, count: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {_THIS: [], _OTHER: []}
    peers = (kv_trio(_THIS, _HERE), kv_trio(_OTHER, other))
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=".against-", dir=".")
        )
        run = Run(Path(name).resolve(), peers, quick=False)
        watching = []
        for peer in peers:
            server = stack.enter_context(ready(peer, run.directory / peer.name))
            settle(server)
            kept = stack.enter_context(Connections(server, count + 1))
            watching.append((peer.name, Watchers(kept, ["bench/key"] * count)))
        for name, watchers in _turns(watching, rounds):
            found[name].append(watchers.change(count) * 1e3)
    return found


def _turns(peers: Sequence[_T], rounds: int) -> Iterator[_T]:
    """Give each its turns, the order reversed each time, so that neither leads."""
    for number in range(rounds):
        yield from peers if number % 2 == 0 else reversed(peers)


def show(work: str, what: str, found: dict[str, list[float]]) -> None:
    """Print the medians, their ratio, and how noisy the run was."""
    this, other = (statistics.median(found[name]) for name in (_THIS, _OTHER))
    print(
        f"{work:<14} this {this:8.3f}   other {other:8.3f}   ratio {this / other:.3f}"
        f"   noise {_noise(found):.3f}   {what.rstrip('.')}",
        flush=True,
    )


def _noise(found: dict[str, list[float]]) -> float:
    """Give how far from one the ratio of two halves of the same rounds is."""
    ratios = [
        statistics.median(values[::2]) / statistics.median(values[1::2])
        for values in found.values()
    ]
    return max(abs(ratio - 1) for ratio in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other one's directory")
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--only", action="append", choices=_WORKS, metavar="WORK")
    options = parser.parse_args()
    if not (options.checkout / "pyproject.toml").is_file():
        sys.exit(f"{options.checkout} is no checkout: it has no pyproject.toml")
    need("nginx", "wrk", "taskset", "pgrep", "openssl")
    end_on_sigterm()
    allow_descriptors(3_000)
    show_python()
    gc.disable()  # a collection amid a round would count as a server's time
    for name in options.only or _WORKS:
        work = _WORKS[name]
        plan = QUICK if options.quick else FULL
        found = work(options.checkout.resolve(), plan)
        show(name, (work.__doc__ or "").splitlines()[0], found)


if __name__ == "__main__":
    main()
