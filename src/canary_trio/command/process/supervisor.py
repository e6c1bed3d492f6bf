"""Workers: N processes on one port, each a proxy of its own, and their supervisor.

The kernel spreads connections over the workers' sockets (SO_REUSEPORT); a Unix socket is
opened once and shared. Each worker follows the configuration by itself and is one proxy
of the fleet, NAME.1 and so on. A worker that ends is started again, later each time it
does not last; those that run take its connections meanwhile.

The supervisor holds the port, the admin listener and the signals, and serves nothing:
SIGTERM or Ctrl-C drains all, a second one ends them at once. One file, since what workers
share and how they end are decided together.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import attrs
import trio

import http_trio
from canary_health import process_log
from canary_trio.command.process.admin import NearWorkers, SupervisorAdmin
from canary_trio.command.process.ipc import WorkerOptions
from canary_trio.command.process.life_signs import HUNG_S, LATE_S, SIGNS, LifeSigns
from canary_trio.command.process.log_options import LogOptions
from canary_trio.command.process.own_directory import own_directory
from canary_trio.command.process.progress import Console, Teller
from canary_trio.command.process.worker_process import WorkerProcess
from canary_trio.control.fleet.own_name import NameFile
from canary_trio.control.store_keys import check_name, check_service
from canary_trio.errors import CanaryError, CannotServe
from canary_trio.serving.listeners import (
    ADMIN_LIMITS,
    AdminDoor,
    MakeConsole,
    make_console,
)
from canary_trio.serving.options import Bind, ProxyOptions, take_own_name
from canary_trio.serving.shared_cells import shared_memory

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
"""Before a worker is started again; twice as long each further time."""

LONGEST_PAUSE_S = 10.0
"""That pause at most."""

STEADY_S = 30.0
"""How long a worker must have lasted for the pauses to begin anew."""


async def supervise(
    service: str,
    count: int,
    options: ProxyOptions,
    logs: LogOptions,
    hung_s: float = HUNG_S,
) -> str:
    """Run workers until SIGTERM or Ctrl-C; give why it could not, empty if it could.

    Args:
        service: its name.
        count: how many workers.
        options: of all; each gets its own name and admin listener.
        logs: what each logs.
        hung_s: a worker that gives no sign of life for so long is killed and started
            again; 0 for never.

    Raises:
        CannotServe: another proxy of a worker's name is alive, or the store is none.
    """
    try:
        check_service(service)
        if options.tls is not None:
            options.tls.check()  # refused here, once, and not by each worker
        with contextlib.ExitStack() as owned:
            binds = [] if options.admin is None else [options.admin]
            admin = http_trio.open_listeners(binds, reuse_port=options.reuse_port)
            for sock in admin:
                owned.enter_context(sock)
            door = AdminDoor.of(options, admin)
            addresses = _Addresses(owned, reuse_port=options.reuse_port)
            held = attrs.evolve(
                options,
                binds=[addresses.hold(bind) for bind in options.binds],
                h2c_binds=[addresses.hold(bind) for bind in options.h2c_binds],
                tls_binds=[addresses.hold(bind) for bind in options.tls_binds],
                redirect_binds=[addresses.hold(b) for b in options.redirect_binds],
                reuse_port=True,
            )
            name, file = take_own_name(service, options, addresses.sockets, owned)
            process_log.know(id=name)
            check_name(f"{name}.{count}")
            directory = owned.enter_context(own_directory("canary-workers-"))
            workers = [
                WorkerProcess(
                    number, str(directory / f"{number}.sock"), signs=LifeSigns(hung_s)
                )
                for number in range(1, count + 1)
            ]
            cells = owned.enter_context(shared_memory(options.rate_limit_clients))
            shared = _Shared(
                name,
                WorkerOptions(
                    service,
                    attrs.evolve(held, **_of_workers(door)),
                    logs,
                    addresses.inherited,
                    hung_s / SIGNS,
                    cells,
                ),
                make_console(options),
            )
            return await _Supervisor(shared, workers, file).run(admin, door)
    except CannotServe:
        raise
    except (http_trio.HttpError, CanaryError) as exc:
        return str(exc)


def _of_workers(door: AdminDoor) -> dict[str, Any]:
    """Give what of its admin listener is otherwise for each worker: its guard is ours."""
    own = {"admin_tls": None, "admin_vouched": True, "console": False}
    return {"admin_address": door.address, **own}


class _Addresses:
    """The addresses of all workers, held for as long as the stack is.

    Attributes:
        names: of the addresses, in order.
        sockets: that hold them.
        inherited: the descriptors of those that workers inherit, by name.
    """

    def __init__(self, owned: contextlib.ExitStack, *, reuse_port: bool) -> None:
        self._reuse_port = reuse_port
        self.names: list[str] = []
        self.sockets: list[socket.socket] = []
        self.inherited: dict[str, int] = {}
        self._owned = owned

    def hold(self, bind: Bind) -> str:
        """Hold an address; give the bind that its workers take.

        A TCP port is only bound here, which keeps it ours while no worker listens and
        settles port 0. It is first opened alone, since with SO_REUSEPORT another
        command on the same port would not be noticed, unless that is asked for.
        """
        sock = self._owned.enter_context(
            http_trio.open_listeners(
                [bind],
                reuse_port=self._reuse_port,
                listening=False,
                introduced=True,
            )[0]
        )
        is_inherited = sock.family == socket.AF_UNIX or not isinstance(bind, str)
        if is_inherited or not self._reuse_port:
            http_trio.open_listeners([sock])
        self.names.append(http_trio.address_of(sock))
        name = http_trio.bind_of(sock)
        if is_inherited:
            self.inherited[name] = sock.fileno()
            self.sockets.append(sock)
            return name
        family, address = sock.family, sock.getsockname()
        sock.close()
        held = self._owned.enter_context(socket.socket(family))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
        self.sockets.append(held)
        return name


@attrs.frozen
class _Shared:
    """The options that all workers share.

    Attributes:
        name: of the whole; a worker's is this with its number.
        options: of each.
        console: makes the console before the admin's pages; None where there is none.
    """

    name: str
    options: WorkerOptions
    console: MakeConsole | None = None

    def of(self, worker: WorkerProcess) -> WorkerOptions:
        """Give the options of one worker."""
        own = attrs.evolve(
            self.options.options,
            proxy_id=f"{self.name}.{worker.number}",
            admin=f"unix:{worker.admin}",
            listen_late=self.options.options.listen_late
            or worker.restarts > 0,  # the others answer meanwhile
        )
        return attrs.evolve(self.options, options=own, number=worker.number)


class _Supervisor:
    def __init__(
        self,
        shared: _Shared,
        workers: Sequence[WorkerProcess],
        name: NameFile | None = None,
    ) -> None:
        self._name = name
        self._shared = shared
        self._workers = workers
        self._news = trio.Event()
        self._stop = trio.Event()
        self._failure = ""
        self._manager = http_trio.ServiceManager.take()
        self._admin: http_trio.HttpServer | None = None

    async def run(self, admin: Sequence[socket.socket], door: AdminDoor) -> str:
        options = self._shared.options
        teller = Console(options.service, workers=len(self._workers))
        pages = SupervisorAdmin(
            *(self._shared.name, self._workers, self._stop.is_set),
            service=options.service,
        )
        handler: http_trio.Handler = pages
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as stops,
            trio.open_signal_receiver(signal.SIGUSR1, signal.SIGHUP) as rotations,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on, stops, nursery.cancel_scope)
                nursery.start_soon(self._pass_on, rotations, door)
                if admin:
                    if self._shared.console is not None:
                        near = NearWorkers(pages, options.service, door.address)
                        handler = console = self._shared.console(pages, near, door)
                        nursery.start_soon(console.run)
                    self._admin = await nursery.start(
                        partial(
                            http_trio.serve,
                            door.guarding(handler),
                            admin,
                            limits=ADMIN_LIMITS,
                            tls=door.tls,
                        )
                    )
                    nursery.start_soon(door.roles.run)
                nursery.start_soon(self._keep_alive)
                nursery.start_soon(self._watch)
                if self._name is not None:
                    nursery.start_soon(self._name.wait)  # as its workers do for theirs
                nursery.start_soon(self._announce, teller, door.address)
                async with trio.open_nursery() as working:
                    for worker in self._workers:
                        working.start_soon(self._keep, worker)
                nursery.cancel_scope.cancel()
        if any(worker.cannot_serve for worker in self._workers):
            raise CannotServe(self._failure)
        return self._failure

    async def _keep(self, worker: WorkerProcess) -> None:
        """Run a worker, and run it again when it has ended."""
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            began = trio.current_time()
            how = await worker.run(self._shared.of(worker), self._tell)
            if self._stop.is_set():
                alike = bool(worker.failure) and worker.failure == self._failure
                if worker.broke_off and not alike:  # which is said at the end
                    _log.error(
                        "worker %d %s while it drained; what it had in progress is lost",
                        *(worker.number, how),
                        extra={"worker": worker.number},
                    )
                return
            if worker.cannot_serve or not worker.is_up:  # nor would another try
                self._failure = worker.failure or f"worker {worker.number} {how}"
                self._end_all()
                return
            if trio.current_time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            _log.error(
                "worker %d %s; it is started again in %g s",
                *(worker.number, how, pause_s),
                extra={"worker": worker.number},
            )
            with trio.move_on_after(pause_s):
                await self._stop.wait()
            worker.restarts += 1
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _announce(self, teller: Teller, admin: str) -> None:
        """Say when all listen, when all are live, and of what."""
        self._manager.status(f"{self._shared.options.service} waits for a document")
        while not all(worker.addresses for worker in self._workers):
            await self._wait_news()
        teller.listening(self._workers[0].addresses, admin)
        while self._revision < 0:
            await self._wait_news()
        told = self._revision
        teller.live(told)
        self._manager.ready(self._state)
        while not self._stop.is_set():
            await self._wait_news()
            if self._revision != told and not self._stop.is_set():
                told = self._revision
                self._manager.status(self._state)

    @property
    def _revision(self) -> int:
        """The oldest that a worker runs; -1 if one runs none."""
        return min(worker.revision for worker in self._workers)

    @property
    def _state(self) -> str:
        return f"revision {self._revision} is live on all workers"

    def _tell(self) -> None:
        self._news.set()

    async def _wait_news(self) -> None:
        await self._news.wait()
        self._news = trio.Event()

    async def _stop_on(
        self, signals: AsyncIterator[int], scope: trio.CancelScope
    ) -> None:
        async for _ in signals:
            self._end_all()
            break
        async for _ in signals:
            scope.cancel()

    async def _pass_on(self, signals: AsyncIterator[int], door: AdminDoor) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                door.reload()
                if self._admin is not None:
                    self._admin.reload()
            is_told = number == signal.SIGHUP and self._revision >= 0
            is_told = is_told and not self._stop.is_set()
            if is_told:
                self._manager.reloading()
            for worker in self._workers:
                if worker.is_up:  # before, the signal would end it
                    worker.send_signal(number)
            if is_told:
                self._manager.ready(self._state)

    async def _keep_alive(self) -> None:
        """Give signs of life, as long as workers live and none of them is silent."""
        while (every_s := self._manager.watchdog_s / 3) > 0:
            now = trio.current_time()
            silent = any(worker.signs.is_overdue(now) for worker in self._workers)
            if not silent and any(worker.pid for worker in self._workers):
                self._manager.alive()
            await trio.sleep(every_s)

    async def _watch(self) -> None:
        """Kill workers that hang; `_keep` starts others in their places."""
        every_s = self._shared.options.sign_s
        while every_s > 0:
            before = trio.current_time()
            await trio.sleep(every_s)
            now = trio.current_time()
            late_s = now - before - every_s
            for worker in self._workers:
                if late_s > LATE_S:
                    worker.signs.pardon(late_s)
                pid = worker.pid
                if worker.kill_if_hung(now):
                    _log.error(
                        "worker %d (pid %s) gives no sign of life for %g s; it is killed",
                        *(worker.number, pid, worker.signs.hung_s),
                        extra={"worker": worker.number},
                    )

    def _end_all(self) -> None:
        self._stop.set()
        if self._name is not None:
            self._name.give_up()
        self._manager.stopping("draining")
        if self._admin is not None and self._admin.has_successor:
            self._admin.drain(0)
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
