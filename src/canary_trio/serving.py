"""What `canary serve` does: the proxy as a process, with its signals and its log."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import click
import trio

import http_trio
from canary_trio.errors import CanaryError
from canary_trio.server import Proxy, serve

DRAIN_S = 30.0
"""How long requests in progress have when the process is asked to end."""


def run(service: str, **options: Any) -> str:
    """Serve until SIGTERM or Ctrl-C; give why it could not, empty if it could."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return trio.run(partial(_run, service, **options))


async def _run(service: str, **options: Any) -> str:
    failure = ""
    listening = trio.Event()
    proxies: list[Proxy] = []

    async def start(nursery: trio.Nursery) -> None:
        nonlocal failure
        try:
            proxy = await nursery.start(
                partial(serve, service, listening=listening, **options)
            )
        except (http_trio.HttpError, CanaryError) as exc:
            failure = str(exc)
            nursery.cancel_scope.cancel()
        else:
            proxies.append(proxy)
            click.echo(f"canary {service} runs revision {proxy.revision}")

    async def announce() -> None:
        await listening.wait()
        binds = ", ".join(options["binds"])
        click.echo(f"canary {service} listens on {binds}, admin on {options['admin']}")

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on, signals, nursery, proxies)
            nursery.start_soon(announce)
            async with trio.open_nursery() as serving:
                await start(serving)
            nursery.cancel_scope.cancel()
    return failure


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
