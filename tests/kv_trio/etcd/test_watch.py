"""A stream is not believed: what etcds do to it, and how soon that is noticed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from kv_trio import Contact
from kv_trio.etcd.endpoints import READ_S
from kv_trio.etcd.watch import LOOK_S
from tests.kv_trio.support.fake_etcds import (
    FakeMember,
    Reply,
    client_of,
    line,
    well,
)

KV = {"key": "YQ==", "create_revision": "3", "mod_revision": "3", "value": "MQ=="}


def kvs(revision: int, *entries: dict[str, str], cluster: str = "1") -> Reply:
    header = {"cluster_id": cluster, "revision": str(revision)}
    body: dict[str, Any] = {"header": header}
    if entries:
        body |= {"kvs": list(entries), "count": str(len(entries))}
    return 200, json.dumps(body).encode()


async def test_a_stream_that_ends_at_once_is_opened_at_a_rate(
    autojump_clock: MockClock,
) -> None:
    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/watch":
            return 200, line(created=True)
        return well(path, message)

    member = FakeMember(say)
    async with client_of(member) as client, client.watch("a"):
        await trio.sleep(20)
    assert 2 < len(member.asked) <= 2 * (20 * 10 + 5)


async def test_a_store_that_is_away_is_asked_seldom(autojump_clock: MockClock) -> None:
    member = FakeMember(lambda *_: httpx.ConnectError("refused"))
    contact = Contact()
    async with client_of(member) as client, client.watch("a", contact=contact):
        await trio.sleep(60)
    assert 20 < len(member.asked) < 150
    assert "refused" in contact.error
    assert contact.last_s is None


async def test_nothing_counts_before_the_range_was_read(
    autojump_clock: MockClock,
) -> None:
    well_from = trio.current_time() + 30

    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/kv/range" and trio.current_time() < well_from:
            return 500, b"not now"
        if path == "/v3/watch":
            return [line(created=True)]
        return kvs(3, KV)

    async with client_of(FakeMember(say)) as client, client.watch("a") as states:
        state = await anext(states)
        assert state.entry is not None
        assert trio.current_time() >= well_from


async def test_what_a_stream_has_swallowed_is_there_by_the_next_look(
    autojump_clock: MockClock,
) -> None:
    written = {"at": 3}

    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/watch":
            return [line(created=True)]
        at = written["at"]
        newest = KV | {"mod_revision": str(at)}
        return kvs(at, newest)

    async with client_of(FakeMember(say)) as client, client.watch("a") as states:
        await anext(states)
        written["at"] = 9
        begun = trio.current_time()
        state = await anext(states)
        assert (state.index, trio.current_time() - begun <= LOOK_S) == (9, True)


@pytest.mark.parametrize(
    ("revision", "cluster"), [(2, "1"), (3, "other"), (50, "other")]
)
async def test_a_store_that_was_replaced_is_read_whole(
    autojump_clock: MockClock, revision: int, cluster: str
) -> None:
    now = {"reply": kvs(3, KV)}

    def say(path: str, message: dict[str, Any]) -> Reply:
        return [line(created=True)] if path == "/v3/watch" else now["reply"]

    async with client_of(FakeMember(say)) as client, client.watch("a") as states:
        assert (await anext(states)).entry is not None
        now["reply"] = kvs(revision, cluster=cluster)
        begun = trio.current_time()
        assert (await anext(states)).entry is None
        assert trio.current_time() - begun <= LOOK_S


async def test_a_member_whose_watch_does_not_begin_is_left(
    autojump_clock: MockClock,
) -> None:
    def mute(path: str, message: dict[str, Any]) -> Reply:
        return [] if path == "/v3/watch" else well(path, message)

    first, second = FakeMember(mute), FakeMember(well)
    async with client_of(first, second) as client, client.watch("a") as states:
        begun = trio.current_time()
        assert (await anext(states)).entry is None
        assert trio.current_time() - begun <= READ_S + 1
    assert first.asked == ["/v3/watch"]


async def test_an_event_that_comes_while_the_range_is_read_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    newer = {"kv": KV | {"mod_revision": "4", "value": "Mg=="}}

    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/watch":
            return [line(created=True), line(events=[newer]), line(events=[{"kv": KV}])]
        return kvs(3, KV)

    async with client_of(FakeMember(say)) as client, client.watch("a") as states:
        state = await anext(states)
        while state.entry is not None and state.entry.value != b"2":
            state = await anext(states)
        with trio.move_on_after(LOOK_S / 2):
            raise AssertionError(f"an older one came after it: {await anext(states)}")


async def test_keys_that_are_new_open_the_stream_anew_where_they_need_it(
    autojump_clock: MockClock,
) -> None:
    member = FakeMember(well)
    async with client_of(member) as client, client.watch_keys(()) as changes:
        await trio.sleep(1)
        assert member.asked == [], "without a key nothing is asked"
        changes.follow(["canary/a/config"])
        assert await anext(changes) == {"canary/a/config": None}
        changes.follow(["canary/a/config", "canary/a/config2"])
        assert await anext(changes) == {"canary/a/config2": None}
        assert member.asked.count("/v3/watch") == 1, "the prefix is the same"
        changes.follow(["canary/b/config"])
        assert await anext(changes) == {"canary/b/config": None}
        assert member.asked.count("/v3/watch") == 2


async def test_a_watch_that_is_left_leaves_nothing(autojump_clock: MockClock) -> None:
    async def raise_in_a_watch() -> None:
        async with client.watch("a") as states:
            await anext(states)
            raise ZeroDivisionError

    async with client_of(FakeMember(well)) as client:
        with pytest.raises(ZeroDivisionError):
            await raise_in_a_watch()
        with trio.move_on_after(1):
            async with client.watch("a") as states:
                await anext(states)
                await anext(states)
