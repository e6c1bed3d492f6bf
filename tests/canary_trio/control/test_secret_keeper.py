"""Proxies keep the fleet's secret: one for all, given back if lost, and it rotates."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio import Proxy
from canary_trio.control.fleet_secret import BadSecret, FleetSecret, Secret
from canary_trio.control.last_good import load_last_good
from canary_trio.control.secret_keeper import rotate_secret, utc_now
from canary_trio.errors import CanaryError, WrittenMeanwhile
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits
from kv_trio import Client, StoreRefused
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

KEY = "canary/web/secret"
STICKY = json.dumps(DOCUMENT | {"sticky_sessions": True, "ratio": 0.5}).encode()
LATER = timedelta(days=1)


@pytest.fixture
async def store() -> AsyncIterator[Client]:
    async with in_memory_store() as client:
        await client.put("canary/web/config", STICKY)
        yield client


async def secret_of(client: Client) -> FleetSecret:
    entry = (await client.get(KEY)).entry
    assert entry is not None
    return FleetSecret.load(entry.value)


async def wait(holds: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not holds():
            await trio.sleep(0.01)


def used_by(proxy: Proxy) -> tuple[bytes, ...]:
    live = proxy._view.runtime.live
    assert live is not None
    return live.router._secrets


async def test_a_secret_that_is_replaced_is_every_proxys(store: Client) -> None:
    async with proxy_on(store) as one, proxy_on(store) as two:
        first = used_by(one)
        assert used_by(two) == first
        mine = Secret(b"m" * 32)
        await store.put(KEY, FleetSecret((mine,)).dump() + b"\n")
        await wait(lambda: used_by(one) == used_by(two) == (mine.value,))
        async with proxy_on(store) as three:
            assert used_by(three) == (mine.value,)


@pytest.mark.parametrize("how", ["deleted", "emptied"])
async def test_a_secret_that_is_lost_is_given_back(store: Client, how: str) -> None:
    async with proxy_on(store) as one, proxy_on(store) as two:
        before = await secret_of(store)
        if how == "deleted":
            await store.delete(KEY)
        else:
            await store.put(KEY, b"\n")
        with trio.fail_after(30):
            while (entry := (await store.get(KEY)).entry) is None or not entry.value:
                await trio.sleep(0.01)
            while await _is_blank(store):
                await trio.sleep(0.01)
        assert await secret_of(store) == before
        assert used_by(one) == used_by(two) == before.at(utc_now())


async def _is_blank(store: Client) -> bool:
    entry = (await store.get(KEY)).entry
    return entry is None or not entry.value.strip()


async def test_who_may_not_write_it_back_says_so_and_goes_on(
    store: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until somebody else does; a proxy's token may well be too weak."""
    put = Client.put

    async def refuse(client: Client, key: str, *rest: Any, **options: Any) -> Any:
        if key == KEY and client is not store:
            raise StoreRefused(403, "Permission denied")
        return await put(client, key, *rest, **options)

    async with proxy_on(store) as proxy:
        before = await secret_of(store)
        monkeypatch.setattr(Client, "put", refuse)
        await store.delete(KEY)
        await wait(lambda: "cannot be written back" in caplog.text)
        assert used_by(proxy) == before.at(utc_now())
        other = FleetSecret((Secret(b"o" * 32),))
        await store.put(KEY, other.dump())
        await wait(lambda: used_by(proxy) == (b"o" * 32,))


async def test_a_new_proxy_waits_for_the_others_to_give_it_back(store: Client) -> None:
    """Alone with an empty key it makes one; with others in the fleet they have it."""
    async with proxy_on(store):
        before = await secret_of(store)
    session = await store.create_session("a proxy", 10, deletes=True)
    await store.put("canary/web/proxies/other", b"{}", acquire=session)
    await store.delete(KEY)

    async def give_back() -> None:
        await trio.sleep(0.2)
        await store.put(KEY, before.dump(), cas=0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_back)
        async with proxy_on(store) as one:
            assert used_by(one) == before.at(utc_now())


async def test_what_is_no_secret_is_refused_and_the_last_good_goes_on(
    store: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_on(store) as proxy:
        before = used_by(proxy)
        bad = base64.b64encode(b"short")
        await store.put(KEY, bad)
        await wait(lambda: "the last good one goes on" in caplog.text)
        assert used_by(proxy) == before
        assert bad.decode() not in caplog.text
        good = FleetSecret((Secret(b"g" * 32),))
        await store.put(KEY, good.dump())
        await wait(lambda: used_by(proxy) == (b"g" * 32,))


async def test_a_proxy_that_remembers_one_starts_beside_a_bad_one(
    store: Client, tmp_path: Path
) -> None:
    options = {"remember": True, "state": tmp_path, "proxy_id": "p"}
    async with proxy_on(store, **options) as proxy:
        before = used_by(proxy)
        await wait((tmp_path / "web@p.json").exists)
    await store.put(KEY, b"no secret at all")
    async with proxy_on(store, **options) as proxy:
        assert used_by(proxy) == before


async def test_a_new_secret_is_remembered_too(store: Client, tmp_path: Path) -> None:
    options = {"remember": True, "state": tmp_path, "proxy_id": "p"}
    path = tmp_path / "web@p.json"
    async with proxy_on(store, **options):
        await wait(path.exists)
        rotated = await rotate_secret(
            store, "web", lambda secret: secret.rotated(utc_now(), LATER)
        )

        def is_remembered() -> bool:
            good = load_last_good(path)
            return good is not None and good.secret == rotated

        await wait(is_remembered)


async def test_nobody_moves_when_it_rotates(store: Client) -> None:
    """Each proxy takes each cookie, before the new one signs, and after."""
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(proxy_on(store)) for _ in range(2)]
        cookies = [cookie_from(proxy) for proxy in proxies * 5]
        old = await secret_of(store)
        rotated = await rotate_secret(
            store, "web", lambda secret: secret.rotated(utc_now(), LATER)
        )
        new, signs_from = rotated.secrets[0].value, rotated.secrets[0].signs_from
        assert signs_from is not None
        await wait(lambda: all(new in used_by(proxy) for proxy in proxies))
        for proxy in proxies:
            assert used_by(proxy)[0] == old.secrets[0].value
        cookies += [cookie_from(proxy) for proxy in proxies * 5]
        assert not given_anew(proxies, cookies)

        passed = FleetSecret(
            (Secret(new, utc_now() - LATER), *rotated.secrets[1:])
        )  # as if the lead were over
        await store.put(KEY, passed.dump())
        await wait(lambda: all(used_by(proxy)[0] == new for proxy in proxies))
        again = given_anew(proxies, cookies)
        assert len(again) == len(proxies) * len(cookies)
        for before, after in again:
            assert key_in(before) == key_in(after)
            assert before != after
        assert not given_anew(proxies, [after for _, after in again])


async def test_when_its_time_comes_the_new_one_signs(store: Client) -> None:
    async with proxy_on(store) as proxy:
        old = used_by(proxy)[0]
        now = utc_now()
        soon = FleetSecret(
            (
                Secret(b"n" * 32, now + timedelta(seconds=0.3)),
                Secret(old, None, now + timedelta(seconds=0.6)),
            )
        )
        await store.put(KEY, soon.dump())
        await wait(lambda: used_by(proxy) == (old, b"n" * 32))
        await wait(lambda: used_by(proxy) == (b"n" * 32, old))
        await wait(lambda: used_by(proxy) == (b"n" * 32,))


async def test_of_those_who_rotate_at_once_one_wins(store: Client) -> None:
    await store.put(KEY, FleetSecret.draw().dump())
    outcomes: list[FleetSecret | str] = []

    async def rotate() -> None:
        try:
            outcomes.append(
                await rotate_secret(
                    store, "web", lambda secret: secret.rotated(utc_now(), LATER)
                )
            )
        except WrittenMeanwhile:
            outcomes.append("written meanwhile")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(rotate)
    won = [outcome for outcome in outcomes if isinstance(outcome, FleetSecret)]
    assert won[-1] == await secret_of(store)
    assert len(won[-1].secrets) == 1 + len(won)


async def test_without_a_secret_there_is_nothing_to_rotate(store: Client) -> None:
    with pytest.raises(CanaryError, match="no secret yet"):
        await rotate_secret(store, "web", lambda secret: secret)
    await store.put(KEY, b"nonsense!")
    with pytest.raises(BadSecret, match="canary/web/secret: line 1"):
        await rotate_secret(store, "web", lambda secret: secret)


async def test_no_log_has_the_secret(
    store: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxy_on(store) as proxy:
        await rotate_secret(
            store, "web", lambda secret: secret.rotated(utc_now(), LATER)
        )
        await wait(lambda: len(used_by(proxy)) == 2)
        await store.delete(KEY)
        await wait(lambda: "written back" in caplog.text)
        for value in used_by(proxy):
            assert base64.b64encode(value).decode() not in caplog.text
            assert repr(value) not in caplog.text


def cookie_from(proxy: Proxy, cookie: str = "") -> str:
    """Ask a proxy's router; give the cookie that it would give, if any."""
    runtime = proxy._view.runtime
    assert runtime.live is not None
    line = f"Cookie: {cookie}\r\n" if cookie else ""
    raw = f"GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n".encode()
    head = parse_request_head(raw, Limits())
    decision = runtime.live.router.choose(
        head, "192.0.2.1", runtime.sequence, runtime.chance, secure=False
    )
    return (decision.cookie or b"").decode().partition(";")[0]


def given_anew(proxies: list[Proxy], cookies: list[str]) -> list[tuple[str, str]]:
    """Show each proxy each cookie; give those that it replaces, with the other one."""
    return [
        (cookie, other)
        for proxy in proxies
        for cookie in cookies
        if (other := cookie_from(proxy, cookie))
    ]


def key_in(cookie: str) -> str:
    return cookie.split("=", 1)[1].split(".")[1]
