"""The documented uses of the packages, as a type checker sees them; `mypy` checks this file.

Nobody runs it. Each `assert_type` is a promise to who imports a package: where it fails, a
signature has changed for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

import attrs
import trio

import canary_trio
import http_trio
import kv_trio


@attrs.frozen
class Flags:
    """A type of a user's own."""

    new_checkout: bool = False


def handle(exchange: http_trio.Exchange) -> None:
    assert_type(exchange.method, str)
    assert_type(exchange.path, bytes)
    assert_type(exchange.query, bytes)
    assert_type(exchange.header(b"accept"), bytes | None)
    assert_type(exchange.headers(b"accept"), list[bytes])
    assert_type(exchange.client, str)
    assert_type(exchange.secure, bool)
    assert_type(exchange.client_certificate, http_trio.Certificate | None)
    exchange.respond(http_trio.Response(200, b"hello"))
    exchange.collect(1024, with_body)
    exchange.park(20.0, lambda exchange: exchange.respond(http_trio.Response(204)))


def with_body(exchange: http_trio.Exchange, body: bytes) -> None:
    exchange.spawn(later)


async def later(exchange: http_trio.Exchange) -> None:
    exchange.respond(http_trio.error_response(503, "later", retry_after_s=1))


async def serve_http(nursery: trio.Nursery) -> None:
    handler: http_trio.Handler = handle
    server: http_trio.HttpServer = await nursery.start(
        http_trio.serve, handler, ["127.0.0.1:0"]
    )
    assert_type(server.url, str)
    assert_type(server.addresses, tuple[str, ...])
    assert_type(server.connections, int)
    server.drain(5.0)
    assert_type(http_trio.as_asgi(handle), http_trio.AsgiApp)


async def use_store() -> None:
    async with kv_trio.Client("http://127.0.0.1:8500") as client:
        assert_type(client, kv_trio.Client)
        assert_type(await client.put("a", b"1", cas=0), kv_trio.WriteResult)
        snapshot = await client.get("a")
        assert_type(snapshot, kv_trio.Snapshot)
        assert_type(snapshot.entry, kv_trio.Entry | None)
        listing = await client.list("a/")
        assert_type(listing, kv_trio.Listing)
        assert_type([one.value for one in listing.entries], list[bytes])
        done = await client.transact([kv_trio.TxnOperation("set", "a", b"1")])
        assert_type(done, kv_trio.TransactionResult)
        async with client.watch("a") as states:
            assert_type(await anext(states), kv_trio.Snapshot)
        async with kv_trio.live(client, "flags", Flags) as flags:
            assert_type(flags, kv_trio.Live[Flags])
            assert_type(flags.current, Flags)
            assert_type(flags.current.new_checkout, bool)
            assert_type(await flags.changed(), Flags)
            assert_type(flags.invalid, kv_trio.Invalid | None)


async def use_etcd() -> None:
    async with kv_trio.EtcdClient("etcd://127.0.0.1:2379") as client:
        assert_type(await client.put("a", b"1"), kv_trio.WriteResult)
        async with kv_trio.live(client, "flags", Flags) as flags:
            assert_type(flags.current, Flags)


async def use_proxy(nursery: trio.Nursery, client: kv_trio.Client) -> None:
    options = canary_trio.ProxyOptions(binds=["127.0.0.1:0"], admin=None)
    proxy: canary_trio.Proxy = await nursery.start(canary_trio.serve, "web", options)
    assert_type(proxy.url, str)
    note = canary_trio.Note(author="ann", message="why")
    revision = await canary_trio.change(client, "web", "ratio=0.5", note=note)
    assert_type(revision, int)
    fleet = await canary_trio.wait_applied(client, "web", revision)
    assert_type(fleet, canary_trio.Fleet)
    assert_type(fleet.reports, tuple[canary_trio.Report, ...])
    assert_type(await canary_trio.read_history(client, "web"), canary_trio.ChangeLog)
    assert_type(await canary_trio.read_revision(client, "web", 41), bytes)


def read_document(data: bytes) -> str:
    try:
        config = canary_trio.load(data)
    except canary_trio.InvalidConfig as exc:
        assert_type(exc.problems, tuple[canary_trio.Problem, ...])
        raise
    assert_type(config, canary_trio.Config)
    assert_type(config.arms, Mapping[str, canary_trio.Arm])
    assert_type(config.style, canary_trio.Style)
    assert_type(config.sticky_sessions, canary_trio.Sticky | None)
    assert_type(config.rules, tuple[canary_trio.Rule, ...])
    assert_type(config.rollout, canary_trio.Rollout | None)
    for arm in config.arms.values():
        assert_type(arm.servers, tuple[canary_trio.Server, ...])
        assert_type(arm.balance, canary_trio.Balance)
    if config.rollout is not None and config.rollout.state is not None:
        assert_type(config.rollout.state.phase, canary_trio.Phase)
        assert_type(config.rollout.steps, tuple[canary_trio.RolloutStep, ...])
        assert_type(config.rollout.judge, canary_trio.JudgeRules | None)
    return canary_trio.dump(config)
