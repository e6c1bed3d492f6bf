"""Documents of a store become what runs, or are refused and change nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio import ProxyOptions, change, serve, wait_applied
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on


async def test_a_refused_document_is_reported_with_its_paths() -> None:
    async with in_memory_store() as client, proxy_on(client) as proxy:
        good = proxy.revision
        index = (await client.put("canary/web/config", b'{"ratio": 7}')).index
        with trio.fail_after(30):
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
        with trio.fail_after(30):
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
        with trio.fail_after(30):
            await wait_applied(client, "web", revision)
        assert runtime.live is not live
        assert runtime.live is not None
        assert runtime.live.arms["stable"].servers[0] is server


async def test_what_was_remembered_runs_without_a_store(tmp_path: Path) -> None:
    options = {"remember": True, "state": tmp_path, "proxy_id": "p"}
    async with in_memory_store() as client:
        async with proxy_on(client, **options) as proxy:
            revision = proxy.revision
            with trio.fail_after(30):
                while not (tmp_path / "web@p.json").exists():
                    await trio.testing.wait_all_tasks_blocked(0.001)
    async with proxy_on(client, **options) as proxy:
        assert proxy.revision == revision
        assert proxy.status()["remembered"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (base64.b64encode(b"short"), "5 bytes"),
        (base64.b64encode(b"z" * 32) + b" now", "something else"),
        (b"\xff\x00", "not begin with base64"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_refused_and_said(
    value: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_memory_store() as client, trio.open_nursery() as nursery:
        await client.put("canary/web/secret", value)
        options = ProxyOptions(
            config_server=client.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            bootstrap=json.dumps(DOCUMENT).encode(),
            remember=False,
        )
        nursery.start_soon(serve, "web", options)
        with trio.fail_after(30):
            while not any(said in one.message for one in caplog.records):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_stores_that_name_each_other_are_no_move() -> None:
    async with (
        in_memory_store() as one,
        in_memory_store() as two,
        proxy_on(one) as proxy,
    ):
        there = DOCUMENT | {"config_server": one.url, "ratio": 1}
        await two.put("canary/web/config", json.dumps(there).encode())
        here = DOCUMENT | {"config_server": two.url}
        await one.put("canary/web/config", json.dumps(here).encode())
        with trio.fail_after(30):
            while "a circle" not in _store_of(proxy.status())["move_error"]:
                await trio.sleep(0.01)
        assert _store_of(proxy.status())["url"] == one.url

        await two.put("canary/web/config", json.dumps(DOCUMENT).encode())
        with trio.fail_after(30):
            while _store_of(proxy.status())["url"] != two.url:
                await trio.sleep(0.01)


def _store_of(status: Any) -> dict[str, str]:
    store: dict[str, str] = status["store"]
    return store


async def test_servers_that_nobody_verifies_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with in_memory_store() as client, proxy_on(client) as proxy:
        assert "not verified" not in caplog.text
        arm = {"servers": ["https://127.0.0.1:9"], "tls": {"verify": False}}
        arms = DOCUMENT["arms"] | {"canary": arm}
        for ratio in (0.1, 0.2, 0.3):
            document = json.dumps({"arms": arms, "ratio": ratio}).encode()
            index = (await client.put("canary/web/config", document)).index
            with trio.fail_after(30):
                await wait_applied(client, "web", index, until=lambda f: bool(f.live))
        told: Any = proxy.status()["arms"]
        assert {name: one["unverified"] for name, one in told.items()} == {
            "stable": False,
            "canary": True,
        }
    assert (
        caplog.text.count("not verified (tls.verify is false) in the arms: canary") == 1
    )
