"""A store and a proxy inside a nursery of one's own, changed from Python.

Run it: python examples/embed.py
"""

from __future__ import annotations

import json
from collections import Counter

import httpx
import trio

import canary_trio
import http_trio
import kv_trio


def version(name: bytes) -> http_trio.Handler:
    """Give an upstream that says its name."""
    return lambda exchange: exchange.respond(http_trio.Response(200, name))


async def main() -> None:
    """Start everything on free ports, change the ratio, count, stop by cancelling."""
    anywhere = ["127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        v1 = await nursery.start(http_trio.serve, version(b"v1"), anywhere)
        v2 = await nursery.start(http_trio.serve, version(b"v2"), anywhere)
        store = await nursery.start(kv_trio.serve, anywhere)
        arms = {"stable": {"servers": [v1.url]}, "canary": {"servers": [v2.url]}}
        options = canary_trio.ProxyOptions(
            config_server=store.url,
            binds=anywhere,
            admin=anywhere[0],
            bootstrap=json.dumps({"arms": arms}).encode(),
            remember=False,
        )
        proxy = await nursery.start(canary_trio.serve, "web", options)
        async with kv_trio.Client(store.url) as client, httpx.AsyncClient() as user:
            for ratio in (0, 0.25, 1):
                revision = await canary_trio.change(client, "web", f"ratio={ratio}")
                with trio.fail_after(5):
                    await canary_trio.wait_applied(client, "web", revision)
                responses = Counter(
                    [(await user.get(proxy.url)).text for _ in range(100)]
                )
                print(f"ratio {ratio}: {dict(sorted(responses.items()))}")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
