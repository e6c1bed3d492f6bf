"""A handler of the engine beside an ASGI application, in one server of one's own.

It needs an ASGI server on trio: `pip install hypercorn`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import hypercorn.config
import hypercorn.trio
import trio

import http_trio


def handle(exchange: http_trio.Exchange) -> None:
    """Respond below /engine."""
    exchange.respond(http_trio.Response(200, b"the engine, at " + exchange.path))


engine = http_trio.as_asgi(handle)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Lead /engine to the engine, and say something of its own elsewhere."""
    if scope["type"] == "lifespan" or scope["path"].startswith("/engine"):
        await engine(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the application"})


async def main() -> None:
    """Serve both on one port, ask both, and stop."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve = partial(hypercorn.trio.serve, shutdown_trigger=stop.wait)
        (url,) = await nursery.start(serve, application, config)
        async with httpx.AsyncClient() as user:
            for path in ("/", "/engine/room"):
                print((await user.get(f"{url}{path}")).text)
        engine.drain()
        stop.set()


if __name__ == "__main__":
    trio.run(main)
