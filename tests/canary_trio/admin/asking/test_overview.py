"""A service as the store and a fleet of two proxies show it, with one request of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from canary_trio.admin.asking.arm_table import arm_rows
from canary_trio.admin.asking.client import AdminCredentials
from canary_trio.admin.asking.overview import (
    Overview,
    ask_admins,
    read_overview,
    status_of,
    unreached,
)
from canary_trio.errors import NoDocument
from kv_trio import Client, Listing, Snapshot
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on


class CountingStore:
    """A store, and what it was asked."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.asked: list[str] = []

    async def get(self, key: str) -> Snapshot:
        self.asked.append(key)
        return await self.client.get(key)

    async def list(self, prefix: str) -> Listing:
        self.asked.append(prefix)
        return await self.client.list(prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@asynccontextmanager
async def fleet() -> AsyncIterator[tuple[CountingStore, Overview]]:
    async with (
        in_memory_store() as client,
        proxy_on(client, proxy_id="one") as one,
        proxy_on(client, proxy_id="two") as two,
    ):
        store = CountingStore(client)
        async with httpx.AsyncClient() as user:
            for proxy, times in ((one, 1), (two, 2)):
                for _ in range(times):
                    await user.get(proxy.url)
        with trio.fail_after(30):
            while True:
                store.asked.clear()
                found = await read_overview(store, "web", gateways=False)
                if len(found.fleet.live) == 2:
                    break
                await trio.sleep(0.01)
        yield store, found


async def test_all_of_the_fleet_is_read_by_one_request() -> None:
    async with fleet() as (store, found):
        assert store.asked == ["canary/web/"]
        assert {report.id for report in found.fleet.reports} == {"one", "two"}
        assert found.revision > 0
        assert (found.missing, found.pending) == ((), None)


async def test_what_proxies_counted_is_added() -> None:
    async with fleet() as (_, found):
        statuses = await ask_admins(found.fleet, AdminCredentials())

        assert unreached(statuses.items()) == []
        rows = arm_rows(statuses.values())
        assert rows["stable"].requests == sum(rows["stable"].latency.values()) == 3
        assert rows["stable"].minute_requests == 3
        assert rows["stable"].errors == 3  # nobody listens there
        said = [status_of(one, statuses, "web") for one in found.fleet.reports]
        assert [isinstance(one, dict) and one["id"] for one in said] == ["one", "two"]


async def test_a_worker_is_shown_with_what_it_says_itself() -> None:
    async with fleet() as (_, found):
        report = found.fleet.reports[0]
        rows: list[dict[str, Any]] = [
            {"status": None},
            {"status": {"service": "web", "id": "one", "x": 1}},
        ]
        said: Any = {report.admin: {"service": "web", "id": "all", "workers": rows}}

        assert status_of(report, said, "web") == rows[1]["status"]
        said[report.admin]["workers"] = "odd"
        assert status_of(report, said, "web") == said[report.admin]
        assert status_of(report, {}, "web") == "it was not asked"


async def test_a_service_without_a_document_is_said_so() -> None:
    async with in_memory_store() as client:
        with pytest.raises(NoDocument):
            await read_overview(client, "web")
