"""A place at a server is for who is ready to be sent, and not all of them for one client."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio

from canary_trio.proxy.handler import ProxyHandler
from canary_trio.testing import Proxied, arm, proxied, says_stable
from http_trio import ForwardedPolicy, Limits, serve
from http_trio.testing.peers import RawClient, ReceivedRequest, connected, fake_upstream

POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n"
EXPECT = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")


async def silent(asked: ReceivedRequest) -> None:
    """Answer only who is quiet."""
    if asked.path != b"/quiet":
        await trio.sleep_forever()
    await asked.response(b"ok")


@contextlib.asynccontextmanager
async def client_at(proxy: Proxied, address: str) -> AsyncIterator[RawClient]:
    """Connect from another address of this machine."""
    host, _, port = proxy.server.addresses[0].rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port), local_address=address)
    async with stream:
        yield RawClient(stream)


async def reset(client: RawClient) -> None:
    """Leave so that it is seen: a client that only ends its sending may still read."""
    linger = struct.pack("ii", 1, 0)
    client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await trio.aclose_forcefully(client.stream)


async def settle() -> None:
    await trio.sleep(0.05)


@pytest.mark.parametrize("size", [10, 60_000])
async def test_a_body_that_is_not_here_has_no_place(size: int) -> None:
    async with fake_upstream(says_stable) as fake:
        limits = {"in_flight": 2}
        async with proxied({"stable": arm(fake, limits=limits)}, ratio=0) as proxy:
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(connected(proxy.server))
                    for _ in range(5)
                ]
                for client in clients:
                    await client.send(POST % size + b"x")
                await settle()
                assert proxy.in_flight == 0
                async with connected(proxy.server) as quiet:
                    head, _ = await quiet.ask(b"/quiet")
                assert b" 200 " in head
                await clients[-1].send(b"x" * (size - 1))
                head, _ = await clients[-1].response()
                assert b" 200 " in head
            await settle()
            assert proxy.in_flight == 0
            assert len(fake.asked[-1].body) == size


async def test_a_long_upload_may_be_answered_early() -> None:
    async def refuse(asked: ReceivedRequest) -> None:
        raise AssertionError(f"the body of {asked.path!r} is never here")

    async def answer_early(stream: trio.SocketStream) -> None:
        await RawClient(stream).head()
        await stream.send_all(b"HTTP/1.1 413 Long\r\nContent-Length: 3\r\n\r\nbig")

    async with fake_upstream(refuse) as fake:
        fake.raw = answer_early
        async with proxied({"stable": arm(fake)}, ratio=0) as proxy:
            async with connected(proxy.server) as client:
                await client.send(POST % 200_000 + b"x" * 1000)
                with trio.fail_after(30):
                    head, body = await client.response()
                assert b" 413 " in head
                assert body == b"big"


@pytest.mark.parametrize(
    "start",
    [
        CHUNKED + b"1\r\nx\r\n",
        EXPECT % 70_000,
        POST % 70_000 + b"x",
        POST % 10_000_000 + b"x",
    ],
)
async def test_where_places_are_short_only_who_is_ready_gets_one(start: bytes) -> None:
    async with fake_upstream(silent) as fake:
        limits = {"in_flight": 8, "client_share": 1}
        async with proxied({"stable": arm(fake, limits=limits)}, ratio=0) as proxy:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(20):
                    client = await stack.enter_async_context(connected(proxy.server))
                    await client.send(start)
                await settle()
                assert proxy.in_flight == 4
                async with connected(proxy.server) as quiet:
                    head, _ = await quiet.ask(b"/quiet")
                assert b" 200 " in head
            await settle()
            assert proxy.in_flight == 0


async def test_one_address_leaves_places_for_others() -> None:
    async with fake_upstream(silent) as fake:
        limits = {"in_flight": 8, "pending": 4}
        async with proxied({"stable": arm(fake, limits=limits)}, ratio=0) as proxy:
            server = proxy.server_state("stable")
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(connected(proxy.server))
                    for _ in range(20)
                ]
                for client in clients:
                    await client.send(GET % b"")
                    await settle()
                assert (server.in_flight, len(server.queue or ())) == (6, 3)
                head, _ = await clients[-1].response()
                assert b" 503 " in head

                async with client_at(proxy, "127.0.0.2") as quiet:
                    for _ in range(3):
                        head, _ = await quiet.ask(b"/quiet")
                        assert b" 200 " in head
                assert (server.in_flight, len(server.queue or ())) == (6, 3)
                for client in clients:
                    await reset(client)
            await settle()
            assert (server.in_flight, len(server.queue or ())) == (0, 0)
            assert not server.shares


async def test_a_trusted_balancer_is_not_one_client() -> None:
    trusted = (ipaddress.ip_network("127.0.0.0/8"),)
    async with fake_upstream(silent) as fake:
        limits = {"in_flight": 8, "pending": 0}
        async with proxied({"stable": arm(fake, limits=limits)}, ratio=0) as proxy:
            handler = ProxyHandler(proxy.runtime)
            async with trio.open_nursery() as nursery:
                balanced = await nursery.start(
                    lambda task_status: serve(
                        handler,
                        ["127.0.0.1:0"],
                        limits=Limits(),
                        forwarding=ForwardedPolicy(trusted=trusted),
                        task_status=task_status,
                    )
                )
                async with contextlib.AsyncExitStack() as stack:
                    for at in range(8):
                        client = await stack.enter_async_context(connected(balanced))
                        said = b"X-Forwarded-For: 203.0.113.9, 192.0.2.%d\r\n" % at
                        await client.send(GET % said)
                        await settle()
                        stack.push_async_callback(reset, client)
                    assert proxy.in_flight == 8
                await settle()
                async with contextlib.AsyncExitStack() as stack:
                    for at in range(8):
                        client = await stack.enter_async_context(connected(balanced))
                        said = b"X-Forwarded-For: 192.0.2.%d, 203.0.113.9\r\n" % at
                        await client.send(GET % said)
                        await settle()
                    assert proxy.in_flight == 6
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("refused", [False, True], ids=["leaves", "breaks the rules"])
async def test_who_ends_before_it_is_ready_is_told_once(refused: bool) -> None:
    async with fake_upstream(says_stable) as fake:
        limits = {"in_flight": 1}
        async with proxied({"stable": arm(fake, limits=limits)}, ratio=0) as proxy:
            async with connected(proxy.server) as client:
                start = CHUNKED + b"1\r\nx\r\n" if refused else POST % 10 + b"x"
                await client.send(start)
                await settle()
                assert proxy.in_flight == 0
                if refused:
                    await client.send(b"no size\r\n")
                    head, _ = await client.response()
                    assert b" 400 " in head
            await settle()
            assert proxy.in_flight == 0
            assert proxy.counts("stable")[0] == 1
            assert not fake.asked
