"""Two documents in one process: each request by one of them, each server by its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from canary_trio.config.document import load
from canary_trio.errors import InvalidConfig
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.changing.trial import Trial, begin_trial, run_trials
from canary_trio.proxy.changing.trial_split import trial_salt
from canary_trio.testing import (
    PATIENCE_S,
    Proxied,
    arm,
    proxied,
    says_canary,
    says_stable,
    url_of,
)
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    connected,
    fake_upstream,
)
from tests.canary_trio.proxy.changing.test_long_connections import endless, open_stream

STICKY = {"sticky_sessions": {"header": "X-User"}}


async def begin(proxy: Proxied, document: dict[str, Any], share: int = 5000) -> Trial:
    text = json.dumps(document)
    await begin_trial(
        *(proxy.runtime, load(text.encode()), 77, (b"secret",)),
        share=share,
        salt=trial_salt("web", text),
    )
    live = proxy.runtime.live
    assert live is not None
    assert isinstance(live.trial, Trial)
    return live.trial


@asynccontextmanager
async def two(**document: Any) -> AsyncIterator[tuple[Proxied, dict[str, Any]]]:
    """Run a proxy at one server; give also a document that has another one."""
    async with fake_upstream(says_stable) as one, fake_upstream(says_canary) as other:
        async with proxied({"stable": arm(one)}, ratio=0, **document) as proxy:
            yield proxy, {"arms": {"stable": arm(other)}, **document}


async def ask(client: RawClient, user: int) -> tuple[bytes, bytes]:
    """Give the head and the body of what a user is answered."""
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: u%d\r\n\r\n" % user)
    head = await client.until(b"\r\n\r\n")
    return head, await client.exactly(6)


async def test_each_user_is_served_by_one_document_and_told_which() -> None:
    async with two(decision_header="X-Canary", **STICKY) as (proxy, other):
        trial = await begin(proxy, other)
        async with connected(proxy.server) as client:
            said: dict[int, set[bytes]] = {}
            for user in [*range(100), *range(100)]:
                head, body = await ask(client, user)
                said.setdefault(user, set()).add(body)
                own = (
                    b"revision=77, trial, " if body == b"canary" else b"revision=2, pro"
                )
                assert own in head
        assert all(len(bodies) == 1 for bodies in said.values())
        tried = sum(bodies == {b"canary"} for bodies in said.values())
        assert 30 < tried < 70
        assert trial.tried.requests == 2 * tried
        assert trial.present.requests == 200 - 2 * tried
        counted = trial.counting.evidence().arms["trial"].users
        assert counted is not None
        assert tried - 2 <= counted <= tried, "two users may share one of 65,536 slots"
        assert proxy.counts("stable")[0] == 200, "an arm counts what both had"


async def test_what_ends_it_and_what_does_not() -> None:
    async with two(**STICKY) as (proxy, other), connected(proxy.server) as client:

        async def said() -> Counter[bytes]:
            return Counter([(await ask(client, user))[1] for user in range(40)])

        trial = await begin(proxy, other)
        before = await said()
        assert before.keys() == {b"stable", b"canary"}
        live = proxy.runtime.live
        assert live is not None
        same = await proxy.runtime.build(live.config, live.revision, b"secret")
        proxy.runtime.install(same)  # as the store says again what there is
        assert await said() == before
        assert trial.tried.requests == 2 * before[b"canary"]
        proxy.runtime.try_beside(None)
        assert await said() == {b"stable": 40}
        assert trial.runtime.is_busy is False
        await begin(proxy, other, share=9999)
        assert (await said())[b"canary"] == 40
        await proxy.install(other)  # as it is confirmed
        assert proxy.runtime.live is not None
        assert proxy.runtime.live.trial is None
        assert await said() == {b"canary": 40}
        assert proxy.counts("stable")[0] == 200


async def test_its_connections_end_with_a_proxy_that_serves_no_more() -> None:
    async with two() as (proxy, other), connected(proxy.server) as client:
        trial = await begin(proxy, other, share=9999)
        for user in range(3):
            await ask(client, user)
        live = trial.runtime.live
        assert live is not None
        upstream = live.arms["stable"].servers[0].upstream
        assert upstream.idle
        proxy.runtime.close_idle()
        assert not upstream.idle


async def test_one_that_cannot_run_changes_nothing() -> None:
    async with two() as (proxy, other):
        live = proxy.runtime.live
        users = {"basic_auth": {"users": "/nowhere/users"}}
        with pytest.raises(InvalidConfig):
            await begin(proxy, {**other, "access": users})
        assert proxy.runtime.live is live


async def test_what_goes_on_beside_it_begins_and_ends_with_it() -> None:
    """Its servers are checked by its own document, and no more when it is over."""
    asked: list[bytes] = []

    async def notes(request: Any) -> None:
        asked.append(request.path)
        await request.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with two() as (proxy, _), fake_upstream(notes) as checked:
        health = {"path": "/up", "interval": 0.1}
        servers = {"servers": [url_of(checked)], "health": health}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_trials, proxy.runtime)
            for _ in range(2):
                await begin(proxy, {"arms": {"stable": servers}})
                count = len(asked)
                while len(asked) < count + 2:
                    await trio.sleep(0.01)
                proxy.runtime.try_beside(None)
                await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(0.2)
                count = len(asked)
                await trio.sleep(0.3)
                assert len(asked) == count
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stays", [True, False])
async def test_a_long_connection_is_where_it_is_to_be_when_it_is_over(
    stays: bool,
) -> None:
    rule: dict[str, Any] = {"connections": {"change": "recall", "time": 0.02}}
    async with fake_upstream(endless) as one, fake_upstream(endless) as other:
        arms = {"stable": arm(one)}
        async with proxied(arms, ratio=0, **rule) as proxy, trio.open_nursery() as run:
            long = LongConnections(proxy.runtime, proxy.server, lambda: 0.5)
            run.start_soon(long.run)
            tried = {"arms": {"stable": arm(one if stays else other)}, **rule}
            await begin(proxy, tried, share=9999)
            async with connected(proxy.server) as client:
                await open_stream(client)
                while not proxy.runtime.is_busy:
                    await open_stream(client)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert long.leaving == long.recalled == 0
                proxy.runtime.try_beside(None)
                with trio.fail_after(PATIENCE_S):
                    while not stays and not long.recalled:
                        await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert long.recalled == (0 if stays else 1)
            run.cancel_scope.cancel()


async def test_who_is_asked_about_meanwhile_keeps_the_key_that_was_drawn() -> None:
    """Others come before a server has said who may pass: no key goes to another user."""
    asked: list[bytes] = []
    go_on = trio.Event()

    async def answer_later(request: ReceivedRequest) -> None:
        asked.append(request.path)
        if b"X-Wait: yes" in request.head:
            await go_on.wait()
        await request.response(b"")

    said: dict[int, tuple[bytes, bytes]] = {}

    async with fake_upstream(answer_later) as auth:
        access = {"forward_auth": {"url": url_of(auth)}}
        async with two(sticky_sessions={}, access=access) as (proxy, other):
            await begin(proxy, other)

            async def come(path: bytes, *lines: bytes) -> tuple[bytes, bytes]:
                async with connected(proxy.server) as client:
                    head, body = await client.ask(path, *lines)
                    return cookie_of(head), body

            async def come_first(user: int) -> None:
                said[user] = await come(b"/%d" % user, b"X-Wait: yes")

            known, body_of_known = await come(b"/")
            async with trio.open_nursery() as nursery:
                for user in range(12):
                    nursery.start_soon(come_first, user)
                with trio.fail_after(PATIENCE_S):
                    while len(asked) < 13:
                        await trio.sleep(0.01)
                assert await come(b"/", b"Cookie: " + known) == (b"", body_of_known)
                go_on.set()
            cookies = {known, *(cookie for cookie, _ in said.values())}
            assert len(cookies) == 13, "each has a key of his own"
            for cookie, body in said.values():
                assert await come(b"/", b"Cookie: " + cookie) == (b"", body)


def cookie_of(head: bytes) -> bytes:
    found = re.search(rb"\r\nSet-Cookie: ([^;\r\n]*)", head, re.IGNORECASE)
    return b"" if found is None else found[1]
