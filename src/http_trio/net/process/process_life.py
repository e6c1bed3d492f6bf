"""A process that serves until a signal says that it shall not.

SIGTERM or Ctrl-C drains what it serves, after a time as a lame duck; a second one ends it
at once, whatever the first has come to. SIGHUP lets it look again at what it reads from
files, and ends nothing: a server whose terminal is gone serves on. SIGUSR1 is for logs
that were rotated. A service manager is told all of that, and hears signs of life from the
event loop that serves.

What is served is no matter here: whoever starts it hands it out as `Served`.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import attrs
import trio

from http_trio.net.process.resources import tune_gc
from http_trio.net.process.service_manager import ServiceManager

_log = logging.getLogger(__name__)

STATE_S = 10.0
"""Seconds between two looks at how it stands, of which a service manager is told."""


class Served(Protocol):
    """What a process serves."""

    @property
    def state(self) -> str:
        """How it stands, in a few words."""

    def drain(self, deadline_s: float, *, lame_duck_s: float) -> None:
        """Begin to stop, as `HttpServer.drain`."""

    def reload(self) -> None:
        """Look again at what is read from files."""

    async def beat(self, call: Callable[[], None], every_s: float) -> None:
        """Call again and again, from the event loop that serves; until cancelled."""


S = TypeVar("S", bound=Served)


@attrs.define(eq=False)
class ProcessLife(Generic[S]):
    """How a process lives and ends.

    Attributes:
        manager: the service manager, which is told how it stands.
        lame_duck_s: once it is asked to end, how long it still accepts connections.
        drain_s: how long what is in progress has to end after that.
        on_serving: called once it serves, with what it serves.
        reopen: opens logs anew, at SIGUSR1 and at SIGHUP.
        reload: looks again at files, at SIGHUP, as long as nothing is served.
        sign: another one who hears signs of life: a call, and seconds between two.
        stopping: the signals that end it.
        served: what it serves; None before it does.
    """

    manager: ServiceManager
    lame_duck_s: float = 0.0
    drain_s: float = 30.0
    on_serving: Callable[[S], None] = lambda _: None
    reopen: Callable[[], None] = lambda: None
    reload: Callable[[], None] = lambda: None
    sign: tuple[Callable[[], None], float] | None = None
    stopping: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
    served: S | None = attrs.field(default=None, init=False)
    _ends: bool = attrs.field(default=False, init=False)
    _told: str = attrs.field(default="", init=False)

    async def run(  # noqa: ASYNC128  # what it starts says so
        self, start: Callable[..., Awaitable[None]], waits: str
    ) -> None:
        """Serve until one of the signals.

        Args:
            start: serves, as a nursery starts it; what it says is served is a `Served`.
            waits: what the service manager is told until then.

        Raises whatever `start` does.
        """
        failure: Exception | None = None
        with (
            trio.open_signal_receiver(*self.stopping) as stops,
            trio.open_signal_receiver(signal.SIGUSR1, signal.SIGHUP) as files,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on, stops, nursery.cancel_scope)
                nursery.start_soon(self._reload_on, files)
                nursery.start_soon(self._keep_alive, self.manager.alive, self._every_s)
                nursery.start_soon(self._keep_told)
                if self.sign is not None:
                    nursery.start_soon(self._keep_alive, *self.sign)
                self.tell(waits)
                try:
                    await start(task_status=self)
                except Exception as exc:  # goes on below, outside of the nursery
                    failure = exc
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def started(self, served: S | None = None) -> None:
        """Take what is served from now on, as `trio.TaskStatus` does."""
        assert served is not None, "whoever serves says what"
        self.served = served
        self._tell_ready(served)
        self.on_serving(served)
        tune_gc()

    def tell(self, state: str) -> None:
        """Tell the service manager how it stands now, unless it knows."""
        if state != self._told:
            self._told = state
            self.manager.status(state)

    def _tell_ready(self, served: S) -> None:
        self._told = served.state
        self.manager.ready(self._told)

    @property
    def _every_s(self) -> float:
        return self.manager.watchdog_s / 3

    async def _keep_alive(self, call: Callable[[], None], every_s: float) -> None:
        """Give signs of life, from the event loop that serves once there is one."""
        while every_s > 0:
            call()
            if self.served is not None:
                await self.served.beat(call, every_s)
            await trio.sleep(every_s)

    async def _keep_told(self) -> None:
        """Tell from time to time how it stands, as long as nothing is ending."""
        while not self._ends:
            await trio.sleep(STATE_S)
            if self.served is not None and not self._ends:
                self.tell(self.served.state)

    async def _reload_on(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            try:
                self.reopen()
                if number == signal.SIGHUP:
                    self._reload()
            except Exception:  # what was read before goes on
                _log.exception("files are not read again")

    def _reload(self) -> None:
        if self.served is None:
            self.reload()
            return
        if self._ends:
            self.served.reload()
            return
        self.manager.reloading()
        try:
            self.served.reload()
        finally:
            self._tell_ready(self.served)

    async def _stop_on(
        self, signals: AsyncIterator[int], scope: trio.CancelScope
    ) -> None:
        """Drain at the first one; stop at once at the second, or if nothing is served."""
        async for _ in signals:
            if self.served is None:
                scope.cancel()
            else:
                self._ends = True
                self.manager.stopping("draining")
                self.served.drain(self.drain_s, lame_duck_s=self.lame_duck_s)
            break
        async for _ in signals:
            scope.cancel()
