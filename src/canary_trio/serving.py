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
    proxies: list[Proxy] = []

    def announce(address: str, admin: str) -> None:
        click.echo(f"canary {service} listens on {address}, admin on {admin}")

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on, signals, nursery, proxies)
            async with trio.open_nursery() as serving:
                start = partial(serve, service, on_listening=announce, **options)
                try:
                    proxy: Proxy = await serving.start(start)
                except (http_trio.HttpError, CanaryError) as exc:
                    failure = str(exc)
                else:
                    proxies.append(proxy)
                    click.echo(f"canary {service} runs revision {proxy.revision}")
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
