"""A listener at its limits: it waits, and accepts again."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from functools import partial

import pytest
import trio
import trio.testing

from http_trio import BadBind, Exchange, ForwardedPolicy, Limits, Response, serve
from http_trio.testing.peers import RawClient, connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


class Parking:
    """A handler that responds when it is told to."""

    def __init__(self) -> None:
        self.parked: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        if exchange.target == b"/slow":
            self.parked.append(exchange)
            exchange.park(60.0, lambda _: None)
        else:
            hello(exchange)


async def test_above_the_connection_limit_nobody_is_accepted_until_one_ends() -> None:
    handler = Parking()
    async with serving(handler, Limits(connections=2)) as server:
        async with connected(server) as first, connected(server) as second:
            for client in (first, second):
                await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            while len(handler.parked) < 2:
                await trio.sleep(0.01)
            async with connected(server) as late:
                await late.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
                with trio.move_on_after(1.2) as waited:
                    await late.response()
                assert waited.cancelled_caught
                assert server.connections == 2
                handler.parked[0].respond(Response(200, b""))
                await first.response()
                await first.stream.aclose()
                assert (await late.response())[1] == b"hello /late"


async def test_above_the_connection_limit_the_idlest_makes_way() -> None:
    async with serving(hello, Limits(connections=2)) as server:
        async with connected(server) as idle, connected(server) as active:
            await idle.ask()
            await active.ask()
            async with connected(server) as late:
                assert (await late.ask(b"/late"))[1] == b"hello /late"
                assert (await active.ask(b"/a"))[1] == b"hello /a"
                assert await idle.to_end() == b""


async def test_running_out_of_descriptors_costs_no_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(hello) as server, contextlib.AsyncExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        try:
            streams: list[RawClient] = []
            with contextlib.suppress(OSError):
                for _ in range(30):
                    client = await stack.enter_async_context(connected(server))
                    streams.append(client)
            while "accepts nothing" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in streams:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


async def test_nobody_waits_behind_a_crowd_to_hear_that_there_is_no_room() -> None:
    """Those who are turned away linger, each for two seconds, but not before others."""
    handler = Parking()
    overload = Response(503, b"full")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, overload=overload, limits=Limits(connections=1)),
            handler,
            ["127.0.0.1:0"],
        )
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(connected(server))
            await first.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            while not handler.parked:
                await trio.sleep(0.01)
            for _ in range(700):
                await stack.enter_async_context(connected(server))
            async with connected(server) as late:
                with trio.fail_after(30):
                    assert (await late.response())[1] == b"full"
            handler.parked[0].respond(Response(200, b"kept"))
            assert (await first.response())[1] == b"kept"
        nursery.cancel_scope.cancel()


async def test_an_ipv4_client_of_a_socket_for_both_families_has_its_own_address() -> (
    None
):
    def show(exchange: Exchange) -> None:
        exchange.respond(Response(200, exchange.client.encode()))

    with socket.socket(socket.AF_INET6) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen()
        both.setblocking(False)
        port = both.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, show, [both])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert (await RawClient(stream).ask())[1] == b"127.0.0.1"
            nursery.cancel_scope.cancel()


HELLO = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
NAMED = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
BY_TLS = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\x02\x07\x0a\0\0\x01\0\0\0\0"
    b"\x20\0\x05\x01\0\0\0\0"
)


def names(exchange: Exchange) -> None:
    exchange.respond(Response(200, f"{exchange.client} {exchange.secure}".encode()))


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("kind", ["binds", "h2c_binds"])
@pytest.mark.parametrize(
    ("header", "said"),
    [
        (NAMED, b"192.0.2.7 False"),
        (BY_TLS, b"192.0.2.7 True"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1 False"),
    ],
    ids=["v1", "v2", "unknown"],
)
async def test_a_balancer_names_the_client(
    header: bytes, said: bytes, kind: str, in_pieces: bool
) -> None:
    clients = ForwardedPolicy(trusted=("127.0.0.0/8",), proxy_protocol=True)
    binds: dict[str, list[str]] = {"binds": [], kind: ["127.0.0.1:0"]}
    async with trio.open_nursery() as nursery:
        start = partial(serve, names, forwarding=clients, **binds)  # type: ignore[arg-type]
        server = await nursery.start(start)
        async with connected(server) as client:
            data = header + HELLO
            size = 7 if in_pieces else len(data)
            for at in range(0, len(data), size):
                await client.send(data[at : at + size])
                await trio.testing.wait_all_tasks_blocked(0.002)
            assert (await client.to_end()).partition(b"\r\n\r\n")[2] == said
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("trusted", "data", "why"),
    [
        ("10.0.0.0/8", NAMED + HELLO, "PROXY protocol: its address is not trusted"),
        ("127.0.0.0/8", HELLO, "PROXY protocol: "),
        ("127.0.0.0/8", NAMED[:7], "PROXY protocol: no whole header came in time"),
    ],
)
async def test_nobody_else_names_a_client_and_that_is_told(
    trusted: str, data: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    clients = ForwardedPolicy(trusted=(trusted,), proxy_protocol=True)
    limits = Limits(head_s=0.3)
    async with serving(names, clients=clients, limits=limits) as server:
        for _ in range(3):
            async with connected(server) as client:
                await client.send(data)
                assert await client.to_end() == b""
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert f" closed 127.0.0.1: {why}" in told.getMessage()
    assert told.__dict__["kind"] == "client"


@pytest.mark.parametrize("sent", [0, 7, len(NAMED) - 1])
@pytest.mark.parametrize("kind", ["binds", "h2c_binds"])
async def test_who_is_being_introduced_in_a_drain_is_served(
    sent: int, kind: str
) -> None:
    clients = ForwardedPolicy(trusted=("127.0.0.0/8",), proxy_protocol=True)
    binds: dict[str, list[str]] = {"binds": [], kind: ["127.0.0.1:0"]}
    async with trio.open_nursery() as nursery:
        start = partial(serve, names, forwarding=clients, **binds)  # type: ignore[arg-type]
        server = await nursery.start(start)
        async with connected(server) as client:
            data = NAMED + HELLO
            await client.send(data[:sent])
            while not server.connections:
                await trio.sleep(0.01)
            server.drain(10)
            await trio.testing.wait_all_tasks_blocked(0.002)
            await client.send(data[sent:])
            said = (await client.to_end()).partition(b"\r\n\r\n")[2]
            assert said == b"192.0.2.7 False"


async def test_one_address_alone_may_begin_with_the_header() -> None:
    clients = ForwardedPolicy(trusted=("127.0.0.0/8",))
    binds = ["127.0.0.1:0,proxy", "127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, names, binds, forwarding=clients))
        said = []
        for address, data in zip(server.addresses, (NAMED + HELLO, HELLO), strict=True):
            host, _, port = address.rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                client = RawClient(stream)
                await client.send(data)
                said.append((await client.to_end()).partition(b"\r\n\r\n")[2])
        nursery.cancel_scope.cancel()
    assert said == [b"192.0.2.7 False", b"127.0.0.1 False"]


@pytest.mark.parametrize("kind", ["binds", "h2c_binds"])
async def test_nobody_could_be_served_without_trust(kind: str) -> None:
    binds: dict[str, list[str]] = {"binds": [], kind: ["127.0.0.1:0,proxy"]}
    with pytest.raises(BadBind, match=r"127.0.0.1:\d+,proxy .*--trust"):
        await serve(names, **binds)  # type: ignore[arg-type]
