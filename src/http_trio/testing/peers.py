"""The two peers of a proxy, as a test plays them: raw bytes over real sockets.

One file, since a test needs both. The rule that it obeys: nothing here knows how the
engine does its work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from http_trio import (
    Exchange,
    Failure,
    ForwardedPolicy,
    ForwardedRequest,
    ForwardHooks,
    Handler,
    HttpServer,
    Limits,
    Upstream,
    forward,
    serve,
)

Script = Callable[["ReceivedRequest"], Awaitable[None]]


@attrs.define
class ReceivedRequest:
    """One request as an upstream got it."""

    head: bytes
    body: bytes
    stream: trio.SocketStream
    connection: int

    @property
    def path(self) -> bytes:
        return self.head.split(b" ")[1]

    async def response(self, body: bytes, *lines: bytes) -> None:
        length = b"Content-Length: %d" % len(body)
        head = b"\r\n".join([b"HTTP/1.1 200 OK", length, *lines])
        await self.stream.send_all(head + b"\r\n\r\n" + body)


@attrs.define
class FakeUpstream:
    """An upstream that records what it is asked and answers by a script."""

    script: Script
    port: int = 0
    asked: list[ReceivedRequest] = attrs.field(factory=list)
    connections: int = 0
    raw: Callable[[trio.SocketStream], Awaitable[None]] | None = None
    """What is done with a connection instead of reading requests from it."""

    @property
    def upstream(self) -> Upstream:
        address = (trio.socket.AF_INET, ("127.0.0.1", self.port))
        return Upstream(f"fake:{self.port}", [address], b"fake")

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        number = self.connections
        buffer = b""
        try:
            if self.raw is not None:
                await self.raw(stream)
                return
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = await stream.receive_some()
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = 0
                for row in head.split(b"\r\n"):
                    if row.lower().startswith(b"content-length:"):
                        length = int(row.split(b":")[1])
                while len(buffer) < length:
                    data = await stream.receive_some()
                    if not data:
                        return
                    buffer += data
                body, buffer = buffer[:length], buffer[length:]
                asked = ReceivedRequest(head, body, stream, number)
                self.asked.append(asked)
                await self.script(asked)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def fake_upstream(script: Script) -> AsyncIterator[FakeUpstream]:
    """Run an upstream on a free port."""
    fake = FakeUpstream(script)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, fake.serve, 0, host="127.0.0.1")
        )
        fake.port = listeners[0].socket.getsockname()[1]
        yield fake
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(
    handler: Handler,
    limits: Limits | None = None,
    bind: str = "127.0.0.1:0",
    *,
    clients: ForwardedPolicy | None = None,
) -> AsyncIterator[HttpServer]:
    """Run a server on a free port."""
    start = partial(serve, handler, [bind], limits=limits, forwarding=clients)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        yield server
        nursery.cancel_scope.cancel()


class RecordingHooks(ForwardHooks):
    """Hooks that remember what they were told, and where to go next."""

    __slots__ = ("ends", "failures", "others")

    def __init__(self, others: list[Upstream] | None = None) -> None:
        super().__init__(b"\r\nX-Added: up", b"\r\nX-Added: down")
        self.failures: list[Failure] = []
        self.ends: list[tuple[int, Failure | None]] = []
        self.others = others or []

    def on_failure(
        self, _request: ForwardedRequest, failure: Failure
    ) -> Upstream | None:
        self.failures.append(failure)
        return self.others.pop(0) if self.others else None

    def on_end(
        self, _request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        self.ends.append((status, failure))


@asynccontextmanager
async def proxying(
    upstream: Upstream,
    hooks: ForwardHooks | None = None,
    limits: Limits | None = None,
    clients: ForwardedPolicy | None = None,
) -> AsyncIterator[HttpServer]:
    """Run a proxy in front of one upstream."""
    hooks = hooks or ForwardHooks()

    def handler(exchange: Exchange) -> None:
        forward(exchange, upstream, hooks)

    async with serving(handler, limits, clients=clients) as server:
        yield server


class RawClient:
    """A raw client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(
        self,
        path: bytes = b"/",
        *lines: bytes,
        method: bytes = b"GET",
        body: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Send a request; give its response's head and body."""
        length = [b"Content-Length: %d" % len(body)] if body else []
        rows = [method + b" " + path + b" HTTP/1.1", b"Host: test", *length, *lines]
        await self.send(b"\r\n".join(rows) + b"\r\n\r\n" + body)
        return await self.response(bodiless=method == b"HEAD")

    async def response(self, *, bodiless: bool = False) -> tuple[bytes, bytes]:
        """Read one response that has a length."""
        head = await self.head()
        length = 0
        for row in head.split(b"\r\n"):
            if row.lower().startswith(b"content-length:"):
                length = int(row.split(b":")[1])
        if bodiless:
            return head, b""
        return head, await self.exactly(length)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def until(self, mark: bytes) -> bytes:
        """Read up to a mark; give what is before it."""
        while mark not in self.buffer:
            await self._more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self._more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    async def to_end(self) -> bytes:
        """Read until the other side closes."""
        try:
            while data := await self.stream.receive_some():
                self.buffer += data
        except trio.BrokenResourceError:
            pass
        found, self.buffer = self.buffer, b""
        return found

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"closed after {self.buffer!r}"
        self.buffer += data


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[RawClient]:
    """Connect to a server's first address; the whole is done within ten seconds."""
    address = server.addresses[0]
    with trio.fail_after(10):
        if address.startswith("unix:"):
            stream = await trio.open_unix_socket(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        async with stream:
            yield RawClient(stream)


@asynccontextmanager
async def scripted(
    first: bytes, count: int, then: bytes
) -> AsyncIterator[tuple[HttpServer, list[bytes]]]:
    """Run a proxy before an upstream that reads in a certain order.

    It reads a head, sends `first`, reads `count` bytes of the body, and sends `then`.
    Gives the proxy and the heads that were read.
    """
    heads: list[bytes] = []

    async def serve_one(stream: trio.SocketStream) -> None:
        async with stream:
            client = RawClient(stream)
            heads.append(await client.head())
            if first:
                await stream.send_all(first)
            await client.exactly(count)
            if then:
                await stream.send_all(then)
            await client.to_end()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        upstream = Upstream("it", [(trio.socket.AF_INET, ("127.0.0.1", port))], b"it")
        async with proxying(upstream) as proxy:
            yield proxy, heads
        nursery.cancel_scope.cancel()
