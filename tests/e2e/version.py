"""An upstream that says its name: in this process, or as one of its own.

As a process its arguments are the name and where it listens. A test that kills none has it
here, which spares the start of two processes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import trio

from http_trio import Exchange, Response, serve


def response(name: bytes, asked: Callable[[], None], exchange: Exchange) -> None:
    if exchange.path == b"/slow":
        asked()  # to be slow
        exchange.park(0.3, lambda ex: ex.respond(Response(200, name)))
    elif exchange.path == b"/never":
        exchange.park(3600, lambda ex: ex.respond(Response(200, name)))
    elif exchange.path == b"/length":
        exchange.collect(
            10**8, lambda ex, body: ex.respond(Response(200, b"%d" % len(body)))
        )
    elif exchange.path == b"/cookie":
        exchange.respond(Response(200, exchange.header(b"cookie") or b"none"))
    else:
        exchange.respond(Response(200, name))


async def main(*words: str) -> None:
    name, *binds = words
    handler = partial(response, name.encode(), lambda: None)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, binds or ["127.0.0.1:0"]))
        print(f"{name} listens on {server.addresses[0]}", flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
