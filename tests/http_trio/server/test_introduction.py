"""What a server is told of a client: who rules and logs say it is, and how it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from http_trio import (
    Exchange,
    ForwardedPolicy,
    HttpServer,
    ProxyVersion,
    Response,
    Tls,
    introduce,
    serve,
)
from http_trio.hosts.proxy_protocol import ProxyHeader, parse_proxy_header
from http_trio.testing.peers import RawClient
from tests.http_trio.support.certificates import Authority, tls_client

TRUSTED = ForwardedPolicy(trusted=("127.0.0.0/8",))


def tells(exchange: Exchange) -> None:
    exchange.respond(Response(200, introduce(exchange, ProxyVersion.V2)))


@asynccontextmanager
async def telling(bind: str = "127.0.0.1:0", **how: Any) -> AsyncIterator[HttpServer]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, tells, [bind], **how))
        yield server
        nursery.cancel_scope.cancel()


def port_of(server: HttpServer) -> int:
    return int(server.addresses[0].rpartition(":")[2])


async def told(client: RawClient, *lines: bytes) -> ProxyHeader:
    head, header = await client.ask(b"/", *lines)
    assert head.startswith(b"HTTP/1.1 200")
    found = parse_proxy_header(header)
    assert found is not None
    return found


async def test_the_ends_of_its_connection() -> None:
    async with telling() as server:
        async with await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
            found = await told(RawClient(stream))
            here = stream.socket.getsockname()
    assert (found.address, found.port) == here
    assert found.destination == ("127.0.0.1", port_of(server))
    assert not found.secure


async def test_nobody_by_a_unix_socket(tmp_path: Path) -> None:
    async with telling(f"unix:{tmp_path}/s"):
        async with await trio.open_unix_socket(f"{tmp_path}/s") as stream:
            found = await told(RawClient(stream))
    assert (found.address, found.destination) == (None, None)


async def test_its_handshake_and_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "clients").mkdir()
    ours, clients = Authority(tmp_path), Authority(tmp_path / "clients")
    tls = Tls(*ours.issue(), client_ca=clients.ca_file, client_required=False)
    context = ours.trusting("http/1.1")
    async with telling(tls=tls) as server:
        async with tls_client(port_of(server), context) as client:
            bare = await told(client)
        without, showing = await raw_headers(server, ours, clients)
    assert bare.secure
    assert (bare.alpn, bare.authority) == (b"http/1.1", b"localhost")
    assert b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3" in without
    assert b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x03web" in showing


async def raw_headers(
    server: HttpServer, ours: Authority, clients: Authority
) -> tuple[bytes, bytes]:
    """Give the headers of a client without a certificate, and of one who shows it."""
    found = []
    for shows in (False, True):
        context = ours.trusting("http/1.1")
        if shows:
            context.load_cert_chain(*clients.issue("a", stem="web", common_name="web"))
        async with tls_client(port_of(server), context) as client:
            found.append((await client.ask())[1])
    return found[0], found[1]


async def test_who_trusted_balancers_name_and_nothing_of_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = Tls(*authority.issue())
    async with telling(tls=tls, forwarding=TRUSTED) as server:
        async with tls_client(port_of(server), authority.trusting()) as balancer:
            named = b"X-Forwarded-For: 2001:db8::7"
            plain = await told(balancer, named, b"X-Forwarded-Proto: http")
            secure = await told(balancer, named)
    for found in (plain, secure):
        assert (found.address, found.port) == ("2001:db8::7", 0)
        assert (found.alpn, found.authority) == (b"", b"")
        assert found.destination == ("127.0.0.1", port_of(server))
    assert (plain.secure, secure.secure) == (False, True)


@pytest.mark.parametrize(
    ("header", "address", "port", "to"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", "192.0.2.7", 4711, "10.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", None, "127.0.0.1"),
    ],
)
async def test_what_a_balancer_says_goes_on(
    header: bytes, address: str, port: int | None, to: str
) -> None:
    async with telling("127.0.0.1:0,proxy", forwarding=TRUSTED) as server:
        async with await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
            await stream.send_all(header)
            found = await told(RawClient(stream))
            here = stream.socket.getsockname()[1]
    assert (found.address, found.port) == (address, here if port is None else port)
    assert found.destination is not None
    assert found.destination[0] == to
