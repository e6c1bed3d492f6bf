"""A feature flag that changes while the program runs, read by a handler at no cost.

The store runs in the same nursery, in memory; a real one is `kv-trio serve`, or a Consul.
"""

from __future__ import annotations

import attrs
import httpx
import trio

import http_trio
import kv_trio


@attrs.frozen
class Flags:
    """What the key `flags/shop` holds, as JSON. What is left out is as it is here."""

    new_checkout: bool = False
    greeting: str = "hello"


async def main() -> None:
    """Serve by the flags, and change them."""
    async with trio.open_nursery() as nursery:
        store = await nursery.start(kv_trio.serve, ["127.0.0.1:0"])
        async with kv_trio.Client(store.url) as client:
            await client.put("flags/shop", b"{}")
            async with kv_trio.live(client, "flags/shop", Flags) as flags:

                def handle(exchange: http_trio.Exchange) -> None:
                    now = flags.current  # one attribute: no lock, no look at the store
                    checkout = "new" if now.new_checkout else "old"
                    text = f"{now.greeting}, {checkout} checkout"
                    exchange.respond(http_trio.Response(200, text.encode()))

                shop = await nursery.start(http_trio.serve, handle, ["127.0.0.1:0"])
                async with httpx.AsyncClient() as user:
                    print((await user.get(shop.url)).text)
                    await client.put("flags/shop", b'{"new_checkout": true}')
                    await flags.changed()
                    print((await user.get(shop.url)).text)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
