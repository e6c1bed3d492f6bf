"""What runs is told to the fleet, whatever happens to the session that holds it."""

from __future__ import annotations

import pytest
import trio

from canary_trio import change, read_fleet, wait_applied
from canary_trio.control import acknowledger
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on


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
