"""A gateway of many services: how soon it serves, what one takes, what a change stalls.

    python -m benchmarks.gateway [SERVICES [GATEWAYS]]

Starts a store in a process of its own, writes documents of three servers each and one
table, and runs a gateway in this process. Prints the seconds until all services are live,
KiB of resident memory for each, how soon where it makes their secrets itself, the longest turn of the event loop while one of them is
changed twenty times, and the milliseconds from a write to its effect. With GATEWAYS it runs
so many instead, and counts what one change costs: the reads of all, and how long it takes
until it is live everywhere.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import trio

from canary_trio import ProxyOptions, change, serve, wait_applied
from canary_trio.control.fleet_secret import FleetSecret
from canary_trio.routing.edge.table_codec import SERVICES
from canary_trio.serving.proxy import Proxy
from http_trio import tune_gc
from http_trio.testing.ports import free_port
from kv_trio import Client, TxnOperation

CHANGES = 20
START_S = 120.0
"""How long a gateway may take to start: one that refuses its table never does."""


def resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def document(number: int, ratio: float = 0.1) -> bytes:
    servers = [f"http://10.{number // 250}.{number % 250}.{n}:8000" for n in (1, 2, 3)]
    arms = {"stable": {"servers": servers[:2]}, "canary": {"servers": servers[2:]}}
    return json.dumps({"arms": arms, "ratio": ratio, "sticky_sessions": True}).encode()


async def fill(client: Client, count: int) -> None:
    """Write the documents, the secrets, and the table that names the services."""
    secret = FleetSecret.draw().dump()
    for start in range(0, count, 64):
        numbers = range(start, min(start + 64, count))
        operations = [
            TxnOperation("set", f"canary/s{n}/config", document(n)) for n in numbers
        ]
        operations += [
            TxnOperation("set", f"canary/s{n}/secret", secret) for n in numbers
        ]
        await client.transact(operations)
    routes = [{"host": f"s{n}.example.org", "service": f"s{n}"} for n in range(count)]
    await client.put("canary/@edge/config", json.dumps({"routes": routes}).encode())


async def longest_turn_ms(scope: trio.CancelScope, found: list[float]) -> None:
    """Note the longest time between two turns of this task, until cancelled."""
    with scope:
        before = time.perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            found.append((now - before) * 1e3)
            before = now


async def start(
    client: Client, nursery: trio.Nursery, proxy_id: str = "bench"
) -> tuple[Proxy, float]:
    options = ProxyOptions(
        config_server=client.url,
        binds=["127.0.0.1:0"],
        admin="127.0.0.1:0",
        remember=False,
        proxy_id=proxy_id,
    )
    begun = time.perf_counter()
    with trio.fail_after(START_S):
        proxy: Proxy = await nursery.start(partial(serve, "@edge", options))
    return proxy, time.perf_counter() - begun


async def measure_first_start(client: Client, count: int) -> None:
    """Print how soon all services are live where no proxy has ever run."""
    for number in range(count):
        await client.delete(f"canary/s{number}/secret")
    async with trio.open_nursery() as nursery:
        _, seconds = await start(client, nursery)
        print(f"live in {seconds:.2f} s where the gateway makes their secrets")
        nursery.cancel_scope.cancel()


async def measure(client: Client, count: int) -> None:
    await fill(client, 3)
    async with trio.open_nursery() as nursery:  # what one service needs is there then
        await start(client, nursery)
        nursery.cancel_scope.cancel()
    await fill(client, count)
    gc.collect()
    before = resident_kib()
    async with trio.open_nursery() as nursery:
        proxy, seconds = await start(client, nursery)
        gc.collect()
        each = (resident_kib() - before) / count
        print(f"{count} services live in {seconds:.2f} s, {each:.1f} KiB each")
        tune_gc()
        await trio.sleep(2)  # reports are written meanwhile
        gateway = proxy._view.gateway  # noqa: SLF001  # the benchmark looks inside
        assert gateway is not None
        part = gateway.parts["s7"]
        turns: list[float] = []
        effects: list[float] = []
        scope = trio.CancelScope()
        nursery.start_soon(longest_turn_ms, scope, turns)
        for number in range(CHANGES):
            revision = (
                await client.put("canary/s7/config", document(7, 0.2 + number / 100))
            ).index
            written = time.perf_counter()
            while part.control.running < revision:
                await trio.lowlevel.checkpoint()
            effects.append((time.perf_counter() - written) * 1e3)
            await trio.sleep(0.05)
        scope.cancel()
        effects.sort()
        print(f"longest turn of the loop while one is changed: {max(turns):.1f} ms")
        print(
            f"write to effect: p50 {effects[CHANGES // 2]:.1f}, max {effects[-1]:.1f} ms"
        )
        nursery.cancel_scope.cancel()


async def count_reads(client: Client, count: int, gateways: int) -> None:
    await fill(client, count)
    async with trio.open_nursery() as nursery:
        proxies = [
            (await start(client, nursery, f"g{number}"))[0]
            for number in range(gateways)
        ]
        with trio.fail_after(60):
            while len(await client.keys("canary/s7/proxies/")) < gateways:
                await trio.sleep(0.1)
        await trio.sleep(3)  # until no report is written any more

        def reads() -> list[int]:
            found: list[Any] = [proxy._view.gateway for proxy in proxies]  # noqa: SLF001
            return [gateway._watching.reads for gateway in found]  # noqa: SLF001

        before, begun = reads(), time.perf_counter()
        revision = await change(client, "s7", "ratio=0.3")
        await wait_applied(client, "s7", revision, expect=gateways)
        seconds = time.perf_counter() - begun
        await trio.sleep(1)
        each = [after - was for after, was in zip(reads(), before, strict=True)]
        print(
            f"one change of {count} services costs {gateways} gateways {sum(each)} reads"
        )
        print(f"it is live on all of them after {seconds * 1e3:.0f} ms")
        nursery.cancel_scope.cancel()


async def main(count: int, gateways: int) -> None:
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as data:
        words = ["-m", "kv_trio", "serve", "--bind", address, "--data", data]
        store = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
        try:
            async with Client(f"http://{address}") as client:
                with trio.fail_after(20):
                    while True:
                        try:
                            await client.keys("")
                            break
                        except Exception:
                            await trio.sleep(0.1)
                if gateways:
                    await count_reads(client, count, gateways)
                else:
                    await measure(client, count)
                    await measure_first_start(client, count)
        finally:
            store.terminate()
            store.wait()


if __name__ == "__main__":
    given = dict(enumerate(map(int, sys.argv[1:])))
    if given.get(0, 0) > SERVICES:
        raise SystemExit(f"found {given[0]} services, expected at most {SERVICES}")
    trio.run(main, given.get(0, 1000), given.get(1, 0))
