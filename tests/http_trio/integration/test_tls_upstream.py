"""Servers that speak TLS, behind the proxy."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from http_trio import FailureReason, Limits, Tls, Upstream, client_context
from http_trio.testing.peers import RecordingHooks, connected, proxying
from tests.http_trio.support.certificates import Authority

Talk = Callable[["SecureServer", trio.SSLStream[trio.SocketStream]], Awaitable[None]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@attrs.define
class SecureServer:
    """An upstream that a test plays, over TLS."""

    talk: Talk
    context: ssl.SSLContext
    port: int = 0
    connections: int = 0
    resumed: int = 0
    names: list[str | None] = attrs.field(factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(
            stream, self.context, server_side=True, https_compatible=True
        )
        self.connections += 1
        try:
            await secured.do_handshake()
            self.resumed += bool(secured.session_reused)
            await self.talk(self, secured)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(secured)

    def upstream(self, tls: ssl.SSLContext, name: str | None = "localhost") -> Upstream:
        address = (trio.socket.AF_INET, ("127.0.0.1", self.port))
        host = b"127.0.0.1:%d" % self.port
        return Upstream("secure", [address], host, tls=tls, server_name=name)


@asynccontextmanager
async def secure_server(
    talk: Talk, authority: Authority, *names: str
) -> AsyncIterator[SecureServer]:
    server = SecureServer(talk, Tls(*authority.issue(*names)).context())
    server.context.sni_callback = lambda _, name, __: server.names.append(name)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        )
        server.port = listeners[0].socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """Read a request's head and the body that its length announces."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


async def echo(server: SecureServer, stream: trio.SSLStream[trio.SocketStream]) -> None:
    while request := await read_request(stream):
        body = request.partition(b"\r\n\r\n")[2]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body)


async def once(server: SecureServer, stream: trio.SSLStream[trio.SocketStream]) -> None:
    await read_request(stream)
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    )


# The event loop carries a GET, the slow path a body that is larger than a buffer.
paths = pytest.mark.parametrize("size", [0, 300_000], ids=["fast", "slow"])


def method(size: int) -> bytes:
    return b"POST" if size else b"GET"


@paths
async def test_requests_go_over_one_connection(authority: Authority, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    async with secure_server(echo, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            for _ in range(3):
                got = await client.ask(method=method(size), body=body)
                assert b" 200 " in got[0]
                assert got[1] == body
    assert server.connections == 1
    assert server.names == ["localhost"]


async def test_many_clients_share_the_pool(authority: Authority) -> None:
    async def ask(proxy: object) -> None:
        async with connected(proxy) as client:  # type: ignore[arg-type]
            for size in (0, 70_000, 10, 200_000, 0):
                body = b"x" * size
                got = await client.ask(method=method(size), body=body)
                assert got[1] == body

    async with secure_server(echo, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask, proxy)
    assert server.connections <= 8


async def test_a_new_connection_resumes_the_session(authority: Authority) -> None:
    async with secure_server(echo, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            for _ in range(3):
                assert b" 200 " in (await client.ask())[0]
                upstream.close_idle()
    assert (server.connections, server.resumed) == (3, 2)


@paths
async def test_a_server_that_is_not_trusted_gets_nothing(
    authority: Authority, size: int
) -> None:
    heard: list[bytes] = []

    async def listen(
        server: SecureServer, stream: trio.SSLStream[trio.SocketStream]
    ) -> None:
        heard.append(bytes(await stream.receive_some()))

    async with secure_server(listen, authority) as server:
        record = RecordingHooks()
        async with proxying(server.upstream(client_context()), record) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask(method=method(size), body=b"x" * size)
    assert b" 502 " in head
    assert [f.condition for f in record.failures] == [FailureReason.UNTRUSTED]
    assert not record.failures[0].sent
    assert "certificate" in record.failures[0].detail
    assert not any(heard)


@paths
async def test_the_certificate_must_have_the_name(
    authority: Authority, size: int
) -> None:
    tls = client_context(ca=authority.ca_file)
    async with secure_server(echo, authority, "example.org", "127.0.0.1") as server:
        for name, status in [
            ("example.org", b"200"),
            (None, b"200"),  # the host, an address
            ("example.com", b"502"),
        ]:
            async with proxying(server.upstream(tls, name)) as proxy:
                async with connected(proxy) as client:
                    asked = client.ask(method=method(size), body=b"x" * size)
                    assert (await asked)[0].split(b" ")[1] == status


async def test_verification_can_be_switched_off(authority: Authority) -> None:
    async with secure_server(echo, authority, "example.org") as server:
        upstream = server.upstream(client_context(verify=False))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            assert b" 200 " in (await client.ask())[0]


@paths
async def test_a_server_without_tls_is_a_failure(
    authority: Authority, size: int
) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, plain, 0, host="127.0.0.1")
        )
        address = listeners[0].socket.getsockname()
        upstream = Upstream(
            "plain", [(trio.socket.AF_INET, address)], b"h", tls=client_context()
        )
        record = RecordingHooks()
        async with proxying(upstream, record) as proxy, connected(proxy) as client:
            head, _ = await client.ask(method=method(size), body=b"x" * size)
        assert b" 502 " in head
        assert "no TLS" in record.failures[0].detail
        nursery.cancel_scope.cancel()


@paths
async def test_the_handshake_is_a_part_of_connecting(
    authority: Authority, size: int
) -> None:
    async def mute(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, mute, 0, host="127.0.0.1")
        )
        address = listeners[0].socket.getsockname()
        upstream = Upstream(
            "mute", [(trio.socket.AF_INET, address)], b"h", tls=client_context()
        )
        record, limits = RecordingHooks(), Limits(connect_s=0.1)
        async with proxying(upstream, record, limits) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask(method=method(size), body=b"x" * size)
        assert b" 504 " in head
        assert record.failures[0].condition is FailureReason.CONNECT_TIMEOUT
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [True, False], ids=["close_notify", "cut"])
async def test_a_response_until_close_is_whole_if_its_end_is_said(
    authority: Authority, said: bool
) -> None:
    async def until_close(
        server: SecureServer, stream: trio.SSLStream[trio.SocketStream]
    ) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if said:
            stream._https_compatible = False
            with trio.move_on_after(0.2):
                await stream.aclose()

    async with secure_server(until_close, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.head()
            if said:
                assert b"all of it" in await client.until(b"\r\n0\r\n\r\n")
            else:
                body = await client.to_end()
                assert b"all of it" in body
                assert not body.endswith(b"0\r\n\r\n")


async def test_a_kept_connection_that_was_closed_is_not_used(
    authority: Authority,
) -> None:
    async with secure_server(once, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            for _ in range(3):
                assert (await client.ask())[1] == b"ok"
    assert server.connections == 3


async def test_a_tunnel_goes_through(authority: Authority) -> None:
    async def switch(
        server: SecureServer, stream: trio.SSLStream[trio.SocketStream]
    ) -> None:
        await read_request(stream)
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nfirst"
        )
        while data := await stream.receive_some():
            await stream.send_all(data.swapcase())

    async with secure_server(switch, authority) as server:
        upstream = server.upstream(client_context(ca=authority.ca_file))
        async with proxying(upstream) as proxy, connected(proxy) as client:
            await client.send(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n"
            )
            assert b" 101 " in await client.head()
            assert await client.exactly(5) == b"first"
            long = b"\x82\xff" + struct.pack("!QI", 100_001, 0) + b"x" * 100_000 + b"y"
            for text in (b"\x82\x83\0\0\0\0abc", long):
                await client.send(text)
                assert await client.exactly(len(text)) == text.swapcase()
