"""The supervisor against a real store in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import canary_trio
from canary_trio import Proxy, ProxyOptions, change, read_fleet, serve, wait_applied
from canary_trio.control import acknowledger
from canary_trio.control.documents import write_document
from canary_trio.errors import NoDocument, WrittenMeanwhile
from kv_trio import Client
from kv_trio.testing import in_memory_store

DOCUMENT = {
    "arms": {
        "stable": {"servers": ["http://127.0.0.1:9"]},
        "canary": {"servers": ["http://127.0.0.1:9"]},
    }
}


@asynccontextmanager
async def proxy_on(client: Client, **options: object) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        chosen = ProxyOptions(
            config_server=client.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            bootstrap=json.dumps(DOCUMENT).encode(),
            **{"remember": False, **options},  # type: ignore[arg-type]
        )
        with trio.fail_after(10):
            proxy: Proxy = await nursery.start(serve, "web", chosen)
        yield proxy
        nursery.cancel_scope.cancel()


async def test_a_busy_proxy_keeps_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """News came more often than renewals, and put them off until the session ended."""
    monkeypatch.setattr(acknowledger, "SESSION_TTL_S", 0.3)
    renewed = 0
    renew = Client.renew_session

    async def count(self: Client, id_: str) -> bool:
        nonlocal renewed
        renewed += 1
        return await renew(self, id_)

    async def create(self: Client, name: str, ttl_s: float, *, deletes: bool) -> str:
        assert ttl_s == 0.3
        return await made(self, name, 10, deletes=deletes)

    made = Client.create_session
    monkeypatch.setattr(Client, "renew_session", count)
    monkeypatch.setattr(Client, "create_session", create)
    async with in_memory_store() as client, proxy_on(client):
        with trio.fail_after(10):
            n = 0
            while renewed < 3:
                n += 1
                await change(client, "web", f"update_rate={1 + n % 100}")


async def test_a_session_that_ended_is_begun_anew() -> None:
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        with trio.fail_after(10):
            await wait_applied(
                client, "web", proxy.revision, until=lambda f: bool(f.live)
            )
            entry = (await client.get("canary/web/proxies/p")).entry
            assert entry is not None
            assert entry.session is not None
            await client.destroy_session(entry.session)
            revision = await change(client, "web", "ratio=0.5")
            await wait_applied(client, "web", revision, until=lambda f: bool(f.live))


async def test_a_namesakes_key_is_taken_over() -> None:
    async with in_memory_store() as client:
        old = await client.create_session("of a former life", 10, deletes=True)
        await client.put("canary/web/proxies/p", b"old", acquire=old)
        async with proxy_on(client, proxy_id="p") as proxy:
            with trio.fail_after(10):
                await wait_applied(
                    client, "web", proxy.revision, until=lambda f: bool(f.live)
                )
            states = await client.history("canary/web/proxies/p")
        assert old not in {session.id for session in await client.sessions()}
    assert len(states) >= 2
    assert None not in [state.entry for state in states], "the fleet missed a proxy"


async def test_a_proxy_says_goodbye() -> None:
    async with in_memory_store() as client:
        async with proxy_on(client) as proxy:
            with trio.fail_after(10):
                await wait_applied(
                    client, "web", proxy.revision, until=lambda f: bool(f.live)
                )
        assert (await read_fleet(client, "web", 1)).reports == ()


async def test_a_refused_document_is_reported_with_its_paths() -> None:
    async with in_memory_store() as client, proxy_on(client) as proxy:
        good = proxy.revision
        index = (await client.put("canary/web/config", b'{"ratio": 7}')).index
        with trio.fail_after(10):
            fleet = await wait_applied(
                client, "web", index, until=lambda f: bool(f.refusing)
            )

        assert proxy.revision == good
        assert fleet.refusing[0].failed is not None
        paths = {one.path for one in fleet.refusing[0].failed.problems}
        assert paths == {"$.ratio", "$.arms"}
        status = proxy.status()
        assert (status["running"], status["attempted"]) == (good, index)


async def test_a_deleted_document_changes_nothing() -> None:
    async with in_memory_store() as client, proxy_on(client) as proxy:
        await client.delete("canary/web/config")
        await client.put(
            "canary/web/config", json.dumps(DOCUMENT | {"ratio": 1}).encode()
        )
        with trio.fail_after(10):
            while proxy.config.ratio != {"canary": 10_000}:
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_counters_and_debts_outlive_a_change() -> None:
    async with in_memory_store() as client, proxy_on(client) as proxy:
        runtime = proxy._view.runtime
        live = runtime.live
        assert live is not None
        server = live.arms["stable"].servers[0]
        server.requests = 41
        revision = await change(client, "web", "ratio=0.5")
        with trio.fail_after(10):
            await wait_applied(client, "web", revision)
        assert runtime.live is not live
        assert runtime.live is not None
        assert runtime.live.arms["stable"].servers[0] is server


async def test_what_was_remembered_runs_without_a_store(tmp_path: Path) -> None:
    options = {"remember": True, "state": tmp_path, "proxy_id": "p"}
    async with in_memory_store() as client:
        async with proxy_on(client, **options) as proxy:
            revision = proxy.revision
            with trio.fail_after(10):
                while not (tmp_path / "web@p.json").exists():
                    await trio.testing.wait_all_tasks_blocked(0.001)
    async with proxy_on(client, **options) as proxy:
        assert proxy.revision == revision
        assert proxy.status()["remembered"]


async def test_of_two_writers_the_second_is_told() -> None:
    async with in_memory_store() as client:
        with pytest.raises(NoDocument):
            await change(client, "web", "ratio=0.5")
        first = await write_document(client, "web", DOCUMENT, over=0)
        with pytest.raises(WrittenMeanwhile) as caught:
            await write_document(client, "web", DOCUMENT | {"ratio": 1}, over=0)
        assert caught.value.revision == first


def test_the_public_names_are_these() -> None:
    assert sorted(canary_trio.__all__) == canary_trio.__all__
    for name in canary_trio.__all__:
        assert getattr(canary_trio, name).__doc__
