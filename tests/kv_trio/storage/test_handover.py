"""A data directory that one server leaves to the next."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from kv_trio.errors import StoreLocked
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.handover import leave, open_engine


class Waiter:
    """Waits for a directory; notes what it is told, and what came of it."""

    def __init__(self, directory: Path, wait_s: float = 10.0) -> None:
        self.told: list[str] = []
        self.engine: StorageEngine | None = None
        self._open = partial(open_engine, directory, None, wait_s)

    async def run(self) -> None:
        self.engine = await self._open(
            on_waiting=lambda: self.told.append("waits"),
            on_leaving=lambda: self.told.append("listens"),
        )
        self.engine.close()

    async def until(self, what: str) -> None:
        with trio.fail_after(30):
            while what not in self.told:
                await trio.sleep(0.01)


class Server:
    """Drains; has a successor once somebody else has said that it listens."""

    def __init__(self, waiter: Waiter | None = None) -> None:
        self.waiter = waiter
        self.drained: list[tuple[float, bool]] = []

    @property
    def has_successor(self) -> bool:
        return self.waiter is not None and "listens" in self.waiter.told

    def drain(self, deadline_s: float, *, lame_duck_s: float) -> None:
        assert lame_duck_s == 0
        self.drained.append((deadline_s, self.has_successor))


async def test_nobody_waits_for_what_is_free(tmp_path: Path) -> None:
    waiter = Waiter(tmp_path)
    await waiter.run()
    assert waiter.engine is not None
    assert waiter.told == []


async def test_the_next_one_listens_before_the_one_that_leaves_ceases_to(
    tmp_path: Path,
) -> None:
    engine, waiter = StorageEngine(tmp_path), Waiter(tmp_path)
    server = Server(waiter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.run)
        await waiter.until("waits")
        await leave(engine, server, 7.0, 0.0)  # type: ignore[arg-type]
        assert server.drained == [(7.0, True)]
        assert waiter.engine is None, "one has the directory at a time"
        engine.close()
    assert waiter.engine is not None
    assert waiter.told == ["waits", "listens"]


async def test_the_next_one_listens_where_the_one_before_ends_without_a_word(
    tmp_path: Path,
) -> None:
    engine, waiter = StorageEngine(tmp_path), Waiter(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.run)
        await waiter.until("waits")
        engine.close()
    assert waiter.told == ["waits", "listens"]


async def test_a_word_of_a_former_life_is_no_word(tmp_path: Path) -> None:
    """One that left and was followed by nobody does not leave for the next one."""
    engine = StorageEngine(tmp_path)
    await leave(engine, Server(), 1.0, 0.0)  # type: ignore[arg-type]
    engine.close()
    engine, waiter = StorageEngine(tmp_path), Waiter(tmp_path, 0.5)
    with pytest.raises(StoreLocked, match=r"\(waited 0.5 s for it\)"):
        await waiter.run()
    assert waiter.told == ["waits"]
    engine.close()


async def test_one_waits_at_a_time(tmp_path: Path) -> None:
    engine, waiter = StorageEngine(tmp_path), Waiter(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.run)
        await waiter.until("waits")
        with pytest.raises(StoreLocked, match="another one waits for it"):
            await Waiter(tmp_path).run()
        nursery.cancel_scope.cancel()
    again = Waiter(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        await again.until("waits")  # who waits no more is in nobody's way
        engine.close()


async def test_who_does_not_wait_is_refused_at_once(tmp_path: Path) -> None:
    engine = StorageEngine(tmp_path)
    with pytest.raises(StoreLocked, match="another server has"):
        await Waiter(tmp_path, 0.0).run()
    engine.close()
