"""A source of one's own: documents that a program makes, for a proxy that polls them.

Whatever knows the servers (an inventory, a cloud's API) is asked by a small program, which says
it as a document. With an ETag, a proxy that asks again is told 304 as long as nothing changed.
"""

from __future__ import annotations

import hashlib
import json

import httpx
import trio

import canary_trio
import http_trio


class Inventory:
    """Knows who serves; the handler makes the document of it."""

    def __init__(self, servers: list[str]) -> None:
        self.servers = servers

    def document(self) -> bytes:
        """Give the document of the service."""
        arms = {"stable": {"servers": self.servers}}
        return json.dumps({"update_rate": 0.1, "arms": arms}).encode()

    def __call__(self, exchange: http_trio.Exchange) -> None:
        """Respond to a proxy."""
        if exchange.path != b"/web.json":
            exchange.respond(http_trio.Response(404))
            return
        body = self.document()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'.encode()
        if exchange.header(b"if-none-match") == tag:
            exchange.respond(http_trio.Response(304, headers=((b"ETag", tag),)))
            return
        exchange.respond(
            http_trio.Response(200, body, b"application/json", ((b"ETag", tag),))
        )


async def main() -> None:
    """Serve by an inventory, and change what is in it."""
    anywhere = ["127.0.0.1:0"]

    def named(name: bytes) -> http_trio.Handler:
        return lambda exchange: exchange.respond(http_trio.Response(200, name))

    async with trio.open_nursery() as nursery:
        one = await nursery.start(http_trio.serve, named(b"one"), anywhere)
        two = await nursery.start(http_trio.serve, named(b"two"), anywhere)
        inventory = Inventory([one.url])
        source = await nursery.start(http_trio.serve, inventory, anywhere)
        options = canary_trio.ProxyOptions(
            config_server=source.url.replace("http://", "http+poll://") + "/",
            binds=anywhere,
            admin=None,
            remember=False,
        )
        proxy = await nursery.start(canary_trio.serve, "web", options)
        async with httpx.AsyncClient() as user:
            print("served by", (await user.get(proxy.url)).text)
            inventory.servers = [two.url]
            with trio.fail_after(5):
                served = ""
                while served != "two":
                    served = (await user.get(proxy.url)).text
            print("served by", served)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
