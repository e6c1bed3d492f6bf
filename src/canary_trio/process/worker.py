"""One worker: a proxy in a process of its own, started by `workers`.

Standard input is a socket to the supervisor. Over it come the options, once; back go
lines of JSON that tell how far the worker is. When the socket ends, the supervisor is
gone, and so is the worker, at once: nothing survives it.

Ctrl-C at a terminal reaches all processes of the command; the supervisor alone decides
what it means. SIGTERM drains this one worker, and the supervisor starts another.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import struct
import sys
from functools import partial
from typing import Any

import attrs
import trio

from canary_trio.process import process_log
from canary_trio.process.serve_process import open_log, serve_process

LENGTH = struct.Struct("!I")
"""How long the options are, before them."""


@attrs.frozen
class Channel:
    """The socket to the supervisor."""

    sock: socket.socket

    def tell(self, **what: object) -> None:
        """Send a line; a supervisor that is gone hears nothing."""
        try:
            self.sock.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            return

    def listening(self, addresses: str, admin: str) -> None:
        """Tell that it listens."""
        self.tell(listening=addresses, admin=admin)

    def live(self, revision: int) -> None:
        """Tell that its first document is live."""
        self.tell(live=revision)

    async def wait_end(self) -> None:
        """Wait until the supervisor is gone."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            if not self.sock.recv(1, socket.MSG_DONTWAIT):
                return


def main() -> int:
    """Serve by the options on standard input; give the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=os.dup(0)))
    with open(0, "rb", buffering=0, closefd=False) as file:
        options = _read(file)
    process_log.configure(process_log.LogForm(options["log_format"]))
    log, failure = open_log(options)
    if not failure:
        service = options.pop("service")
        options |= {name: _adopted(options[name]) for name in ("binds", "tls_binds")}
        failure = trio.run(partial(_run, channel, service, log, options))
    if failure:
        channel.tell(failed=failure)
    return 1 if failure else 0


def _read(file: Any) -> dict[str, Any]:
    (length,) = LENGTH.unpack(_exactly(file, LENGTH.size))
    options: dict[str, Any] = pickle.loads(_exactly(file, length))  # noqa: S301  # ours
    return options


def _exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise EOFError("the supervisor is gone")
        data += more
    return data


def _adopted(binds: list[str | int]) -> list[str | socket.socket]:
    """Make sockets of the descriptors that were handed down."""
    adopted: list[str | socket.socket] = []
    for bind in binds:
        if isinstance(bind, int):
            sock = socket.socket(fileno=bind)
            sock.setblocking(False)
            adopted.append(sock)
        else:
            adopted.append(bind)
    return adopted


async def _run(
    channel: Channel, service: str, log: Any, options: dict[str, Any]
) -> str:
    failure = ""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_supervisor, channel, nursery.cancel_scope)
        failure = await serve_process(
            service, channel, log, options, stopping=(signal.SIGTERM,)
        )
        nursery.cancel_scope.cancel()
    return failure


async def _end_with_supervisor(channel: Channel, scope: trio.CancelScope) -> None:
    await channel.wait_end()
    scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
