"""Blue and green: all traffic at once to the other version, and back if it fails.

`switch` is what a pipeline calls. It needs no rollout and no judge: a write that returns when
each proxy routes by it, a look at the new version, and a write back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import trio

import canary_trio
import http_trio
import kv_trio

PATIENCE_S = 5.0
"""Until each proxy routes by a change."""


async def switch(
    client: kv_trio.Client,
    service: str,
    ratio: int,
    is_good: Callable[[], Awaitable[bool]],
) -> bool:
    """Send all traffic to `canary` (1) or to `stable` (0); tell whether it stays there."""
    note = canary_trio.Note(author="blue-green", message=f"all to {ratio}")
    await _set(client, service, f"ratio={ratio}", note)
    if await is_good():
        return True
    back = canary_trio.Note(author="blue-green", message="it was not good")
    await _set(client, service, f"ratio={1 - ratio}", back)
    return False


async def _set(
    client: kv_trio.Client, service: str, assignment: str, note: canary_trio.Note
) -> None:
    revision = await canary_trio.change(client, service, assignment, note=note)
    with trio.fail_after(PATIENCE_S):
        await canary_trio.wait_applied(client, service, revision)


async def main() -> None:
    """Switch to a green version that fails, and to one that does not."""
    anywhere = ["127.0.0.1:0"]
    green_status = 500

    def blue(exchange: http_trio.Exchange) -> None:
        exchange.respond(http_trio.Response(200, b"blue"))

    def green(exchange: http_trio.Exchange) -> None:
        exchange.respond(http_trio.Response(green_status, b"green"))

    async with trio.open_nursery() as nursery:
        store = await nursery.start(kv_trio.serve, anywhere)
        first = await nursery.start(http_trio.serve, blue, anywhere)
        second = await nursery.start(http_trio.serve, green, anywhere)
        options = canary_trio.ProxyOptions(
            config_server=store.url, binds=anywhere, admin=None, remember=False
        )
        async with kv_trio.Client(store.url) as client, httpx.AsyncClient() as user:
            document = {
                "arms": {
                    "stable": {"servers": [first.url]},
                    "canary": {"servers": [second.url]},
                }
            }
            await canary_trio.write_document(client, "web", document, over=0)
            proxy = await nursery.start(canary_trio.serve, "web", options)

            async def is_good() -> bool:
                found = [await user.get(proxy.url) for _ in range(20)]
                return all(one.is_success for one in found)

            print("green stays:", await switch(client, "web", 1, is_good))
            print("served by", (await user.get(proxy.url)).text)
            green_status = 200
            print("green stays:", await switch(client, "web", 1, is_good))
            print("served by", (await user.get(proxy.url)).text)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
