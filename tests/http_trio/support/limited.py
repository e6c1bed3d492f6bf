"""A proxy with few descriptors, as a process: python -m ... LIMIT UPSTREAM_PORT.

It prints the port at which it listens. The limit is the hard one, so that nothing
raises it again.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from http_trio import ForwardHooks, HttpServer, Limits, Upstream, forward, serve


@attrs.frozen
class Limited:
    """A proxy that runs so."""

    port: int
    pid: int


@asynccontextmanager
async def limited_proxy(limit: int, upstream_port: int) -> AsyncIterator[Limited]:
    """Run it until the block ends."""
    program = [sys.executable, "-m", __name__, str(limit), str(upstream_port)]
    process = await trio.lowlevel.open_process(program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(20):
            port = int(await process.stdout.receive_some())
        yield Limited(port, process.pid)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def _run(limit: int, port: int) -> None:
    upstream = Upstream("it", [(trio.socket.AF_INET, ("127.0.0.1", port))], b"it")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(
            partial(
                serve,
                lambda exchange: forward(exchange, upstream, ForwardHooks()),
                ["127.0.0.1:0"],
                limits=Limits(idle_s=600.0, head_s=600.0),
            )
        )
        os.write(1, server.addresses[0].rpartition(":")[2].encode())


if __name__ == "__main__":
    trio.run(_run, int(sys.argv[1]), int(sys.argv[2]))
