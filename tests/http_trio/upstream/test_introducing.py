"""A server that is told of each client by the PROXY protocol: our own reader is behind us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from http_trio import (
    Exchange,
    ForwardedPolicy,
    HttpServer,
    IntroducingUpstream,
    Limits,
    ProxyVersion,
    Response,
    Tls,
    client_context,
    fetch,
    serve,
)
from http_trio.testing.peers import RawClient, connected, proxying
from tests.http_trio.proxy.test_hooks import nobody
from tests.http_trio.support.certificates import Authority

V1, V2 = ProxyVersion.V1, ProxyVersion.V2
LARGE = b"x" * 100_000  # more than the event loop holds
LOCAL_NETWORK = ("127.0.0.0/8",)


def shows(exchange: Exchange) -> None:
    """Say who asks, as the header of the connection has it, and over which connection."""
    connection = exchange.connection
    assert connection is not None
    said = connection.said
    assert said.introduced is not None
    assert said.wire is not None
    met = said.introduced
    words = exchange.client, met.port, met.secure, said.wire.getpeername()
    exchange.collect(
        2**20, lambda one, _: one.respond(Response(200, repr(words).encode()))
    )


@asynccontextmanager
async def backend(
    version: ProxyVersion, tls: Tls | None = None, ca: str | None = None
) -> AsyncIterator[tuple[HttpServer, IntroducingUpstream]]:
    policy = ForwardedPolicy(trusted=LOCAL_NETWORK, proxy_protocol=True)
    start = partial(serve, shows, ["127.0.0.1:0"], forwarding=policy, tls=tls)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        port = int(server.addresses[0].rpartition(":")[2])
        addresses = [*nobody().addresses, (trio.socket.AF_INET, ("127.0.0.1", port))]
        upstream = IntroducingUpstream(
            "backend",
            addresses,
            b"localhost",
            version=version,
            tls=None if ca is None else client_context(ca=ca),
        )
        yield server, upstream
        nursery.cancel_scope.cancel()


@attrs.frozen
class Seen:
    """What the server says of a request."""

    client: str
    port: int
    secure: bool
    connection: tuple[str, int]


async def ask(client: RawClient, *lines: bytes, body: bytes = b"") -> Seen:
    method = b"POST" if body else b"GET"
    head, said = await client.ask(b"/", *lines, method=method, body=body)
    assert head.startswith(b"HTTP/1.1 200"), head
    return Seen(*eval(said.decode()))  # a tuple, by ourselves


def port_of(client: RawClient) -> int:
    name: tuple[str, int] = client.stream.socket.getsockname()
    return name[1]


@pytest.mark.parametrize("body", [b"", LARGE], ids=["event loop", "slow path"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("version", ProxyVersion)
async def test_each_client_has_its_own_connection_and_keeps_it(
    tmp_path: Path, version: ProxyVersion, tls: bool, body: bytes
) -> None:
    authority = Authority(tmp_path)
    served = Tls(*authority.issue(stem="backend")) if tls else None
    ca = str(authority.ca_file) if tls else None
    async with (
        backend(version, served, ca) as (_, upstream),
        proxying(upstream) as front,
        connected(front) as one,
        connected(front) as other,
    ):
        seen = [await ask(client, body=body) for client in (one, other, one, other)]
        for client, found in zip((one, other, one, other), seen, strict=True):
            assert (found.client, found.port) == ("127.0.0.1", port_of(client))
            assert not found.secure
        assert seen[0].connection == seen[2].connection
        assert seen[1].connection == seen[3].connection
        assert seen[0].connection != seen[1].connection


async def test_who_is_gone_leaves_no_connection() -> None:
    async with (
        backend(V2) as (server, upstream),
        proxying(upstream) as front,
        connected(front) as stays,
    ):
        await ask(stays)
        async with connected(front) as leaves:
            await ask(leaves)
            assert (upstream.open, len(upstream.lanes)) == (2, 2)
        with trio.fail_after(30):
            while server.connections > 1:
                await trio.sleep(0.01)
        assert (upstream.open, len(upstream.idle), len(upstream.lanes)) == (1, 1, 1)


async def test_the_client_that_trusted_balancers_name_is_told() -> None:
    policy = ForwardedPolicy(trusted=LOCAL_NETWORK)
    async with (
        backend(V2) as (_, upstream),
        proxying(upstream, clients=policy) as front,
        connected(front) as balancer,
    ):
        by = b"X-Forwarded-Proto: https"
        one = await ask(balancer, b"X-Forwarded-For: 192.0.2.1", by)
        other = await ask(balancer, b"X-Forwarded-For: 2001:db8::1")
        again = await ask(balancer, b"X-Forwarded-For: 192.0.2.1", by)
        hidden = await ask(balancer, b"X-Forwarded-For: unknown")
    assert (one.client, one.port, one.secure) == ("192.0.2.1", 0, True)
    assert (other.client, other.secure) == ("2001:db8::1", False)
    assert hidden.client == "unknown"  # by the field, since the header names nobody
    assert one.connection == again.connection != other.connection


async def test_what_waits_for_others_makes_way() -> None:
    limits = Limits(upstream_connections=2, upstream_idle=2)
    async with backend(V2) as (_, upstream), proxying(upstream, limits=limits) as front:
        async with (
            connected(front) as one,
            connected(front) as two,
            connected(front) as three,
        ):
            first = await ask(one)
            for client in (two, three, two):
                await ask(client)
            assert upstream.open == len(upstream.idle) == len(upstream.lanes) == 2
            assert (await ask(one)).connection != first.connection


async def test_many_connections_of_one_client_go_with_it() -> None:
    """A client of several streams has several connections at a time, all of one lane."""
    async with backend(V2) as (_, upstream), proxying(upstream) as front:
        loop = front.loop
        lead = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        begun = [upstream.connect(loop, lead) for _ in range(3)]
        assert (upstream.open, len(upstream.lanes)) == (3, 1)
        assert len(set(map(id, begun))) == 3
        upstream.close_idle()
        for one in begun:
            one.close()  # type: ignore[union-attr]
        assert (upstream.open, upstream.lanes, upstream.idle) == (0, {}, {})


async def test_a_server_that_cannot_be_had_leaves_no_lane() -> None:
    async with proxying(IntroducingUpstream("none", [], b"a", version=V2)) as front:
        upstream = IntroducingUpstream("none", [], b"a", version=V2)
        upstream.connect(front.loop, b"PROXY UNKNOWN\r\n")
        assert upstream.lanes == {}


@pytest.mark.parametrize("version", ProxyVersion)
async def test_a_check_is_for_nobody(version: ProxyVersion) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with backend(version) as (_, upstream):
        found = await fetch(upstream, request, method=b"GET", keep_body=True)
        assert found.body.startswith(b"('127.0.0.1', 0, False")
