"""A server with several addresses: all are used, and one that refuses fails nobody."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio

from http_trio import Upstream
from http_trio.testing.peers import (
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
)
from tests.http_trio.proxy.test_hooks import nobody

LARGE = b"x" * 100_000  # more than the event loop holds


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok", b"Connection: close")
    await asked.stream.aclose()


@pytest.mark.parametrize("body", [b"", LARGE], ids=["event loop", "slow path"])
async def test_one_that_refuses_fails_no_request(body: bytes) -> None:
    async with fake_upstream(ok) as fake:
        addresses = [*nobody().addresses, *nobody().addresses]
        addresses += fake.upstream.addresses
        record = RecordingHooks()
        async with proxying(Upstream("all", addresses, b"all"), record) as server:
            for _ in range(4):
                async with connected(server) as client:
                    head, _ = await client.ask(method=b"POST", body=body)
                    assert head.startswith(b"HTTP/1.1 200")

    assert record.failures == []
    assert [status for status, _ in record.ends] == [200] * 4


@pytest.mark.parametrize("body", [b"", LARGE], ids=["event loop", "slow path"])
async def test_if_all_refuse_the_hooks_are_told_once(body: bytes) -> None:
    addresses = [*nobody().addresses, *nobody().addresses]
    record = RecordingHooks()
    async with (
        proxying(Upstream("all", addresses, b"all"), record) as server,
        connected(server) as client,
    ):
        head, _ = await client.ask(method=b"POST", body=body)

    assert head.startswith(b"HTTP/1.1 502")
    assert len(record.failures) == 1
    assert not record.failures[0].sent


async def test_connections_begin_at_each_address_in_turn() -> None:
    async with fake_upstream(ok) as one, fake_upstream(ok) as other:
        addresses = [*one.upstream.addresses, *other.upstream.addresses]
        async with proxying(Upstream("both", addresses, b"both")) as server:
            for _ in range(6):
                async with connected(server) as client:
                    await client.ask()

    assert (one.connections, other.connections) == (3, 3)


async def test_one_that_refused_is_tried_last_for_a_while() -> None:
    async with fake_upstream(ok) as fake:
        bad, good = nobody().addresses[0], fake.upstream.addresses[0]
        upstream = Upstream("both", [bad, good], b"both")
        upstream.shun(bad, now=100.0)
        for now, expected in [(101.0, good), (111.0, bad)]:
            sock, address = upstream.open_socket(now, ())
            sock.close()
            assert address == expected


async def test_idle_connections_to_addresses_that_are_gone_are_closed() -> None:
    async def keeping(asked: ReceivedRequest) -> None:
        await asked.response(b"ok")

    async with fake_upstream(keeping) as one, fake_upstream(keeping) as other:
        upstream = one.upstream
        async with proxying(upstream) as server, connected(server) as client:
            await client.ask()
            assert len(upstream.idle) == 1
            upstream.move_to(upstream.addresses)
            assert len(upstream.idle) == 1
            upstream.move_to(other.upstream.addresses)
            assert len(upstream.idle) == 0
            await client.ask()

    assert (len(one.asked), len(other.asked)) == (1, 1)


def _to_another_address(upstream: Upstream) -> None:
    upstream.move_to([(socket.AF_INET, ("127.0.0.2", upstream.addresses[0][1][1]))])


def _back(upstream: Upstream) -> None:
    upstream.move_to([*upstream.addresses, (socket.AF_INET, ("127.0.0.2", 1))])


@pytest.mark.parametrize(
    ("change", "kept"),
    [(_to_another_address, 0), (_back, 1), (Upstream.close_idle, 0)],
)
async def test_a_busy_connection_that_is_outdated_meanwhile_is_closed_when_it_is_over(
    change: Callable[[Upstream], None], kept: int
) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow(asked: ReceivedRequest) -> None:
        begun.set()
        await go_on.wait()
        await asked.response(b"ok")

    async with fake_upstream(slow) as fake:
        upstream = fake.upstream
        async with proxying(upstream) as server, connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await begun.wait()
            change(upstream)
            go_on.set()
            assert (await client.response())[1] == b"ok"
            assert (len(upstream.idle), upstream.open) == (kept, kept)
