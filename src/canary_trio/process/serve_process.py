"""One proxy as a process: it serves until a signal says that it shall not.

SIGTERM or Ctrl-C drains it, after a time as a lame duck; a second one ends it at once,
whatever the first has come to. SIGUSR1 opens the access log anew, and so does SIGHUP, which
also looks at the files of the certificates. It ends nothing: a proxy whose terminal is gone
serves on.

A service manager (systemd) is told all of that, and hears signs of life from the event loop
that serves.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import attrs
import trio

import http_trio
from canary_trio.errors import CanaryError, NameTaken
from canary_trio.process.progress import Teller
from canary_trio.serve.options import ProxyOptions
from canary_trio.serve.proxy import Proxy, serve
from canary_trio.telemetry.access_log import AccessLog


async def serve_process(
    service: str,
    options: ProxyOptions,
    teller: Teller,
    access_log: AccessLog | None,
    stopping: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT),
) -> str:
    """Serve until one of the signals; give why it could not, empty if it could.

    Args:
        service: its name.
        options: of the proxy.
        teller: is told how far it is.
        access_log: takes a line for each request.
        stopping: the signals that end it.

    Raises:
        NameTaken: another proxy of this name is alive.
    """
    manager = http_trio.ServiceManager.take()
    ends = _Ends(manager, options)
    with (
        trio.open_signal_receiver(*stopping) as signals,
        trio.open_signal_receiver(signal.SIGUSR1, signal.SIGHUP) as rotations,
    ):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on, signals, nursery, ends)
                nursery.start_soon(_reload_on, rotations, access_log, ends)
                nursery.start_soon(ends.keep_alive)
                manager.status(f"{service} waits for a document")
                async with trio.open_nursery() as serving:
                    start = partial(
                        serve,
                        service,
                        options,
                        access_log=access_log,
                        on_waiting=teller.waiting,
                        on_listening=teller.listening,
                        on_live=ends.tell_live,
                    )
                    try:
                        proxy: Proxy = await serving.start(partial(ends.watch, start))
                    except (http_trio.HttpError, CanaryError) as exc:
                        ends.failure = str(exc)
                    else:
                        ends.serves(proxy)
                        teller.live(proxy.revision)
                        http_trio.tune_gc()
                nursery.cancel_scope.cancel()
        except* NameTaken:
            pass  # of a proxy that serves already
    if ends.taken is not None:
        raise ends.taken
    return ends.failure


@attrs.define(eq=False)
class _Ends:
    """How a process's proxy ends, and which one it is."""

    manager: http_trio.ServiceManager
    options: ProxyOptions
    proxies: list[Proxy] = attrs.field(factory=list)
    failure: str = ""
    taken: NameTaken | None = None

    def serves(self, proxy: Proxy) -> None:
        """Note that a proxy serves."""
        self.proxies.append(proxy)
        self.manager.ready(f"revision {proxy.revision} is live")

    def tell_live(self, revision: int) -> None:
        """Tell the service manager what runs."""
        if self.proxies:
            self.manager.status(f"revision {revision} is live")

    def drain(self) -> None:
        """Let the proxy end."""
        options = self.options
        self.manager.stopping("draining")
        for proxy in self.proxies:
            proxy.drain(options.drain_s, lame_duck_s=options.lame_duck_s)

    def reload(self) -> None:
        """Look at files that may have changed."""
        self.manager.reloading()
        for proxy in self.proxies:
            proxy.reload()
        if self.proxies:
            self.manager.ready(f"revision {self.proxies[0].revision} is live")

    async def keep_alive(self) -> None:
        """Give signs of life, from the event loop that serves once there is one."""
        every_s = self.manager.watchdog_s / 3
        while every_s > 0:
            for proxy in self.proxies:
                await proxy.beat(self.manager.alive, every_s)
            self.manager.alive()
            await trio.sleep(every_s)

    async def watch(  # noqa: ASYNC128  # what it starts says so
        self,
        start: Callable[..., Awaitable[None]],
        task_status: trio.TaskStatus[Proxy],
    ) -> None:
        """Serve, and note it if the proxy's name is another one's."""
        try:
            await start(task_status=task_status)
        except NameTaken as exc:
            self.taken = exc
            raise


async def _reload_on(
    signals: AsyncIterator[int], log: AccessLog | None, ends: _Ends
) -> None:
    """Reopen the access log, which was rotated; at SIGHUP, look at other files too."""
    async for number in signals:
        if log is not None:
            log.reopen()
        if number == signal.SIGHUP:
            ends.reload()


async def _stop_on(
    signals: AsyncIterator[int], nursery: trio.Nursery, ends: _Ends
) -> None:
    """Drain at the first signal; stop at once at the second, or if there is nothing yet."""
    async for _ in signals:
        if not ends.proxies:
            nursery.cancel_scope.cancel()
        ends.drain()
        break
    async for _ in signals:
        nursery.cancel_scope.cancel()
