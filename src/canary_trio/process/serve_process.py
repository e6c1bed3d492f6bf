"""What `canary serve` does: the proxy as a process, with its signals and its log."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import trio

import http_trio
from canary_trio.errors import CanaryError
from canary_trio.process import process_log
from canary_trio.serve import Proxy, serve
from canary_trio.telemetry.access_log import AccessLog, BadLog
from canary_trio.telemetry.access_log_format import LineForm

DRAIN_S = 30.0
"""How long requests in progress have when the process is asked to end."""


class Teller(Protocol):
    """Whom a proxy tells how far it is."""

    def listening(self, addresses: str, admin: str) -> None:
        """It listens; until it is live it answers 503."""

    def live(self, revision: int) -> None:
        """Its first document is live."""


def run(service: str, *, workers: int = 1, **options: Any) -> str:
    """Serve until SIGTERM or Ctrl-C; give why it could not, empty if it could."""
    process_log.configure(process_log.LogForm(options.get("log_format", "console")))
    if workers > 1:
        from canary_trio.process.supervisor import supervise  # noqa: PLC0415  # few need it

        return trio.run(partial(supervise, service, workers, options))
    log, failure = open_log(options)
    if failure:
        return failure
    # On standard output there are lines of the access log only, if there are any.
    beside = log is not None and log.path is None
    return trio.run(
        partial(serve_process, service, Console(service, beside), log, options)
    )


class Console:
    """Tells whoever started the command."""

    def __init__(self, service: str, beside: bool, workers: int = 1) -> None:  # noqa: FBT001
        self._service = service
        self._beside = beside
        self._with = f", {workers} workers" if workers > 1 else ""

    def listening(self, addresses: str, admin: str) -> None:
        """Say where it listens."""
        said = f"canary {self._service} listens on {addresses}, admin on {admin}"
        click.echo(said + self._with, err=self._beside)

    def live(self, revision: int) -> None:
        """Say what it runs."""
        said = f"canary {self._service} runs revision {revision}"
        click.echo(said, err=self._beside)


def open_log(options: dict[str, Any]) -> tuple[AccessLog | None, str]:
    """Take the options of the logs out; give the access log, and why there is none."""
    options.pop("log_format", None)
    path: Path | None = options.pop("access_log", None)
    form = LineForm(options.pop("access_log_format", "json"))
    if path is None:
        return None, ""
    try:
        return AccessLog(None if str(path) == "-" else path, form), ""
    except BadLog as exc:
        return None, str(exc)


async def serve_process(
    service: str,
    teller: Teller,
    access_log: AccessLog | None,
    options: dict[str, Any],
    stopping: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT),
) -> str:
    """Serve until one of the signals; give why it could not, empty if it could."""
    failure = ""
    proxies: list[Proxy] = []
    rotating = [signal.SIGUSR1]
    if access_log is not None and access_log.path is not None:
        rotating.append(signal.SIGHUP)  # else it means that the terminal is gone
    with (
        trio.open_signal_receiver(*stopping) as signals,
        trio.open_signal_receiver(*rotating) as rotations,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on, signals, nursery, proxies)
            nursery.start_soon(_reopen_on, rotations, access_log)
            async with trio.open_nursery() as serving:
                start = partial(
                    serve,
                    service,
                    access_log=access_log,
                    on_listening=teller.listening,
                    **options,
                )
                try:
                    proxy: Proxy = await serving.start(start)
                except (http_trio.HttpError, CanaryError) as exc:
                    failure = str(exc)
                else:
                    proxies.append(proxy)
                    teller.live(proxy.revision)
                    http_trio.collect_seldom()
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
