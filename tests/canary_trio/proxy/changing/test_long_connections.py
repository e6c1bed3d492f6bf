"""Which WebSockets and streams a change of the document ends, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.testing import Proxied, arm, proxied, says_stable
from http_trio.testing.peers import RawClient, ReceivedRequest, connected, fake_upstream
from tests.http_trio.proxy.test_tunnel import RESTART, SWITCH, UPGRADE

RECALL = {"change": "recall", "time": 0.02}
RULE = {"header": "X-Canary", "equals": "yes", "arm": "canary"}


async def endless(asked: ReceivedRequest) -> None:
    """Open a WebSocket, begin a stream, or a long response of known length."""
    stream = asked.stream
    if b"Upgrade: websocket" in asked.head:
        await stream.send_all(SWITCH + b"\x81\x02hi")
        while data := await stream.receive_some():
            if data[:1] == b"\x88":
                await stream.send_all(RESTART)
                return
    elif asked.path == b"/long":
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
        await trio.sleep_forever()
    else:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send_all(head + b"2\r\nhi\r\n")
        await trio.sleep_forever()


@asynccontextmanager
async def here(**document: Any) -> AsyncIterator[tuple[Proxied, LongConnections, Any]]:
    """Run a proxy with long connections at both arms; give the document of its arms."""
    async with fake_upstream(endless) as one, fake_upstream(endless) as two:
        arms = {"stable": arm(one), "canary": arm(two)}
        async with proxied(arms, **document) as proxy:
            long = LongConnections(proxy.runtime, proxy.server, lambda: 0.5)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(long.run)
                yield proxy, long, arms
                nursery.cancel_scope.cancel()


async def open_websocket(client: RawClient, *lines: bytes) -> None:
    await client.send(
        UPGRADE[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    )
    await client.until(b"\x81\x02hi")


async def open_stream(client: RawClient, path: bytes = b"/") -> None:
    await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
    await client.until(b"hi")


async def until_recalled(long: LongConnections, count: int) -> None:
    while long.recalled < count:
        await trio.sleep(0.001)
    assert long.recalled == count


async def test_by_default_a_change_ends_nothing() -> None:
    async with here() as (proxy, long, arms):
        async with connected(proxy.server) as client:
            await open_websocket(client)
            await proxy.install({"arms": {"stable": arms["stable"]}})
            await trio.testing.wait_all_tasks_blocked()
            assert long.leaving == 0
            assert proxy.runtime.in_flight("canary") == 1


GONE = [
    pytest.param({"arms": ["stable"]}, id="its arm is gone"),
    pytest.param({"mode": "maintenance"}, id="its server is in maintenance"),
    pytest.param({"ratio": 0}, id="its arm has no share"),
    pytest.param({"rules": [{**RULE, "arm": "stable"}]}, id="a rule leads elsewhere"),
]


def changed(arms: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"ratio": 1, "arms": dict(arms), **change}
    if "arms" in change:
        document |= {"ratio": 0, "arms": {"stable": arms["stable"]}}
    if "mode" in change:
        url = arms["canary"]["servers"][0]
        server = {"url": url, "mode": document.pop("mode")}
        document["arms"]["canary"] = {"servers": [server]}
    return document


@pytest.mark.parametrize("change", GONE)
async def test_a_recall_ends_what_is_elsewhere_now(change: dict[str, Any]) -> None:
    async with here(rules=[]) as (proxy, long, arms):
        async with connected(proxy.server) as one, connected(proxy.server) as two:
            await open_websocket(one, b"X-Canary: yes")
            if "rules" not in change:
                await open_stream(two)
            await proxy.install({**changed(arms, change), "connections": RECALL})

            assert await one.exactly(4) == RESTART
            if "rules" not in change:
                assert await two.to_end() == b"\r\n"
            await until_recalled(long, 1 if "rules" in change else 2)
            assert long.leaving == 0


async def test_a_thousand_unrelated_changes_end_nothing() -> None:
    document: dict[str, Any] = {
        "rules": [RULE],
        "sticky_sessions": {"header": "X-User"},
        "connections": {"change": "recall", "time": 0},
    }
    async with here(**document) as (proxy, long, arms):
        async with (
            connected(proxy.server) as one,
            connected(proxy.server) as two,
            connected(proxy.server) as three,
        ):
            await open_websocket(one, b"X-Canary: yes")
            await open_websocket(two, b"X-User: ann")
            await open_stream(three)
            for at in range(1000):
                ratio = (9000 + at) / 10_000
                weight = {"url": arms["canary"]["servers"][0], "weight": at % 7 + 1}
                await proxy.install(
                    {
                        **document,
                        "ratio": ratio,
                        "update_rate": at % 9 + 1,
                        "arms": {**arms, "canary": {"servers": [weight]}},
                    }
                )
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert (long.recalled, long.leaving) == (0, 0)
            assert proxy.in_flight == 3
            at_once = {"change": "recall", "time": 0}
            stable = {"stable": arms["stable"]}
            await proxy.install({"arms": stable, "connections": at_once})
            await until_recalled(long, 3)


async def test_a_user_who_is_moved_is_recalled_and_nobody_else() -> None:
    sticky = {"sticky_sessions": {"header": "X-User"}, "connections": RECALL}
    async with here(**sticky) as (proxy, long, arms):
        async with trio.open_nursery() as nursery:
            ends: list[bytes] = []

            async def user(name: bytes) -> None:
                async with connected(proxy.server) as client:
                    await open_websocket(client, b"X-User: " + name)
                    assert await client.exactly(4) == RESTART
                    ends.append(name)

            for at in range(40):
                nursery.start_soon(user, b"u%d" % at)
            while proxy.in_flight < 40:
                await trio.sleep(0.001)
            await proxy.install({"ratio": 0.5, "arms": arms, **sticky})
            while not long.recalled or long.leaving:
                await trio.sleep(0.001)
            assert 5 < long.recalled < 35
            while len(ends) < long.recalled:
                await trio.sleep(0.001)
            while proxy.in_flight > 40 - len(ends):
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()


async def test_what_is_restored_in_time_stays() -> None:
    slow = {"connections": {"change": "recall", "time": 0.2}}
    async with here(**slow) as (proxy, long, arms):
        async with connected(proxy.server) as client:
            await open_websocket(client)
            await proxy.install({"ratio": 0, "arms": arms, **slow})
            while not long.leaving:
                await trio.sleep(0.001)
            await proxy.install({"ratio": 1, "arms": arms, **slow})
            while long.leaving:
                await trio.sleep(0.001)
            assert long.recalled == 0
            assert proxy.runtime.in_flight("canary") == 1


@pytest.mark.parametrize("change", ["drain", "recall"])
async def test_what_ends_by_itself_has_the_whole_time(change: str) -> None:
    rule = {"connections": {"change": change, "time": 0.1}}
    async with here(**rule) as (proxy, long, arms):
        async with connected(proxy.server) as client:
            await open_stream(client, b"/long")
            began = proxy.runtime.now()
            await proxy.install({"ratio": 0, "arms": arms, **rule})
            await until_recalled(long, 1)
            assert proxy.runtime.now() - began >= 0.1
            assert await client.to_end() == b""


async def test_what_has_not_begun_is_let_begin() -> None:
    go_on = trio.Event()

    async def late(asked: ReceivedRequest) -> None:
        await go_on.wait()
        await asked.response(b"late")

    rule = {"connections": {"change": "recall", "time": 0.01}}
    async with fake_upstream(late) as slow, fake_upstream(says_stable) as good:
        arms = {"stable": arm(good), "canary": arm(slow)}
        async with proxied(arms, **rule) as proxy, trio.open_nursery() as nursery:  # type: ignore[arg-type]
            long = LongConnections(proxy.runtime, proxy.server, lambda: 0.5)
            nursery.start_soon(long.run)
            async with connected(proxy.server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not slow.asked:
                    await trio.sleep(0.001)
                await proxy.install({"arms": {"stable": arms["stable"]}, **rule})
                while not long.leaving:
                    await trio.sleep(0.001)
                await trio.sleep(0.05)
                go_on.set()
                assert (await client.response())[1] == b"late"
            assert long.recalled == 0
            nursery.cancel_scope.cancel()
