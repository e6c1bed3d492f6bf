"""Who vanished is remembered for an hour, and not for longer, by the fleet itself."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
import trio

from canary_trio import wait_applied
from canary_trio.control.fleet.last_seen import (
    FORGET_S,
    KEPT,
    OwnNote,
    read_missing,
)
from canary_trio.control.fleet.report import Report, Sighting, sightings_in
from kv_trio import Client, StoreRefused
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on

NOW = 1_700_000_000.0
TABLE = b'{"routes": [{"service": "web"}]}'


async def note(client: Client, name: str, id_: str, at: float) -> None:
    sighting = Sighting(id_, "127.0.0.1:80", at)
    await client.put(f"canary/{name}/proxies/{id_}/seen", sighting.dump())


async def ids(client: Client, service: str = "web", now: float = NOW) -> list[str]:
    return [sighting.id for sighting in await read_missing(client, service, now)]


async def test_one_whose_session_ended_is_missed_and_one_that_ended_is_not() -> None:
    async with in_memory_store() as client:
        async with proxy_on(client, proxy_id="p") as proxy:
            with trio.fail_after(30):
                await wait_applied(client, "web", proxy.revision)
                while (await client.get("canary/web/proxies/p/seen")).entry is None:
                    await trio.sleep(0.01)
            seen = (await client.get("canary/web/proxies/p/seen")).entry
            assert seen is not None
            assert seen.session is None, "it outlives the session"
            sighting = Sighting.load(seen.value)
            assert sighting is not None
            assert await ids(client, now=sighting.at) == []
        assert (await client.get("canary/web/proxies/p/seen")).entry is None
        await client.put("canary/web/proxies/p/seen", seen.value)
        assert await ids(client, now=sighting.at) == ["p"]
        assert await ids(client, now=sighting.at + FORGET_S + 1) == []


async def test_a_gateway_that_vanished_is_missed_by_its_services() -> None:
    async with in_memory_store() as client:
        await client.put("canary/@edge/config", TABLE)
        await client.put("canary/@odd/config", b"no table")
        for name, id_ in (("@edge", "g"), ("@odd", "h"), ("web", "p")):
            await note(client, name, id_, NOW)
        assert await ids(client) == ["p", "g"]
        assert await ids(client, "@edge") == ["g"]
        assert await ids(client, "other") == []


async def test_who_may_not_look_at_gateways_still_sees_the_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Client.list

    async def listing(self: Client, prefix: str, **more: Any) -> Any:
        if "@" in prefix:
            raise StoreRefused(403, "Permission denied")
        return await read(self, prefix, **more)

    monkeypatch.setattr(Client, "list", listing)
    async with in_memory_store() as client:
        await note(client, "web", "p", NOW)
        assert await ids(client) == ["p"]


async def test_old_notes_are_cleared_away_and_few_are_kept() -> None:
    async with in_memory_store() as client:
        await note(client, "web", "old", NOW - FORGET_S - 1)
        for number in range(KEPT + 3):
            await note(client, "web", f"p{number:03}", NOW - number)
        await OwnNote("web", "me", lambda: NOW).keep(client, Report("me", 1, 1))
        left = await ids(client)
    assert len(left) == KEPT
    assert {"old", "p064", "p066"}.isdisjoint(left)
    assert {"me", "p000", "p062"} <= set(left)


async def test_a_live_proxy_writes_it_now_and_then() -> None:
    report = Report("me", 1, 1)
    async with in_memory_store() as client:
        clock = count(1)
        kept = OwnNote("web", "me", lambda: next(clock))

        async def seen_at() -> float:
            await kept.keep(client, report)
            entry = (await client.get("canary/web/proxies/me/seen")).entry
            assert entry is not None
            sighting = Sighting.load(entry.value)
            assert sighting is not None
            return sighting.at

        first = await seen_at()
        assert await seen_at() == first, "it is not time yet"
        kept.begin()  # another session
        assert await seen_at() > first


GOOD = {"id": "p", "address": "a:1", "at": 7}


@pytest.mark.parametrize(
    "changed",
    [
        {"at": "7"},
        {"at": True},
        {"at": -1},
        {"at": float("nan")},
        {"at": 1e999},
        {"at": 10**400},
        {"id": 7},
        {"id": "q"},
        {"address": None},
        {"more": 1},
    ],
    ids=str,
)
def test_an_odd_note_is_none(changed: dict[str, object]) -> None:
    key = b"canary/web/proxies/p/seen"
    assert sightings_in({key: json.dumps(GOOD).encode()}, "web")
    assert not sightings_in({key: json.dumps(GOOD | changed).encode()}, "web")


@pytest.mark.parametrize("data", [b"", b"\xff", b"7", b"[" * 100_000, b"null", b"{}"])
def test_what_is_no_note_is_none(data: bytes) -> None:
    assert Sighting.load(data) is None
