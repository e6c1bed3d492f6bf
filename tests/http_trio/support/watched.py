"""A proxy whose end is checked: whatever its peers did, nothing of it is left."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from http_trio import (
    Exchange,
    Failure,
    ForwardedPolicy,
    HttpServer,
    Limits,
    Upstream,
    forward,
)
from http_trio.testing.peers import (
    FakeUpstream,
    RawClient,
    RecordingHooks,
    Script,
    fake_upstream,
    serving,
)

_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s


class Books(RecordingHooks):
    """Hooks that also count what began."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        super().__init__()
        self.request_fields = self.response_fields = b""
        self.begun = 0

    @property
    def last(self) -> tuple[int, Failure | None]:
        return self.ends[-1]


@attrs.frozen(eq=False)
class Watched:
    """A proxy, the upstream behind it, and what it counted."""

    proxy: HttpServer
    fake: FakeUpstream
    upstream: Upstream
    books: Books

    async def wait_settled(self) -> None:
        """Wait until no exchange is in progress and no connection in use."""
        upstream = self.upstream
        with trio.fail_after(30):
            while (
                self.proxy.connections
                or len(self.books.ends) < self.books.begun
                or upstream.open != len(upstream.idle)
            ):
                await trio.sleep(0.005)
        assert len(self.books.ends) == self.books.begun


@asynccontextmanager
async def watched(
    script: Script,
    caplog: pytest.LogCaptureFixture,
    limits: Limits | None = None,
    *,
    clients: ForwardedPolicy | None = None,
) -> AsyncIterator[Watched]:
    """Run a proxy in front of an upstream; at the end its books are balanced."""
    books = Books()
    async with fake_upstream(script) as fake:
        upstream = fake.upstream

        def handler(exchange: Exchange) -> None:
            books.begun += 1
            forward(exchange, upstream, books)

        async with serving(handler, limits, clients=clients) as proxy:
            one = Watched(proxy, fake, upstream, books)
            yield one
            await one.wait_settled()
    faults = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert not faults


async def reset(client: RawClient) -> None:
    """Go away as a crashed machine does."""
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    await trio.aclose_forcefully(client.stream)


async def reset_stream(stream: trio.SocketStream) -> None:
    """As `reset`, for an upstream."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    await trio.aclose_forcefully(stream)
