"""A server with several addresses: all are used, and one that refuses fails nobody."""

from __future__ import annotations

import pytest

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
