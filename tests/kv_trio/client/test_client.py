"""The client against a store of our own: transactions, locks, the past, live values."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from kv_trio import (
    Client,
    LockLost,
    StoreRefused,
    TxnOperation,
    TxnOperationFailed,
    live,
    serve,
)
from kv_trio.testing import in_memory_store


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with in_memory_store() as made:
        yield made


async def test_a_transaction_takes_effect_at_once(client: Client) -> None:
    done = await client.transact(
        [
            TxnOperation("set", "a", b"1"),
            TxnOperation("set", "b", b"2"),
            TxnOperation("get", "a"),
        ]
    )

    listing = await client.list("")
    assert done.done
    assert [entry.value for entry in done.results] == [b"", b"", b"1"]
    assert {entry.modify_index for entry in listing.entries} == {done.index}


async def test_a_transaction_that_fails_changes_nothing(client: Client) -> None:
    index = (await client.put("a", b"old")).index

    done = await client.transact(
        [
            TxnOperation("set", "b", b"2"),
            TxnOperation("cas", "a", b"new", index=index + 7),
        ]
    )

    assert not done.done
    assert done.failed == (
        TxnOperationFailed(1, 'failed to set key "a", index is stale'),
    )
    assert await client.keys("") == ("a",)


async def test_a_watcher_sees_a_transaction_whole(client: Client) -> None:
    async with client.watch_prefix("t/") as states:
        await anext(states)
        for n in range(20):
            value = b"%d" % n
            await client.transact(
                [TxnOperation("set", "t/a", value), TxnOperation("set", "t/b", value)]
            )
            listing = await anext(states)
            assert len({entry.value for entry in listing.entries}) == 1


async def test_keys_can_be_cut_like_folders(client: Client) -> None:
    for key in ("x/a/1", "x/a/2", "x/b", "y"):
        await client.put(key, b"")

    assert await client.keys("x/", separator="/") == ("x/a/", "x/b")
    assert await client.keys("none") == ()


async def test_the_past_of_a_key(client: Client) -> None:
    first = (await client.put("k", b"1")).index
    second = (await client.put("k", b"2")).index
    await client.delete("k")

    revisions = await client.history("k")

    assert [r.entry and r.entry.value for r in revisions] == [None, b"2", b"1"]
    assert [r.index for r in revisions[1:]] == [second, first]
    assert all(r.time_ms for r in revisions)
    old = await client.get_at("k", first)
    assert old is not None
    assert old.value == b"1"
    assert await client.get_at("k", revisions[0].index) is None
    assert await client.history("nothing") == ()


async def test_the_past_can_be_forgotten(client: Client) -> None:
    first = (await client.put("k", b"1")).index
    last = (await client.put("k", b"2")).index

    assert await client.compact() == 1

    with pytest.raises(StoreRefused, match=f"oldest that is still known is {last}"):
        await client.get_at("k", first)
    assert (await client.get_at("k", last)) == (await client.get("k")).entry


async def test_a_lock_is_had_by_one(client: Client) -> None:
    holders = most = 0

    async def work() -> None:
        nonlocal holders, most
        async with client.lock("lock"):
            holders += 1
            most = max(most, holders)
            await trio.sleep(0.01)
            holders -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work)
    assert most == 1


async def test_what_fails_under_a_lock_is_raised_as_it_is(client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.lock("lock"):
            raise ZeroDivisionError
    async with client.lock("lock"):
        pass


async def test_a_lock_that_is_lost_ends_the_work(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_trio.client.lock._RENEWALS", 100)

    async def work() -> None:
        async with client.lock("lock") as session:
            await client.destroy_session(session)
            await trio.sleep_forever()

    with pytest.raises(LockLost, match="its session has ended"):
        await work()


async def test_a_cancelled_wait_for_a_lock_leaves_no_session(client: Client) -> None:
    async with client.lock("lock"):
        with trio.move_on_after(0.05):
            async with client.lock("lock"):
                pytest.fail("somebody else has it")
        (session,) = await client.sessions()
        assert (session.name, session.ttl_s, session.deletes) == (
            "lock lock",
            10,
            False,
        )


async def test_a_backup_is_a_store(client: Client, tmp_path: Path) -> None:
    await client.put("k", b"x" * 300_000)
    (tmp_path / "restored").mkdir()
    target = tmp_path / "restored" / "kv.sqlite"

    size = await client.back_up(target)
    assert target.stat().st_mode & 0o077 == 0, "a copy has all secrets of a store"

    assert size == target.stat().st_size
    with pytest.raises(FileExistsError):
        await client.back_up(target)
    async with trio.open_nursery() as nursery:
        restored = await nursery.start(
            partial(serve, ["127.0.0.1:0"], data=tmp_path / "restored")
        )
        async with Client(restored.url) as other:
            mine, theirs = (await client.get("k")).entry, (await other.get("k")).entry
            assert mine is not None
            assert theirs is not None
            assert theirs.value == mine.value
            assert theirs.modify_index > mine.modify_index
        nursery.cancel_scope.cancel()


@attrs.frozen
class Limits:
    rate: int
    names: list[str] = attrs.field(factory=list)


def dump(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_a_live_value_follows_its_key(client: Client) -> None:
    await client.put("limits", dump(rate=1))
    async with live(client, "limits", Limits) as limits:
        assert limits.current == Limits(1)
        await client.put("limits", dump(rate=2, names=["a"]))
        assert await limits.changed() == Limits(2, ["a"])


async def test_a_live_value_never_becomes_invalid(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await client.put("limits", b"no json")
    async with trio.open_nursery() as nursery:

        async def mend() -> None:
            await trio.sleep(0.05)
            await client.put("limits", dump(rate=1))

        nursery.start_soon(mend)
        async with live(client, "limits", Limits) as limits:
            bad = await client.put("limits", dump(rate="x", more=1))
            while limits.invalid is None:
                await trio.sleep(0.01)
            assert limits.current == Limits(1)
            assert limits.invalid.index == bad.index
            assert any("rate" in fault for fault in limits.invalid.faults)
            await client.delete("limits")
            await client.put("limits", dump(rate=3))
            assert await limits.changed() == Limits(3)
            assert limits.invalid is None
    assert "no JSON" in caplog.text


async def test_each_iterator_of_a_live_value_has_its_own_place(client: Client) -> None:
    await client.put("limits", dump(rate=1))
    seen: dict[str, list[int]] = {"one": [], "two": []}

    async with live(client, "limits", Limits) as limits:

        async def follow(name: str) -> None:
            async for value in limits.states():
                seen[name].append(value.rate)
                if value.rate == 3:
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, "one")
            nursery.start_soon(follow, "two")
            for rate in (2, 3):
                await client.put("limits", dump(rate=rate))
    assert seen["one"][-1] == seen["two"][-1] == 3


async def test_what_fails_beside_a_live_value_is_raised_as_it_is(
    client: Client,
) -> None:
    await client.put("limits", dump(rate=1))
    with pytest.raises(ZeroDivisionError):
        async with live(client, "limits", Limits):
            raise ZeroDivisionError
