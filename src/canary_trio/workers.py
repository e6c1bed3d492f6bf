"""Workers: N processes on one port, each a proxy of its own, and their supervisor.

The kernel spreads connections over the workers' sockets (SO_REUSEPORT); a Unix socket is
opened once and shared. Each worker follows the configuration by itself and is one proxy
of the fleet, NAME.1 and so on. A worker that ends is started again, later each time it
does not last; those that run take its connections meanwhile.

The supervisor holds the port, the admin listener and the signals, and serves nothing:
SIGTERM or Ctrl-C drains all, a second one ends them at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import http_trio
from canary_trio.keys import check_name
from canary_trio.server import DEFAULT_ADMIN, default_id
from canary_trio.serving import Console, Teller
from canary_trio.worker import LENGTH
from canary_trio.workers_admin import AdminOfAll

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
"""Before a worker is started again; twice as long each further time."""

LONGEST_PAUSE_S = 10.0
"""That pause at most."""

STEADY_S = 30.0
"""How long a worker must have lasted for the pauses to begin anew."""

KILL_S = 5.0
"""How long the workers have to be gone when they are killed."""


@attrs.define(eq=False)
class Worker:
    """One worker.

    Attributes:
        number: 1, 2 and so on.
        admin: the path of its admin listener.
        restarts: times that it was started again.
        live: whether it has a document.
    """

    number: int
    admin: str
    process: trio.Process | None = None
    restarts: int = 0
    revision: int = -1
    listens: bool = False
    said: str = ""
    failure: str = ""

    @property
    def pid(self) -> int | None:
        """Its process; None while there is none."""
        return None if self.process is None else self.process.pid

    def hear(self, line: bytes) -> None:
        """Take a line that it tells."""
        told = json.loads(line)
        if "listening" in told:
            self.listens, self.said = True, told["listening"]
        self.revision = told.get("live", self.revision)
        self.failure = told.get("failed", self.failure)


async def supervise(service: str, count: int, options: dict[str, Any]) -> str:
    """Run workers until SIGTERM or Ctrl-C; give why it could not, empty if it could.

    Args:
        service: its name.
        count: how many workers.
        options: of `serving.run`.
    """
    try:
        check_name(service)
        with contextlib.ExitStack() as owned:
            supervisor = _Supervisor(service, count, options, owned)
            return await supervisor.run()
    except (http_trio.HttpError, ValueError) as exc:
        return str(exc)


class _Supervisor:
    def __init__(
        self,
        service: str,
        count: int,
        options: dict[str, Any],
        owned: contextlib.ExitStack,
    ) -> None:
        self._service = service
        options = dict(options)
        if (tls := options.get("tls")) is not None:
            tls.context()  # refused here, once, and not by each worker
        self._admin = http_trio.open_listeners([options.pop("admin", DEFAULT_ADMIN)])
        for sock in self._admin:
            owned.enter_context(sock)
        self._held: list[socket.socket] = []
        for name in ("binds", "tls_binds"):
            options[name] = [
                self._hold(bind, owned) for bind in options.get(name) or ()
            ]
        first = (options["binds"] + options["tls_binds"])[0]
        where = first if isinstance(first, str) else self._held[0].getsockname()
        self._id = options.pop("proxy_id", None) or default_id(where)
        check_name(f"{self._id}.{count}")
        self._options = options
        directory = owned.enter_context(tempfile.TemporaryDirectory(prefix="canary-"))
        self._workers = [
            Worker(number, str(Path(directory) / f"{number}.sock"))
            for number in range(1, count + 1)
        ]
        access_log = options.get("access_log")
        beside = access_log is not None and str(access_log) == "-"
        self._rotating = [signal.SIGUSR1]
        if access_log is not None and not beside:
            self._rotating.append(signal.SIGHUP)  # as in `serving`
        self._teller: Teller = Console(service, beside, count)
        self._news = trio.Event()
        self._stop = trio.Event()
        self._failure = ""

    def _hold(self, bind: str, owned: contextlib.ExitStack) -> str | int:
        """Hold an address for all workers; give what each of them listens on.

        A TCP port is only bound here, which keeps it ours while no worker listens and
        settles port 0. It is first opened alone, since with SO_REUSEPORT another
        command on the same port would not be noticed.
        """
        if bind.startswith("unix:"):
            sock = http_trio.open_listeners([bind])[0]
            owned.enter_context(sock)
            self._held.append(sock)
            return sock.fileno()
        with http_trio.open_listeners([bind])[0] as alone:
            family, address = alone.family, alone.getsockname()
            name = http_trio.address_of(alone)
        sock = owned.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        return name

    async def run(self) -> str:
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as stops,
            trio.open_signal_receiver(*self._rotating) as rotations,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on, stops, nursery.cancel_scope)
                nursery.start_soon(self._pass_on, rotations)
                nursery.start_soon(self._announce)
                admin = AdminOfAll(self._id, self._workers, self._stop.is_set)
                await nursery.start(partial(http_trio.serve, admin, self._admin))
                async with trio.open_nursery() as working:
                    for worker in self._workers:
                        working.start_soon(self._keep, worker)
                nursery.cancel_scope.cancel()
        return self._failure

    # === one worker ===

    async def _keep(self, worker: Worker) -> None:
        """Run a worker, and run it again when it has ended."""
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            began = trio.current_time()
            how = await self._run_once(worker)
            if self._stop.is_set():
                return
            if not worker.listens:
                self._fail(worker.failure or f"worker {worker.number} {how}")
                return
            if trio.current_time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            _log.error(
                "worker %d %s; it is started again in %g s", worker.number, how, pause_s
            )
            with trio.move_on_after(pause_s):
                await self._stop.wait()
            worker.restarts += 1
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run_once(self, worker: Worker) -> str:
        """Run a worker to its end; say how it ended."""
        ours, theirs = trio.socket.socketpair()
        with ours:
            with theirs:
                worker.process = process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "canary_trio.worker"],
                    stdin=theirs.fileno(),
                    pass_fds=[sock.fileno() for sock in self._held],
                )
            try:
                stream = trio.SocketStream(ours)
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(self._packed(worker))
                    await self._listen(worker, stream)
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.move_on_after(KILL_S, shield=True):
                        await process.wait()
                worker.process = None
        return (worker.failure and f"failed: {worker.failure}") or _how(process)

    def _packed(self, worker: Worker) -> bytes:
        options = {
            "log_format": "console",
            **self._options,
            "service": self._service,
            "proxy_id": f"{self._id}.{worker.number}",
            "admin": f"unix:{worker.admin}",
            "reuse_port": True,
            "listen_late": worker.restarts > 0,  # the others answer meanwhile
        }
        data = pickle.dumps(options)
        return LENGTH.pack(len(data)) + data

    async def _listen(self, worker: Worker, stream: trio.SocketStream) -> None:
        """Take what the worker tells, until it ends."""
        worker.failure = ""
        buffer = b""
        while data := await stream.receive_some():
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                worker.hear(line)
            self._news.set()

    # === all of them ===

    async def _announce(self) -> None:
        """Say when all listen, and when all are live."""
        await self._wait_all("listens")
        self._teller.listening(
            self._workers[0].said, http_trio.address_of(self._admin[0])
        )
        while any(worker.revision < 0 for worker in self._workers):
            await self._wait_news()
        self._teller.live(min(worker.revision for worker in self._workers))

    async def _wait_all(self, what: str) -> None:
        while not all(getattr(worker, what) for worker in self._workers):
            await self._wait_news()

    async def _wait_news(self) -> None:
        await self._news.wait()
        self._news = trio.Event()

    def _fail(self, failure: str) -> None:
        """A worker that cannot begin: nor will the others."""
        self._failure = self._failure or failure
        self._end_all()

    def _end_all(self) -> None:
        self._stop.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                worker.process.send_signal(number)

    async def _stop_on(
        self, signals: AsyncIterator[int], scope: trio.CancelScope
    ) -> None:
        async for _ in signals:
            self._end_all()
            break
        async for _ in signals:
            scope.cancel()

    async def _pass_on(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._signal(number)


def _how(process: trio.Process) -> str:
    code = process.returncode
    if code is not None and code < 0:
        return f"(pid {process.pid}) was ended by {signal.Signals(-code).name}"
    return f"(pid {process.pid}) ended with status {code}"
