"""Real proxies and gateways take back on a real store what nobody confirms."""

from __future__ import annotations

import json
from typing import Any

import trio

from canary_trio import Proxy, ProxyOptions, serve
from canary_trio.control.changes.confirming import confirm, write_unconfirmed
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.reading import read_document
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

PATIENCE_S = 30.0
TABLE = {"routes": [{"host": "a.org", "service": "web"}]}


async def until_gone(store: Client, name: str) -> dict[str, Any]:
    """Wait until nothing waits of a service; give its document."""
    with trio.fail_after(PATIENCE_S):
        async with store.watch(f"canary/{name}/pending") as states:
            async for snapshot in states:
                if snapshot.entry is None:
                    break
    document: dict[str, Any] = json.loads((await read_document(store, name))[0])
    return document


async def until_shown(proxy: Proxy, service: str, *, waits: bool) -> Any:
    with trio.fail_after(PATIENCE_S):
        while True:
            status: Any = proxy.status()
            shown = status["services"].get(service, status)
            if (shown["pending"] is not None) == waits:
                return shown
            await trio.sleep(0.01)


async def test_a_proxy_takes_back_what_nobody_confirms() -> None:
    async with in_memory_store() as store, proxy_on(store) as proxy:
        _, first = await read_document(store, "web")
        changed = {**DOCUMENT, "ratio": 0.5}
        second, _ = await write_unconfirmed(
            store, "web", changed, over=first, within_s=3
        )
        shown = await until_shown(proxy, "web", waits=True)
        assert (shown["pending"]["revision"], shown["pending"]["back_to"]) == (
            second,
            first,
        )
        assert 0 < shown["pending"]["left_s"] <= 3
        assert await until_gone(store, "web") == DOCUMENT
        shown = await until_shown(proxy, "web", waits=False)
        with trio.fail_after(PATIENCE_S):
            while proxy.revision <= second:
                await trio.sleep(0.01)


async def test_what_is_confirmed_stays_and_nobody_drives_any_more() -> None:
    async with in_memory_store() as store, proxy_on(store) as proxy:
        _, first = await read_document(store, "web")
        changed = {**DOCUMENT, "ratio": 0.5}
        await write_unconfirmed(store, "web", changed, over=first, within_s=60)
        with trio.fail_after(PATIENCE_S):
            while (await store.get("canary/web/driver")).entry is None:
                await trio.sleep(0.01)
        await confirm(store, "web")
        assert await until_gone(store, "web") == changed
        await until_shown(proxy, "web", waits=False)
        with trio.fail_after(PATIENCE_S):
            while (await store.get("canary/web/driver")).entry is not None:
                await trio.sleep(0.01)


async def test_a_gateway_takes_back_its_table_and_its_services() -> None:
    async with in_memory_store() as store, trio.open_nursery() as nursery:
        await write_document(store, "web", DOCUMENT, over=0)
        await write_document(store, "@edge", TABLE, over=0)
        options = ProxyOptions(
            config_server=store.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            remember=False,
        )
        with trio.fail_after(PATIENCE_S):
            proxy: Proxy = await nursery.start(serve, "@edge", options)
        for name, good, changed in (
            ("web", DOCUMENT, {**DOCUMENT, "ratio": 0.5}),
            ("@edge", TABLE, {**TABLE, "update_rate": 7}),
        ):
            _, over = await read_document(store, name)
            await write_unconfirmed(store, name, changed, over=over, within_s=2)
            shown = await until_shown(proxy, name, waits=True)
            assert shown["pending"]["back_to"] == over
            assert await until_gone(store, name) == good
            await until_shown(proxy, name, waits=False)
        nursery.cancel_scope.cancel()
