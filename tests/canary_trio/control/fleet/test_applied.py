"""Who waits for a fleet reads the store once, when all of it has said something new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from canary_trio import wait_applied
from canary_trio.control.changes.documents import change, write_document
from canary_trio.control.fleet.report import Report
from kv_trio import Client, Listing
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT


class Counted(Client):
    """A client that notes the index of each read of many keys."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads: list[int] = []

    async def list(self, prefix: str, **how: Any) -> Listing:
        self.reads.append(how.get("index", 0))
        return await super().list(prefix, **how)


async def say(client: Client, name: str, revision: int) -> None:
    text = Report(name, running=revision, attempted=revision).dump()
    await client.put(f"canary/web/proxies/{name}", text)


async def say_later(client: Client, names: list[str], revision: int) -> None:
    for name in names:
        await trio.sleep(0.01)
        await say(client, name, revision)


Late = Callable[[Client, list[str], int], Awaitable[None]]


async def end_one(client: Client, names: list[str], revision: int) -> None:
    """All but the last say it; that one ends, as one that was killed does."""
    await say_later(client, names[:-1], revision)
    await client.delete(f"canary/web/proxies/{names[-1]}")


@pytest.mark.parametrize(
    ("count", "expect", "late", "reads"),
    [
        (1, 1, say_later, 1),
        (9, 9, say_later, 1),
        (9, 1, say_later, 2),
        (9, 9, end_one, 1),
    ],
    ids=["one", "as expected", "of nobody knows how many", "one that ends"],
)
async def test_a_change_is_one_read(
    count: int, expect: int, late: Late, reads: int
) -> None:
    names = [f"p{number}" for number in range(count)]
    async with in_memory_store() as writer, trio.open_nursery() as nursery:
        first = await write_document(writer, "web", DOCUMENT, over=0)
        for name in names:
            await say(writer, name, first)
        revision = await change(writer, "web", "ratio=0.5")
        async with Counted(writer.url) as client:
            nursery.start_soon(partial(late, writer, names, revision))
            with trio.fail_after(20):
                fleet = await wait_applied(
                    client,
                    "web",
                    revision,
                    expect=expect,
                    until=lambda fleet: fleet.is_applied,
                    is_whole=True,
                )
        assert len(fleet.live) == count - (late is end_one)
        assert len(client.reads) == reads
        assert client.reads[0] == revision


async def test_a_store_that_does_not_count_is_read_after_pauses() -> None:
    names = [f"p{number}" for number in range(9)]

    class Consul(Counted):
        async def list(self, prefix: str, *, changes: int = 1, **how: Any) -> Listing:
            assert 1 <= changes <= len(names)
            return await super().list(prefix, **how)

    async with in_memory_store() as writer, trio.open_nursery() as nursery:
        first = await write_document(writer, "web", DOCUMENT, over=0)
        for name in names:
            await say(writer, name, first)
        revision = await change(writer, "web", "ratio=0.5")
        async with Consul(writer.url) as client:
            nursery.start_soon(say_later, writer, names, revision)
            with trio.fail_after(20):
                fleet = await wait_applied(client, "web", revision, expect=9)
        assert len(fleet.live) == 9
        assert len(client.reads) <= 9
