"""One proxy as a process: it serves until a signal says that it shall not.

How such a process lives and ends is in `http_trio.ProcessLife`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

import http_trio
from canary_health import process_log
from canary_trio.command.process.progress import Teller
from canary_trio.errors import BadToken, CanaryError, CannotServe
from canary_trio.routing.access.cells import Cells
from canary_trio.serving.options import ProxyOptions, read_tokens
from canary_trio.serving.proxy import Proxy, serve
from canary_trio.telemetry.access_log import AccessLog


async def serve_process(
    service: str,
    options: ProxyOptions,
    teller: Teller,
    access_log: AccessLog | None,
    *,
    stopping: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT),
    sign: tuple[Callable[[], None], float] | None = None,
    cells: Cells | None = None,
) -> str:
    """Serve until one of the signals; give why it could not, empty if it could.

    Args:
        service: its name.
        options: of the proxy.
        teller: is told how far it is.
        access_log: takes a line for each request.
        stopping: the signals that end it.
        sign: who hears signs of life beside the service manager: a call, and seconds
            between two.
        cells: where it counts with other processes; None if it is alone.

    Raises:
        CannotServe: another proxy of this name is alive, or the store is none.
    """

    def on_live(revision: int) -> None:
        if life.served is not None:
            life.tell(f"revision {revision} is live")
            teller.changed(revision)

    def on_serving(proxy: Proxy) -> None:
        teller.live(proxy.revision)

    life: http_trio.ProcessLife[Proxy] = http_trio.ProcessLife(
        http_trio.ServiceManager.take(),
        options.lame_duck_s,
        options.drain_s,
        on_serving,
        sign=sign,
        stopping=stopping,
    )
    try:
        tokens = read_tokens(options)
    except BadToken as exc:
        return str(exc)
    life.reload = tokens.reload
    if access_log is not None:
        life.reopen = access_log.reopen
    start = partial(
        serve,
        service,
        options,
        access_log=access_log,
        tokens=tokens,
        cells=cells,
        on_waiting=teller.waiting,
        on_listening=teller.listening,
        on_live=on_live,
        on_named=lambda name: process_log.know(id=name),
    )
    try:
        await life.run(start, f"{service} waits for a document")
    except CannotServe:
        raise
    except (http_trio.HttpError, CanaryError) as exc:
        return str(exc)
    return ""
