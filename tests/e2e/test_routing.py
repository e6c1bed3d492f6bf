"""Who goes where, with real processes: the same on every proxy, exact, and by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from canary_trio import change
from canary_trio.routing.buckets import bucket, salt_of
from kv_trio import Client
from tests.e2e.processes import World, connected_to, world

USERS = [b"user-%d" % n for n in range(150)]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def who_serves(address: str) -> list[bytes]:
    """Give the version that each user gets."""
    async with connected_to(address) as client:
        return [(await client.ask(b"/", b"X-User: " + user))[1] for user in USERS]


async def test_users_by_header_are_where_arithmetic_says_on_every_proxy(
    here: World,
) -> None:
    sticky = {"header": "X-User"}
    proxies = [
        (await here.start_proxy("--id", f"p{n}", ratio=0.3, sticky_sessions=sticky))[1]
        for n in range(2)
    ]
    for epoch, share in ((0, 3000), (1, 6000)):
        salt = salt_of("web", epoch)
        places = [bucket(user, salt) for user in USERS]
        wanted = [b"v2" if place < share else b"v1" for place in places]
        for address in proxies:
            assert await who_serves(address) == wanted
        if epoch == 0:
            more = ("ratio=0.6", "sticky_sessions.epoch=1")
            await here.canary("set", *more, "--wait", "40")


async def test_rules_lead_before_the_user_and_say_so(here: World) -> None:
    rules = [
        {"canary-by-header": "X-Canary", "canary-by-cookie": "try"},
        {"name": "gold", "cookie": "plan", "regex": "^(gold|silver)$", "arm": "canary"},
        {"path_prefix": "/beta", "method": "GET", "arm": "canary"},
        {"query": "v", "prefix": "2.", "network": "127.0.0.0/8", "arm": "canary"},
    ]
    _, address = await here.start_proxy(
        rules=rules, sticky_sessions=True, decision_header="X-Route"
    )
    async with connected_to(address) as client:
        for path, fields, version, reason in (
            (b"/", b"X-Canary: always", b"v2", b'reason=rule, rule="rule 1"'),
            (b"/beta", b"X-Canary: never", b"v1", b'reason=rule, rule="rule 2"'),
            (b"/", b"Cookie: a=b; try=always", b"v2", b'rule="rule 3"'),
            (b"/", b"X-Canary: x\r\nCookie: plan=gold", b"v2", b'rule="gold"'),
            (b"/", b"Cookie: plan=golden", b"v1", b"reason=ratio"),
            (b"/beta/1", b"A: b", b"v2", b'rule="rule 6"'),
            (b"/betas", b"A: b", b"v1", b"reason=ratio"),
            (b"/?u&v=2%2e1", b"A: b", b"v2", b'rule="rule 7"'),
        ):
            head, body = await client.ask(path, fields)
            assert (body, reason in head) == (version, True), (path, fields, head)


async def test_unrelated_changes_under_traffic_leave_the_ratio_exact(
    here: World,
) -> None:
    _, address = await here.start_proxy(ratio=0.25)
    got: Counter[bytes] = Counter()
    count = 0
    done = trio.Event()

    async def write() -> None:
        async with Client(here.store_url) as client:
            for at in range(60):
                await change(client, "web", f"update_rate={at + 1}")
        done.set()

    async with connected_to(address) as client, trio.open_nursery() as nursery:
        nursery.start_soon(write)
        while not done.is_set() or count < 2000:
            got[(await client.ask())[1]] += 1
            count += 1
            assert abs(got[b"v2"] - count / 4) <= 1
