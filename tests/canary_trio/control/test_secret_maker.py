"""Many services that have no secret get theirs together, each as it would alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from canary_trio.control.fleet_secret import FleetSecret
from canary_trio.control.secret_keeper import SecretKeeper
from canary_trio.control.secret_maker import SecretMaker
from canary_trio.control.sources.source import KeyStore, SourceCannot
from kv_trio import Client, StoreUnreachable, TransactionResult, TxnOperation
from kv_trio.testing import in_memory_store


class Watched:
    """A store whose transactions are seen, and may be spoilt."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.transactions: list[Sequence[TxnOperation]] = []
        self.error: Exception | None = None
        self.before_write: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        self.transactions.append(operations)
        if self.error is not None:
            raise self.error
        if self.before_write is not None and operations[0].writes:
            await self.before_write()
        return await self._client.transact(operations)


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    async with in_memory_store() as client:
        yield Watched(client)


def keepers_of(count: int) -> list[SecretKeeper]:
    return [SecretKeeper(f"s{number}", lambda: None) for number in range(count)]


async def agree(store: Watched, keepers: list[SecretKeeper]) -> None:
    maker, client = SecretMaker(), store
    async with trio.open_nursery() as nursery:
        for keeper in keepers:
            nursery.start_soon(maker.agree, as_store(client), keeper)
    assert repr(maker) == "<SecretMaker for 0>"


def as_store(watched: Any) -> KeyStore:
    store: KeyStore = watched
    return store


async def check_agreed(store: Watched, keepers: list[SecretKeeper]) -> None:
    for keeper in keepers:
        entry = (await store.get(keeper.key)).entry
        assert entry is not None
        assert keeper.secret == FleetSecret.load(entry.value)


async def test_many_are_made_in_few_requests_and_each_has_its_own(
    store: Watched,
) -> None:
    keepers = keepers_of(200)
    await agree(store, keepers)
    await check_agreed(store, keepers)
    assert len({keeper.current for keeper in keepers}) == 200
    # As many as ask before the first has its turn; trees and writes, 64 at most in each.
    assert len(store.transactions) <= 2 * (200 // 64 + 2)


async def test_one_that_others_serve_is_waited_for_and_no_other(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepers, theirs = keepers_of(20), FleetSecret.draw()
    await store.put("canary/s7/proxies/p", b"{}")
    waits: list[str] = []
    wait = SecretKeeper._wait_given_back

    async def given_back(self: SecretKeeper, client: KeyStore, lost: Any) -> Any:
        waits.append(self.service)
        await store.put("canary/s7/secret", theirs.dump())
        return await wait(self, client, lost)

    monkeypatch.setattr(SecretKeeper, "_wait_given_back", given_back)
    await agree(store, keepers)
    await check_agreed(store, keepers)
    assert waits == ["s7"]
    assert keepers[7].secret == theirs


async def test_where_another_proxy_is_first_its_secret_is_taken(store: Watched) -> None:
    keepers, theirs = keepers_of(20), FleetSecret.draw()

    async def first() -> None:
        await store.put("canary/s3/secret", theirs.dump())

    store.before_write = first
    await agree(store, keepers)
    await check_agreed(store, keepers)
    assert keepers[3].secret == theirs


@pytest.mark.parametrize(
    "error", [SourceCannot("no transactions"), StoreUnreachable("gone for a moment")]
)
async def test_without_transactions_each_agrees_alone(
    store: Watched, error: Exception
) -> None:
    store.error = error
    keepers = keepers_of(8)
    await agree(store, keepers)
    await check_agreed(store, keepers)


async def test_one_that_is_cancelled_holds_up_no_other(store: Watched) -> None:
    keepers, maker = keepers_of(5), SecretMaker()
    gate = trio.Event()
    store.before_write = gate.wait
    scope = trio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await maker.agree(as_store(store), keepers[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancelled)
        while len(store.transactions) < 2:  # until it writes
            await trio.sleep(0.01)
        for keeper in keepers[1:]:
            nursery.start_soon(maker.agree, as_store(store), keeper)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        gate.set()
    assert keepers[0].secret is None
    await check_agreed(store, keepers[1:])
