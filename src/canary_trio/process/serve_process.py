"""One proxy as a process: it serves until a signal says that it shall not.

SIGTERM or Ctrl-C drains it, a second one ends it at once; SIGUSR1 opens the access log
anew, and so does SIGHUP. It ends nothing: there is nothing else to be read again, and a
proxy whose terminal is gone serves on.
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

DRAIN_S = 30.0
"""How long requests in progress have when the process is asked to end."""


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
    ends = _Ends()
    with (
        trio.open_signal_receiver(*stopping) as signals,
        trio.open_signal_receiver(signal.SIGUSR1, signal.SIGHUP) as rotations,
    ):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on, signals, nursery, ends.proxies)
                nursery.start_soon(_reopen_on, rotations, access_log)
                async with trio.open_nursery() as serving:
                    start = partial(
                        serve,
                        service,
                        options,
                        access_log=access_log,
                        on_listening=teller.listening,
                    )
                    try:
                        proxy: Proxy = await serving.start(partial(ends.watch, start))
                    except (http_trio.HttpError, CanaryError) as exc:
                        ends.failure = str(exc)
                    else:
                        ends.proxies.append(proxy)
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

    proxies: list[Proxy] = attrs.field(factory=list)
    failure: str = ""
    taken: NameTaken | None = None

    async def watch(
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


async def _reopen_on(signals: AsyncIterator[int], log: AccessLog | None) -> None:
    """Reopen the access log when it was rotated."""
    async for _ in signals:
        if log is not None:
            log.reopen()


async def _stop_on(
    signals: AsyncIterator[int], nursery: trio.Nursery, proxies: list[Proxy]
) -> None:
    """Drain at the first signal; stop at once at the second, or if there is nothing yet."""
    async for _ in signals:
        if not proxies:
            nursery.cancel_scope.cancel()
        for proxy in proxies:
            proxy.drain(DRAIN_S)
        break
    async for _ in signals:
        nursery.cancel_scope.cancel()
