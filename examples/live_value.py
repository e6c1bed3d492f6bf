"""A value that keeps itself current, in a program of one's own.

The store runs in the same nursery, in memory; a real one is `kv-trio serve`, or a Consul.
"""

from __future__ import annotations

from functools import partial

import attrs
import trio

import kv_trio


@attrs.frozen
class Limits:
    """What the key `limits` holds, as JSON."""

    rate: int


async def main() -> None:
    """Follow a key while somebody changes it."""
    async with trio.open_nursery() as nursery:
        store = await nursery.start(partial(kv_trio.serve, ["127.0.0.1:0"]))
        async with kv_trio.Client(store.url) as client:
            await client.put("limits", b'{"rate": 10}')
            async with kv_trio.live(client, "limits", Limits) as limits:
                print("at first", limits.current)
                await client.put("limits", b'{"rate": "no number"}')  # is never current
                await client.put("limits", b'{"rate": 20}')
                print("now", await limits.changed())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
