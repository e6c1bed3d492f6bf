"""The store over real sockets, and on a real disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from kv_trio import Client, Contact, StoreRefused, serve
from kv_trio.testing import in_memory_store


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with in_memory_store() as made:
        yield made


async def test_what_is_written_is_read(client: Client) -> None:
    written = await client.put("a/b", b"hello")
    snapshot = await client.get("a/b")

    assert written.done
    assert snapshot.entry is not None
    assert snapshot.entry.value == b"hello"
    assert snapshot.entry.modify_index == written.index == snapshot.index
    assert (await client.get("nothing")).entry is None
    assert await client.delete("a/b")
    assert (await client.list("a")).entries == ()


async def test_a_late_writer_is_refused(client: Client) -> None:
    first = await client.put("a", b"1", cas=0)
    late = await client.put("a", b"2", cas=0)
    next_ = await client.put("a", b"3", cas=first.index)

    assert (first.done, late.done, next_.done) == (True, False, True)
    assert late.index == first.index


async def test_a_blocking_read_ends_with_a_change_of_its_key_only(
    client: Client,
) -> None:
    index = (await client.put("a", b"1")).index
    seen: list[bytes] = []

    async def wait() -> None:
        snapshot = await client.get("a", index=index)
        assert snapshot.entry is not None
        seen.append(snapshot.entry.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await client.put("ab", b"other")
        await client.put("b", b"other")
        assert not seen
        await client.put("a", b"2")
    assert seen == [b"2"]


async def test_an_absent_key_can_be_waited_for(client: Client) -> None:
    index = (await client.get("later")).index
    async with trio.open_nursery() as nursery:
        await client.put("noise", b"")
        waiting = partial(client.get, "later", index=index)
        result: list[object] = []

        async def wait() -> None:
            result.append((await waiting()).entry)

        nursery.start_soon(wait)
        await client.put("more noise", b"")
        assert not result
        await client.put("later", b"here")
    assert result[0] is not None


async def test_the_first_change_of_a_store_is_not_missed(tmp_path: Path) -> None:
    """An empty store is at an index that no change has."""
    async with trio.open_nursery() as nursery:
        async with Client(await serving(nursery, tmp_path)) as client:
            index = (await client.get("first")).index
            await client.put("first", b"")
            with trio.fail_after(5):
                snapshot = await client.get("first", index=index)
        nursery.cancel_scope.cancel()
    assert snapshot.entry is not None
    assert snapshot.index > index


async def test_a_wait_ends_with_its_time(client: Client) -> None:
    index = (await client.put("a", b"1")).index
    with trio.fail_after(5):
        snapshot = await client.get("a", index=index, wait_s=0.05)
    assert snapshot.index == index


async def test_an_index_that_was_never_given_is_answered_at_once(
    client: Client,
) -> None:
    index = (await client.put("a", b"1")).index
    with trio.fail_after(5):
        snapshot = await client.get("a", index=index + 1000)
    assert snapshot.index == index


async def test_a_prefix_is_watched_through_a_delete(client: Client) -> None:
    await client.put("p/1", b"")
    await client.put("p/2", b"")
    index = (await client.list("p/")).index
    found: list[int] = []

    async def wait() -> None:
        listing = await client.list("p/", index=index)
        found.append(len(listing.entries))
        assert listing.index > index

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await client.put("q", b"")
        await client.delete("p/2")
    assert found == [1]


async def test_a_watch_gives_the_last_state_and_none_twice(client: Client) -> None:
    seen: list[bytes] = []
    async with client.watch("k") as states:
        assert (await anext(states)).entry is None

        async def follow() -> None:
            async for state in states:
                assert state.entry is not None
                seen.append(state.entry.value)
                if state.entry.value == b"49":
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for n in range(50):
                await client.put("k", b"%d" % n)
    numbers = [int(value) for value in seen]
    assert numbers == sorted(set(numbers))


async def test_a_session_that_is_destroyed_takes_its_keys_along(client: Client) -> None:
    session = await client.create_session("me", 10, deletes=True)
    assert (await client.put("k", b"x", acquire=session)).done
    assert await client.renew_session(session)
    await client.destroy_session(session)

    assert (await client.get("k")).entry is None
    assert not await client.renew_session(session)


async def test_too_large_a_value_is_413(client: Client) -> None:
    assert (await client.put("fits", b"x" * 524288)).done
    with pytest.raises(StoreRefused, match="too large") as caught:
        await client.put("k", b"x" * 524289)
    assert caught.value.status == 413


async def serving(nursery: trio.Nursery, data: Path, bind: str = "127.0.0.1:0") -> str:
    server = await nursery.start(partial(serve, [bind], data=data))
    url: str = server.url
    return url


async def test_a_watch_survives_a_restart_and_a_reset(tmp_path: Path) -> None:
    contact = Contact()
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, tmp_path / "one")
            async with Client(url) as client:
                await client.put("x", b"")
                await client.put("k", b"before")
            nursery.cancel_scope.cancel()
        bind = url.removeprefix("http://")
        async with Client(url) as client, client.watch("k", contact=contact) as states:
            async with trio.open_nursery() as nursery:
                await serving(nursery, tmp_path / "one", bind)
                first = await anext(states)
                assert first.entry is not None
                assert first.entry.value == b"before"
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                await serving(nursery, tmp_path / "two", bind)
                async with Client(url) as writer:
                    await writer.put("k", b"after")
                with trio.fail_after(10):
                    second = await anext(states)
                assert second.entry is not None
                assert second.entry.value == b"after"
                nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    assert contact.last_s is not None


async def test_the_index_goes_on_after_a_restart(tmp_path: Path) -> None:
    indexes: list[int] = []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, tmp_path)
            async with Client(url) as client:
                indexes.append((await client.put("k", b"%d" % len(indexes))).index)
                await client.delete("k")
            nursery.cancel_scope.cancel()
    assert indexes == [2, 4, 6]
