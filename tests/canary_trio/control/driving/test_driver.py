"""One proxy drives while there is a duty, another one after it, and no error ends them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio

from canary_trio.control.driving import driver
from canary_trio.control.driving.driver import Driver
from canary_trio.control.driving.duty import KeptState, Turn
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import driver_state_key
from canary_trio.telemetry.task_keeper import TaskKeeper
from kv_trio import Client, Snapshot, StoreUnreachable, WriteResult
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.model_store import ModelStore

LOCK = "canary/web/driver"


@attrs.define(eq=False)
class Work:
    """A duty that a test plays."""

    name: str = "work"
    is_due: bool = True
    knows_less: bool = False
    turns: list[Turn] = attrs.field(factory=list)
    running: bool = False
    fails: int = 0

    def look(self) -> None:
        pass

    async def run(self, turn: Turn) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreUnreachable("gone")
        self.turns.append(turn)
        self.running = True
        try:
            await trio.sleep_forever()
        finally:
            self.running = False


@attrs.define(eq=False)
class Contender:
    work: Work
    driver: Driver
    session: str


@asynccontextmanager
async def contender(client: KeyStore, id_: str) -> AsyncIterator[Contender]:
    """Run a driver with a session of its own, as a proxy would."""
    work = Work()
    session = await client.create_session(id_, 10, deletes=True)
    driver = Driver(
        "web", id_, [work], session=lambda: found.session, keep=TaskKeeper().run
    )
    found = Contender(work, driver, session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run, client)
        yield found
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(15):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.001)


async def holder(client: Client) -> str | None:
    entry = (await client.get(LOCK)).entry
    return None if entry is None else json.loads(entry.value)["by"]


async def test_the_next_one_drives_when_a_session_ends() -> None:
    async with in_memory_store() as client:
        async with contender(client, "a") as a:
            await until(lambda: a.work.running)
            async with contender(client, "b") as b:
                await until(lambda: b.driver.shown.by == "a")
                assert not b.work.running
                await a.work.turns[0].keep("work", {"seen": 7}, at_ms=5)
                await client.destroy_session(a.session)
                await until(lambda: b.work.running)
                await until(lambda: not a.work.running)
                assert b.driver.shown.here
                assert b.work.turns[0].kept.state == {"work": {"seen": 7}}
                assert await holder(client) == "b"


@attrs.define(eq=False)
class Overtaken:
    """A store in which another one takes the lock first, and is gone before that is seen."""

    client: Client
    other: str = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def put(self, key: str, value: bytes, **more: Any) -> WriteResult:
        if key == LOCK and not self.other:
            self.other = await self.client.create_session("other", 60, deletes=True)
            await self.client.put(LOCK, b'{"by": "other"}', acquire=self.other)
        return await self.client.put(key, value, **more)

    async def get(self, key: str, **more: Any) -> Snapshot:
        found = await self.client.get(key, **more)
        if (
            key == LOCK
            and found.entry is not None
            and found.entry.session == self.other
        ):
            await self.client.destroy_session(self.other)
        return found


async def test_a_lock_that_was_lost_before_anybody_saw_it_taken_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the watch it is as free as it was, and that is no news."""
    monkeypatch.setattr(driver, "SILENT_S", 0.3)
    async with in_memory_store() as client:
        store = Overtaken(client)
        async with contender(cast(KeyStore, store), "b") as b:
            await until(lambda: b.work.running)
            assert store.other
            assert await holder(client) == "b"


async def test_from_one_that_shows_nothing_another_takes_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its session lives on: on a Consul up to twice as long as its time to live."""
    monkeypatch.setattr(driver, "SILENT_S", 0.3)
    async with in_memory_store() as client:
        session = await client.create_session("gone", 60, deletes=True)
        await client.put(LOCK, b'{"by": "gone"}', acquire=session)
        async with contender(client, "b") as b:
            await until(lambda: b.work.running)
            assert await holder(client) == "b"
            held = (await client.get(LOCK)).entry
            assert held is not None
            assert held.session == b.session


async def test_one_that_shows_that_it_drives_keeps_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "SILENT_S", 0.5)
    monkeypatch.setattr(driver, "SHOWN_S", 0.02)
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        turns = a.work.turns
        async with contender(client, "b") as b:
            await until(lambda: b.driver.shown.by == "a")
            seen = set()
            with trio.fail_after(30):
                async with client.watch(driver_state_key("web")) as states:
                    async for snapshot in states:
                        assert snapshot.entry is not None
                        seen.add(KeptState.load(snapshot.entry.value).at)
                        if max(seen) - min(seen) > 1200:  # ms, longer than the silence
                            break
            assert not b.work.running
            assert len(turns) == 1
            assert await holder(client) == "a"


async def test_who_was_deposed_and_lives_drives_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "SILENT_S", 0.3)
    monkeypatch.setattr(driver, "SHOWN_S", 60.0)
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        async with contender(client, "b") as b:
            await until(lambda: b.work.running and not a.work.running)


async def test_who_knows_more_is_first(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever of them the store tells first that the lock is free."""
    del autojump_clock
    store = ModelStore()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(contender(store, "a"))
        await trio.sleep(1)
        assert first.work.running
        newcomers = [
            await stack.enter_async_context(contender(store, id_)) for id_ in "bcd"
        ]
        for one in newcomers:
            one.work.knows_less = True
        witness = await stack.enter_async_context(contender(store, "e"))
        await trio.sleep(1)
        store.end_session(first.session)
        first.driver.retire()
        await trio.sleep(5)
        assert witness.work.running


async def test_a_retired_one_lets_go_at_once_and_for_good() -> None:
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        async with contender(client, "b") as b:
            await until(lambda: b.driver.shown.by == "a")
            a.driver.retire()
            await until(lambda: b.work.running)
            b.driver.retire()
            await until(lambda: not b.work.running)
            assert await holder(client) is None


async def test_nobody_contends_without_a_duty() -> None:
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        a.work.is_due = False
        a.driver.look()
        await until(lambda: not a.work.running)
        with trio.fail_after(30):
            while await holder(client) is not None:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert a.driver.shown.by == ""
        a.work.is_due = True
        a.driver.look()
        await until(lambda: a.work.running)
        assert len(a.work.turns) == 2


async def test_a_deposed_driver_keeps_nothing() -> None:
    """Its state would undo what the next one has seen."""
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        turn = a.work.turns[0]
        await client.destroy_session(a.session)
        session = await client.create_session("b", 10, deletes=True)
        with trio.fail_after(30):
            while not (await client.put(LOCK, b'{"by": "b"}', acquire=session)).done:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert not await turn.keep("work", {"late": True}, at_ms=9)
        await until(lambda: a.driver.shown.by == "b")
        await until(lambda: not a.work.running)


async def test_a_new_session_of_the_same_proxy_takes_the_lock() -> None:
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        await client.destroy_session(a.session)
        a.session = await client.create_session("a", 10, deletes=True)
        a.driver.look()
        await until(lambda: len(a.work.turns) == 2 and a.work.running)
        entry = (await client.get(LOCK)).entry
        assert entry is not None
        assert entry.session == a.session


async def test_an_error_of_the_store_begins_a_duty_again() -> None:
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        a.work.fails = 2
        a.work.is_due = False
        a.driver.look()
        await until(lambda: not a.work.running)
        a.work.is_due = True
        a.driver.look()
        await until(lambda: a.work.running)
        assert a.work.fails == 0


async def test_a_store_that_went_away_is_waited_for() -> None:
    """The lock may be lost meanwhile; the driver contends for it again."""
    async with in_memory_store() as client, contender(client, "a") as a:
        await until(lambda: a.work.running)
        a.session = "00000000-0000-0000-0000-000000000000"  # one that nobody knows
        a.driver.look()
        await until(lambda: not a.work.running)
        a.session = await client.create_session("a", 10, deletes=True)
        a.driver.look()
        await until(lambda: a.work.running)


@pytest.mark.parametrize(
    "text",
    [
        *(None, b"", b"[]", b"{}", b'{"by": 1}', b'{"by": "a", "at": "now"}', b"\xff"),
        *(b'{"by": "a", "at": 1, "state": []}', b"[" * 100_000),
    ],
)
def test_what_nobody_can_read_is_as_if_nothing_was_kept(text: bytes | None) -> None:
    assert KeptState.load(text) == KeptState()
