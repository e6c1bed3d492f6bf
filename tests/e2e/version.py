"""An upstream as a process: says its name, after as many milliseconds as it is told."""

from __future__ import annotations

import sys
from functools import partial

import trio

from http_trio import Answer, Exchange, serve

NAME = sys.argv[1].encode()


def handler(exchange: Exchange) -> None:
    if exchange.path == b"/slow":
        exchange.park(0.3, lambda ex: ex.respond(Answer(200, NAME)))
    elif exchange.path == b"/cookie":
        exchange.respond(Answer(200, exchange.header(b"cookie") or b"none"))
    else:
        exchange.respond(Answer(200, NAME))


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, ["127.0.0.1:0"]))
        print(f"{sys.argv[1]} listens on {server.addresses[0]}", flush=True)


trio.run(main)
