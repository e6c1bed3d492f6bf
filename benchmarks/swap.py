"""What a change of a document costs by its number of servers, and what a choice of one.

    python -m benchmarks.swap

Prints milliseconds of CPU time to read a document, to build it and to install it, and the
longest time at one go in which no request is served meanwhile; for a document of which all
servers are new, and for one that changes half of them. Then microseconds per choice.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import attrs
import trio

from canary_trio.config.document import build, load, parse
from canary_trio.config.model import Balance
from canary_trio.config.url import split_url
from canary_trio.proxy.runtime import Runtime
from canary_trio.upstream.consistent_hash import points_of
from canary_trio.upstream.server import ServerState

COUNTS = (10, 100, 1000)
ROUNDS = 9
PICKS = 20_000
TOTAL_BAR_MS, STOP_BAR_MS = 20.0, 5.0


def document(count: int, balance: Balance, *, first: int = 0) -> bytes:
    """Half of the servers in each of two arms, with weights from 1 to 3."""

    def servers(at: int) -> list[dict[str, Any]]:
        numbers = range(first + at, first + at + count // 2)
        return [
            {"url": f"http://10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}:8000",
             "weight": 1 + n % 3}
            for n in numbers
        ]  # fmt: skip

    arms = {
        name: {"servers": servers(at), "balance": balance.value}
        for name, at in (("stable", 0), ("canary", 1_000_000))
    }
    return json.dumps({"ratio": 0.1, "arms": arms}).encode()


class Steps(trio.abc.Instrument):
    """The longest step of any task, in CPU time."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._begun = time.thread_time()

    def before_task_step(self, _: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time()

    def after_task_step(self, _: trio.lowlevel.Task) -> None:
        self.longest_ms = max(self.longest_ms, since_ms(self._begun))


def since_ms(begun: float) -> float:
    return (time.thread_time() - begun) * 1e3


@attrs.frozen
class Cost:
    """Of one change, in milliseconds."""

    read: float
    build: float
    install: float
    stop: float

    @property
    def total(self) -> float:
        return self.read + self.build + self.install


async def change(runtime: Runtime, text: bytes, revision: int) -> Cost:
    steps = Steps()
    await trio.lowlevel.checkpoint()
    trio.lowlevel.add_instrument(steps)
    begun = time.thread_time()
    table = parse(text)
    read = since_ms(begun)
    await trio.lowlevel.checkpoint()
    begun = time.thread_time()
    config = build(table)
    read += since_ms(begun)
    await trio.lowlevel.checkpoint()
    begun = time.thread_time()
    live = await runtime.build(config, revision, b"s" * 32)
    built = since_ms(begun)
    await trio.lowlevel.checkpoint()
    begun = time.thread_time()
    runtime.install(live)
    install = since_ms(begun)
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(steps)
    return Cost(read, built, install, steps.longest_ms)


async def changes(count: int, balance: Balance) -> tuple[Cost, Cost]:
    """Give the medians for a document of new servers, and for one with half of them."""
    fresh, half = [], []
    for _ in range(ROUNDS):
        points_of.cache_clear()
        split_url.cache_clear()
        runtime = Runtime("web")
        fresh.append(await change(runtime, document(count, balance), 1))
        text = document(count, balance, first=count // 4)
        half.append(await change(runtime, text, 2))
    return middle(fresh), middle(half)


def middle(costs: Sequence[Cost]) -> Cost:
    rows = [attrs.astuple(cost) for cost in costs]
    return Cost(*(median(column) for column in zip(*rows, strict=True)))


async def pick_us(count: int, balance: Balance, *, keyed: bool) -> float:
    runtime = Runtime("web")
    config = load(document(count * 2, balance))
    runtime.install(await runtime.build(config, 1, b"s" * 32))
    assert runtime.live is not None, "it is installed"
    pick = runtime.live.arms["stable"].pick
    keys = [b"user%d" % n if keyed else None for n in range(PICKS)]
    return min(cost_us(pick, keys) for _ in range(5))


def cost_us(
    pick: Callable[[bytes | None], ServerState | None], keys: Sequence[bytes | None]
) -> float:
    begun = time.thread_time()
    for key in keys:
        pick(key)
    return since_ms(begun) / len(keys) * 1e3


async def main() -> None:
    random.seed(1)
    print("ms of CPU time        servers    read   build install   total  longest stop")
    worst_total = worst_stop = 0.0
    for balance in Balance:
        for count in COUNTS:
            pair = await changes(count, balance)
            for name, cost in zip(("new", "half new"), pair, strict=True):
                print(
                    f"  {balance.value:15}{name:9}{count:4}"
                    f"{cost.read:8.2f}{cost.build:8.2f}{cost.install:8.2f}"
                    f"{cost.total:8.2f}{cost.stop:14.2f}"
                )
                worst_total = max(worst_total, cost.total)
                worst_stop = max(worst_stop, cost.stop)
    for what, worst, bar in (
        ("in all", worst_total, TOTAL_BAR_MS),
        ("at one go", worst_stop, STOP_BAR_MS),
    ):
        met = "met" if worst <= bar else "NOT MET"
        print(f"  {what}: {worst:.2f} ms, the bar is {bar:g} ms: {met}")
    print("\nus per choice" + "".join(f"{n:9,}" for n in (1, *COUNTS)) + " servers")
    for balance in Balance:
        keyed = balance is Balance.HASH
        costs = [await pick_us(n, balance, keyed=keyed) for n in (1, *COUNTS)]
        print(f"  {balance.value:15}" + "".join(f"{cost:9.2f}" for cost in costs))


if __name__ == "__main__":
    trio.run(main)
