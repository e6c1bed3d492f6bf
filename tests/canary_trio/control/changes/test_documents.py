"""Documents are written over the revision that they were made of."""

from __future__ import annotations

import json

import pytest
import trio

from canary_trio import change, read_document, wait_applied
from canary_trio.control.changes.documents import write_document
from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.errors import InvalidConfig, NoDocument, WrittenMeanwhile
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT


async def test_of_two_writers_the_second_is_told() -> None:
    async with in_memory_store() as client:
        with pytest.raises(NoDocument):
            await change(client, "web", "ratio=0.5")
        first = await write_document(client, "web", DOCUMENT, over=0)
        with pytest.raises(WrittenMeanwhile) as caught:
            await write_document(client, "web", DOCUMENT | {"ratio": 1}, over=0)
        assert caught.value.revision == first


async def test_a_gateway_and_a_service_are_not_given_each_others_document() -> None:
    table = {"routes": [{"host": "a.org", "service": "web"}]}
    async with in_memory_store() as client:
        with pytest.raises(InvalidConfig):
            await write_document(client, "@edge", DOCUMENT, over=0)
        with pytest.raises(InvalidConfig):
            await write_document(client, "web", table, over=0)
        await write_document(client, "@edge", table, over=0)
        await change(client, "@edge", "routes[0].path_prefix=/api")
        text, _ = await read_document(client, "@edge")

    assert json.loads(text)["routes"][0]["path_prefix"] == "/api"


KEY = "canary/web/proxies/p"


async def test_a_fleet_without_a_proxy_is_waited_for() -> None:
    async with in_memory_store() as client, trio.open_nursery() as nursery:
        with trio.move_on_after(0.1) as scope:
            await wait_applied(client, "web", 5)
        assert scope.cancelled_caught, "nobody routes by it yet"

        async def report() -> None:
            await trio.sleep(0.1)
            await client.put(KEY, Report("p", running=4, attempted=5).dump())
            await client.put(KEY, Report("p", running=5, attempted=5).dump())

        nursery.start_soon(report)
        with trio.fail_after(30):
            fleet = await wait_applied(client, "web", 5)
    assert [report.running for report in fleet.live] == [5]


async def test_a_fleet_that_ends_is_not_one_that_runs_it() -> None:
    states: list[int] = []

    def note(fleet: Fleet) -> bool:
        states.append(len(fleet.reports))
        return fleet.is_applied

    async with in_memory_store() as client, trio.open_nursery() as nursery:
        await client.put(KEY, Report("p", running=4, attempted=4).dump())

        async def end() -> None:
            await trio.sleep(0.1)
            await client.delete(KEY)

        nursery.start_soon(end)
        with trio.move_on_after(0.5) as scope:
            await wait_applied(client, "web", 5, until=note)
    assert scope.cancelled_caught
    assert states == [1, 0]
