"""What `canary serve` does: the proxy as a process, with its signals and its log."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

import http_trio
from canary_trio import process_log
from canary_trio.access_line import LineForm
from canary_trio.access_log import AccessLog, BadLog
from canary_trio.errors import CanaryError
from canary_trio.server import Proxy, serve

DRAIN_S = 30.0
"""How long requests in progress have when the process is asked to end."""


def run(
    service: str,
    *,
    log_format: str = "console",
    access_log: Path | None = None,
    access_log_format: str = "json",
    **options: Any,
) -> str:
    """Serve until SIGTERM or Ctrl-C; give why it could not, empty if it could."""
    process_log.configure(process_log.LogForm(log_format))
    try:
        log = _open_log(access_log, LineForm(access_log_format))
    except BadLog as exc:
        return str(exc)
    return trio.run(partial(_run, service, access_log=log, **options))


def _open_log(path: Path | None, form: LineForm) -> AccessLog | None:
    if path is None:
        return None
    return AccessLog(None if str(path) == "-" else path, form)


async def _run(service: str, *, access_log: AccessLog | None, **options: Any) -> str:
    failure = ""
    proxies: list[Proxy] = []
    options["access_log"] = access_log
    beside = access_log is not None and access_log.path is None  # stdout is the log's
    rotating = [signal.SIGUSR1]
    if access_log is not None and not beside:
        rotating.append(signal.SIGHUP)  # else it means that the terminal is gone

    def announce(address: str, admin: str) -> None:
        said = f"canary {service} listens on {address}, admin on {admin}"
        click.echo(said, err=beside)

    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        trio.open_signal_receiver(*rotating) as rotations,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on, signals, nursery, proxies)
            nursery.start_soon(_reopen_on, rotations, access_log)
            async with trio.open_nursery() as serving:
                start = partial(serve, service, on_listening=announce, **options)
                try:
                    proxy: Proxy = await serving.start(start)
                except (http_trio.HttpError, CanaryError) as exc:
                    failure = str(exc)
                else:
                    proxies.append(proxy)
                    said = f"canary {service} runs revision {proxy.revision}"
                    click.echo(said, err=beside)
            nursery.cancel_scope.cancel()
    return failure


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
