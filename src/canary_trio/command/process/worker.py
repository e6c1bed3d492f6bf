"""One worker: a proxy in a process of its own, started by `supervisor`.

Standard input is a socket to the supervisor; what is spoken over it is in `ipc`. When it
ends, the supervisor is gone, and so is the worker, at once: nothing survives it.

Ctrl-C at a terminal reaches all processes of the command; the supervisor alone decides
what it means. SIGTERM drains this one worker, and the supervisor starts another.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Mapping

import attrs
import trio

import http_trio
from canary_health import process_log
from canary_trio.command.process.ipc import (
    CANNOT_SERVE,
    News,
    WorkerOptions,
    read_options,
    write_news,
)
from canary_trio.command.process.serve_process import serve_process
from canary_trio.errors import CannotServe
from canary_trio.serving.options import Bind
from canary_trio.serving.shared_cells import inherited_cells
from canary_trio.telemetry.access_log import AccessLog, BadLog


@attrs.frozen
class Channel:
    """The socket to the supervisor."""

    sock: socket.socket

    def tell(self, news: News) -> None:
        """Tell something; a supervisor that is gone hears nothing."""
        try:
            self.sock.sendall(write_news(news))
        except OSError:
            return

    def waiting(self, admin: str) -> None:
        """Tell that it has its addresses."""
        del admin
        self.tell(News(waiting=True))

    def listening(self, addresses: str, admin: str) -> None:
        """Tell that it listens; where the admin is, the supervisor has said itself."""
        del admin
        self.tell(News(listening=addresses))

    def live(self, revision: int) -> None:
        """Tell that its first document is live."""
        self.tell(News(live=revision))

    def changed(self, revision: int) -> None:
        """Tell that another document is live."""
        self.live(revision)

    def alive(self) -> None:
        """Give a sign of life; a supervisor that stands still is not waited for."""
        room = select.poll()
        room.register(self.sock, select.POLLOUT)
        if room.poll(0):
            self.tell(News(alive=True))

    async def wait_end(self) -> None:
        """Wait until the supervisor is gone."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            if not self.sock.recv(1, socket.MSG_DONTWAIT):
                return


def main() -> int:
    """Serve by the options on standard input; give the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the last two until they have a meaning
    channel = Channel(socket.socket(fileno=os.dup(0)))
    with open(0, "rb", buffering=0, closefd=False) as file:
        options = read_options(file)
    process_log.configure(
        options.logs.form,
        service=options.service,
        id=options.options.proxy_id or "",
        worker=options.number,
    )
    try:
        failure = trio.run(_run, channel, options, options.logs.open_access_log())
    except BadLog as exc:
        failure = str(exc)
    except CannotServe as exc:
        channel.tell(News(failed=str(exc)))
        return CANNOT_SERVE
    if failure:
        channel.tell(News(failed=failure))
    return 1 if failure else 0


async def _run(
    channel: Channel, worker_options: WorkerOptions, access_log: AccessLog | None
) -> str:
    given, sockets = worker_options.options, worker_options.sockets
    options = attrs.evolve(
        given,
        binds=_adopted(given.binds, sockets),
        h2c_binds=_adopted(given.h2c_binds, sockets),
        tls_binds=_adopted(given.tls_binds, sockets),
        redirect_binds=_adopted(given.redirect_binds, sockets),
    )
    failure = ""
    taken: CannotServe | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_supervisor, channel, nursery.cancel_scope)
        try:
            failure = await serve_process(
                worker_options.service,
                options,
                channel,
                access_log,
                stopping=(signal.SIGTERM,),
                sign=(channel.alive, worker_options.sign_s),
                cells=None
                if worker_options.cells is None
                else inherited_cells(worker_options.cells),
            )
        except CannotServe as exc:
            taken = exc
        nursery.cancel_scope.cancel()
    if taken is not None:
        raise taken
    return failure


def _adopted(binds: Iterable[Bind], sockets: Mapping[str, int]) -> tuple[Bind, ...]:
    """Take the sockets that were handed down in the place of their addresses."""
    adopted: list[Bind] = []
    for bind in binds:
        if isinstance(bind, str) and bind in sockets:
            sock = http_trio.adopt_listener(sockets[bind])
            sock.proxy_protocol = bind.endswith(",proxy")
            adopted.append(sock)
        else:
            adopted.append(bind)
    return tuple(adopted)


async def _end_with_supervisor(channel: Channel, scope: trio.CancelScope) -> None:
    await channel.wait_end()
    scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
