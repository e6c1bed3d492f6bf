"""From a fault to the last request of the canary: how soon a rollout is stopped.

    python -m benchmarks.rollout [--runs N] [--proxies N] [--rate N] [--share PART]

A store, proxies and both versions in one process, real sockets. The canary has its share
and 1 % errors, as stable has; then its errors are 10 %. What is measured is the time until
it gets its last new request, with the driver, the judge and the stores' watches as they
are. What it needs: the last tick's counts are written, the driver reads and judges them,
writes the abort, and each proxy takes it. Also printed: what the evidence costs the store,
in writes and bytes per second and proxy.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

from canary_trio import Proxy, ProxyOptions, serve
from canary_trio.control.changes.documents import write_document
from canary_trio.control.fleet.evidence import TICK_S
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import evidence_key
from http_trio.testing.peers import FakeUpstream, ReceivedRequest, fake_upstream
from kv_trio.testing import in_memory_store

CONNECTIONS = 32
HEALTHY_S = 3.0
"""How long the canary is well, at its share, before it fails."""

PATIENCE_S = 30.0
_GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


@attrs.define
class Version:
    """One version: how often it fails, and when it was asked last."""

    draw: random.Random
    errors: float = 0.01
    asked_at: float = 0.0
    asked: int = 0

    async def __call__(self, request: ReceivedRequest) -> None:
        """Respond, well or not."""
        self.asked_at = trio.current_time()
        self.asked += 1
        status = b"500 Oh" if self.draw.random() < self.errors else b"200 OK"
        head = b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok"
        await request.stream.send_all(head % status)


@attrs.frozen
class Stopped:
    """How a run went.

    Attributes:
        last_s: from the fault to the canary's last new request.
        requests: that it got in that time.
        evidence_bytes: of what a proxy tells.
    """

    last_s: float
    requests: int
    evidence_bytes: int


@asynccontextmanager
async def proxies_on(client: KeyStore, count: int) -> AsyncIterator[list[Proxy]]:
    """Run proxies of one service."""
    async with trio.open_nursery() as nursery:
        options = [
            ProxyOptions(
                config_server=client.url,
                binds=["127.0.0.1:0"],
                admin="127.0.0.1:0",
                remember=False,
                proxy_id=f"p{number}",
            )
            for number in range(count)
        ]
        yield [await nursery.start(serve, "web", one) for one in options]
        nursery.cancel_scope.cancel()


async def load(proxies: list[Proxy], rate: float) -> None:
    """Ask so many times a second, whatever the responses."""
    async with trio.open_nursery() as nursery:
        for number in range(CONNECTIONS):
            proxy = proxies[number % len(proxies)]
            nursery.start_soon(_ask, proxy, CONNECTIONS / rate, number / rate)


async def _ask(proxy: Proxy, every_s: float, after_s: float) -> None:
    host, _, port = proxy.url.rpartition("/")[2].rpartition(":")
    due = trio.current_time() + after_s
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        while True:
            await trio.sleep_until(due)
            due += every_s
            await stream.send_all(_GET)
            found = b""
            while not found.endswith(b"\r\n\r\nok"):
                data = await stream.receive_some()
                assert data, "the proxy closed"
                found += data


def document(
    stable: FakeUpstream, canary: FakeUpstream, share: float
) -> dict[str, Any]:
    """Give the document: a rollout that stays at a share until it is stopped."""
    ports = {"stable": stable.port, "canary": canary.port}
    return {
        "arms": {
            name: {"servers": [f"http://127.0.0.1:{port}"], "ejection": False}
            for name, port in ports.items()
        },
        "ratio": 0,
        "rollout": {
            "id": "bench",
            "steps": [{"ratio": share, "hold": None}, 1],
            "slope": 1,
            "judge": {"then": "abort"},
        },
    }


async def run(proxies: int, rate: float, share: float, seed: int) -> Stopped:
    """Let a canary fail, and wait until it is stopped."""
    stable, canary = Version(random.Random(seed)), Version(random.Random(seed + 1))
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(fake_upstream(stable))
        new = await stack.enter_async_context(fake_upstream(canary))
        client = await stack.enter_async_context(in_memory_store())
        await write_document(client, "web", document(old, new, share), over=0)
        running = await stack.enter_async_context(proxies_on(client, proxies))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(load, running, rate)
        with trio.fail_after(PATIENCE_S):
            while not canary.asked:
                await trio.sleep(0.05)
        await trio.sleep(HEALTHY_S)
        entry = (await client.get(evidence_key("web", "p0"))).entry
        at, before = trio.current_time(), canary.asked
        canary.errors = 0.1
        with trio.fail_after(PATIENCE_S):
            while any(
                "canary" in one.config.ratio and one.config.ratio["canary"]
                for one in running
            ):
                await trio.sleep(0.01)
        await trio.sleep(0.2)  # those that were on their way
        found = Stopped(
            canary.asked_at - at,
            canary.asked - before,
            0 if entry is None else len(entry.value),
        )
        nursery.cancel_scope.cancel()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--proxies", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests/s in all")
    parser.add_argument("--share", type=float, default=0.5, help="the canary's")
    given = parser.parse_args()
    found = [
        trio.run(run, given.proxies, given.rate, given.share, seed)
        for seed in range(1, given.runs + 1)
    ]
    seconds = sorted(one.last_s for one in found)
    print(
        f"{given.proxies} proxies, {given.rate:g} requests/s, canary {given.share:.0%}:"
        f" errors 1 % -> 10 %, {given.runs} runs"
    )
    print(
        f"  until the canary's last request: {json.dumps([round(s, 2) for s in seconds])} s"
    )
    print(f"  median {statistics.median(seconds):.2f} s, longest {seconds[-1]:.2f} s")
    most = max(one.evidence_bytes for one in found)
    print(f"  evidence: {1 / TICK_S:g} writes/s of a proxy, {most} bytes each")


if __name__ == "__main__":
    main()
