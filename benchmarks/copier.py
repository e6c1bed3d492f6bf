"""The floor: a TCP proxy of two trio tasks per connection, which understands nothing.

What a proxy on trio tasks costs before it has parsed a byte. Ours parses, decides and
rewrites on top of that, so it is below this only by its design.
"""

from __future__ import annotations

import sys

import trio


async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    while data := await source.receive_some(65536):
        await sink.send_all(data)
    await sink.send_eof()


async def main(port: int, upstream: int) -> None:
    async def serve(client: trio.SocketStream) -> None:
        try:
            async with (
                await trio.open_tcp_stream("127.0.0.1", upstream) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(copy, client, server)
                await copy(server, client)
        except* trio.BrokenResourceError:
            pass

    await trio.serve_tcp(serve, port, host="127.0.0.1", backlog=4096)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
