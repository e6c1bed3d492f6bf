"""Documents are written over the revision that they were made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
import trio

from canary_trio import change, read_document, wait_applied
from canary_trio.control.changes.documents import (
    read_history,
    read_revision,
    write_document,
)
from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.errors import InvalidConfig, NoDocument, WrittenMeanwhile
from kv_trio import Client, StoreUnreachable, TxnOperation
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
RULES_OF_200_KB = [
    {"header": f"X-{number}", "equals": "v" * 100, "arm": "canary"}
    for number in range(1500)
]


class Dying:
    """A client whose process dies before it sends a transaction."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def transact(self, operations: Sequence[TxnOperation]) -> NoReturn:
        raise StoreUnreachable(f"{len(operations)} operations are never sent")


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


async def test_what_is_copied_ahead_by_one_who_dies_is_cleared_in_time() -> None:
    """A copy always has something in the place of its note, so that clearing finds it."""
    long = {**DOCUMENT, "rules": RULES_OF_200_KB}
    async with in_memory_store() as client:
        first = await write_document(client, "web", DOCUMENT, over=0)
        dies: Any = Dying(client)
        with pytest.raises(StoreUnreachable):
            await write_document(dies, "web", long, over=first)
        history = "canary-history/web/"
        keys = {e.key.decode() for e in (await client.list(history)).entries}
        notes = {key.rpartition("/")[2] for key in keys if "/changes/" in key}
        copies = {key.rpartition("/")[2] for key in keys if "/documents/" in key}
        assert len(copies) == 2, "one is left behind"
        assert copies == notes
        log = await read_history(client, "web")
        assert [change.revision for change in log.changes] == [first]
        bounds = {"history": {"revisions": 1}}
        over = first
        for ratio in (0.1, 0.2, 0.3):
            document = {**DOCUMENT, **bounds, "ratio": ratio}
            over = await write_document(client, "web", document, over=over)
        assert len((await client.list(history + "documents/")).entries) == 1
        written = await write_document(client, "web", long, over=over)
        found = (await read_history(client, "web")).find(written)
        assert found is not None
        assert json.loads(await read_revision(client, "web", written)) == long
