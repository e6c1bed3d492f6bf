"""A request whose server fails, is full or is gone: where it goes, how it counts."""

from __future__ import annotations

import random
import socket
import struct
from functools import partial
from typing import Any

import pytest
import trio

from canary_trio.testing import (
    Proxied,
    arm,
    closed_url,
    hangs_up,
    proxied,
    says_canary,
    says_stable,
)
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


def status(head: bytes) -> int:
    return int(head.split(b" ")[1])


async def until_idle(proxy: Proxied) -> None:
    while proxy.in_flight:
        await trio.sleep(0.001)


# === retries and fallback ===


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
async def test_a_failed_canary_is_served_by_stable_and_counted(method: bytes) -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        arms = {"stable": arm(good), "canary": arm(bad)}
        async with proxied(arms, decision_header="X-Canary") as proxy:
            async with connected(proxy.server) as client:
                body = b"x" * 5000 if method == b"PUT" else b""
                head, _ = await client.ask(b"/", method=method, body=body)
            assert status(head) == 200
            assert b'arm="stable", reason=retry, chosen="canary"' in head
            assert good.asked[0].body == body
            assert proxy.counts("canary") == (1, 1, 1, 1, 0)
            assert proxy.counts("stable") == (0, 0, 0, 0, 1)
            assert proxy.in_flight == 0


async def test_what_was_sent_and_is_not_idempotent_fails() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        arms = {"stable": arm(good), "canary": arm(bad)}
        async with proxied(arms, decision_header="X-Canary") as proxy:
            async with connected(proxy.server) as client:
                head, _ = await client.ask(method=b"POST", body=b"x")
            assert status(head) == 502
            assert b'arm="canary"' in head
            assert not good.asked
            assert proxy.counts("canary") == (1, 1, 0, 0, 0)
            assert proxy.in_flight == 0


@pytest.mark.parametrize("size", [1, 300_000])
async def test_what_was_not_sent_goes_elsewhere_whatever_it_is(size: int) -> None:
    """Even where retries are off: it is the first time that a server gets it."""
    never = {"tries": 0, "budget": 0, "per_second": 0}
    async with fake_upstream(says_stable) as good:
        dead = [closed_url(), closed_url()]
        arms = {"stable": arm(good), "canary": arm(*dead, retries=never)}
        async with proxied(arms) as proxy:
            async with connected(proxy.server) as client:
                for _ in range(3):
                    body = b"x" * size
                    head, said = await client.ask(method=b"POST", body=body)
                    assert (status(head), said) == (200, b"stable")
            await until_idle(proxy)
            requests, errors, saved, _, _ = proxy.counts("canary")
            assert requests == errors == saved == 3
            assert proxy.in_flight == 0


async def test_another_server_of_the_arm_comes_first_where_there_are_two_tries() -> (
    None
):
    async with (
        fake_upstream(hangs_up) as bad,
        fake_upstream(says_canary) as other,
        fake_upstream(says_stable) as stable,
    ):
        canary = arm(bad, other, retries={"tries": 2})
        async with proxied({"stable": arm(stable), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                said = {(await client.ask())[1] for _ in range(4)}
            assert said == {b"canary"}
            requests, errors, saved, fallbacks, _ = proxy.counts("canary")
            assert (requests, fallbacks) == (4, 0)
            assert errors == saved == 2


async def test_an_arm_that_falls_back_to_nobody_fails() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        canary = arm(bad, fallback=None, retries={"tries": 1})
        async with proxied({"stable": arm(good), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                assert status((await client.ask())[0]) == 502
            assert bad.connections == 2  # it had its one more try
            assert proxy.counts("canary") == (1, 1, 0, 0, 0)


async def test_stable_falls_back_to_the_canary_only_if_asked() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_canary) as good:
        for fallback, expected in ((None, 502), ("canary", 200)):
            stable = arm(bad, fallback=fallback)
            arms = {"stable": stable, "canary": arm(good)}
            async with proxied(arms, ratio=0) as proxy:
                async with connected(proxy.server) as client:
                    assert status((await client.ask())[0]) == expected


async def test_the_budget_bounds_what_is_repeated() -> None:
    none = {"budget": 0, "per_second": 0}
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        arms = {"stable": arm(good), "canary": arm(bad, retries=none)}
        async with proxied(arms) as proxy:
            async with connected(proxy.server) as client:
                assert status((await client.ask())[0]) == 502
            assert not good.asked
            assert proxy.runtime.arms["canary"].budget.refused == 1


@pytest.mark.parametrize("body", [b"", b"x" * 100])
async def test_a_status_may_count_as_failed(body: bytes) -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )

    async with fake_upstream(script) as bad, fake_upstream(says_stable) as good:
        canary = arm(bad, retries={"status": [503]}, ejection=False)
        async with proxied({"stable": arm(good), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                assert (await client.ask())[1] == b"stable"
                head, said = await client.ask(method=b"POST", body=b"x")
            assert (status(head), said) == (503, body)
            assert proxy.counts("canary") == (2, 2, 1, 1, 0)
            assert proxy.in_flight == 0


async def test_an_upgrade_that_failed_is_served_elsewhere() -> None:
    async def switch(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nhello"
        )

    async with fake_upstream(hangs_up) as bad, fake_upstream(switch) as good:
        async with proxied({"stable": arm(good), "canary": arm(bad)}) as proxy:
            async with connected(proxy.server) as client:
                await client.send(UPGRADE)
                assert status(await client.head()) == 101
                assert await client.exactly(5) == b"hello"
            await until_idle(proxy)
            assert proxy.counts("canary") == (1, 1, 1, 1, 0)


# === fallback ===


async def test_an_arm_without_a_usable_server_falls_back() -> None:
    async with fake_upstream(says_stable) as good:
        resting = {"url": closed_url(), "mode": "maintenance"}
        canary: dict[str, Any] = {"servers": [resting]}
        arms = {"stable": arm(good), "canary": canary}
        async with proxied(arms, decision_header="X-Canary") as proxy:
            async with connected(proxy.server) as client:
                head, said = await client.ask()
            assert said == b"stable"
            assert b'arm="stable", reason=fallback, chosen="canary"' in head
            assert proxy.counts("canary") == (1, 1, 1, 1, 0)

            canary["fallback"] = None
            await proxy.install({"ratio": 1, "arms": arms, "decision_header": "X-C"})
            async with connected(proxy.server) as client:
                head, _ = await client.ask()
            assert status(head) == 503
            assert b"\r\nRetry-After: 1" in head
            assert b'\r\nX-C: revision=3, protocol=HTTP/1.1, arm="canary"' in head


# === limits ===


async def test_beyond_the_limit_requests_wait_in_order_or_are_refused() -> None:
    go_on = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await go_on.wait()
        await asked.response(asked.path)

    async with fake_upstream(script) as fake:
        limits = {"in_flight": 1, "pending": 2}
        arms = {"stable": arm(fake, limits=limits)}
        async with proxied(arms, ratio=0) as proxy, trio.open_nursery() as nursery:
            said: list[bytes] = []
            server = proxy.server_state("stable")

            async def ask(path: bytes) -> None:
                async with connected(proxy.server) as client:
                    head, body = await client.ask(path)
                    said.append(body if status(head) == 200 else b"refused")

            for at in range(3):
                nursery.start_soon(ask, b"/%d" % at)
                while server.in_flight + len(server.queue or ()) <= at:
                    await trio.sleep(0.001)
            async with connected(proxy.server) as client:
                head, _ = await client.ask(b"/3")
            assert status(head) == 503
            assert b"\r\nRetry-After: 1" in head
            assert server.in_flight == 1
            go_on.set()
            while len(said) < 3:
                await trio.sleep(0.001)
            assert said == [b"/0", b"/1", b"/2"]
            assert proxy.in_flight == 0
            assert proxy.counts("stable") == (4, 1, 0, 0, 0)


async def wait_one(proxy: Proxied, nursery: trio.Nursery) -> None:
    """Fill the one place of stable."""

    async def fill() -> None:
        async with connected(proxy.server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.to_end()

    nursery.start_soon(fill)
    while not proxy.in_flight:
        await trio.sleep(0.001)


async def never(asked: ReceivedRequest) -> None:
    await trio.sleep_forever()


async def test_waiting_has_an_end() -> None:
    async with fake_upstream(never) as fake:
        limits = {"in_flight": 1, "wait": 0.05}
        arms = {"stable": arm(fake, limits=limits)}
        async with proxied(arms, ratio=0) as proxy, trio.open_nursery() as nursery:
            await wait_one(proxy, nursery)
            async with connected(proxy.server) as client:
                head, body = await client.ask(method=b"POST", body=b"x" * 10)
            assert status(head) == 503
            assert b"no server had a place in time" in body
            assert not proxy.server_state("stable").queue
            nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_leaves_the_queue() -> None:
    async with fake_upstream(never) as fake:
        arms = {"stable": arm(fake, limits={"in_flight": 1})}
        async with proxied(arms, ratio=0) as proxy, trio.open_nursery() as nursery:
            await wait_one(proxy, nursery)
            server = proxy.server_state("stable")
            async with connected(proxy.server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not server.queue:
                    await trio.sleep(0.001)
            while server.queue:
                await trio.sleep(0.001)
            assert server.in_flight == 1
            nursery.cancel_scope.cancel()


async def test_who_waits_is_answered_when_the_proxy_drains() -> None:
    async with fake_upstream(never) as fake:
        arms = {"stable": arm(fake, limits={"in_flight": 1})}
        async with proxied(arms, ratio=0) as proxy, trio.open_nursery() as nursery:
            await wait_one(proxy, nursery)
            server = proxy.server_state("stable")
            async with connected(proxy.server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not server.queue:
                    await trio.sleep(0.001)
                proxy.server.drain(deadline_s=0.5)
                assert status(await client.head()) == 503
            assert not server.queue
            nursery.cancel_scope.cancel()


async def test_who_waits_at_a_server_that_goes_is_sent_to_another() -> None:
    go_on = trio.Event()

    async def slow(asked: ReceivedRequest) -> None:
        await go_on.wait()
        await asked.response(b"old")

    async with fake_upstream(slow) as old, fake_upstream(says_stable) as new:
        limits = {"in_flight": 1}
        arms = {"stable": arm(old, limits=limits)}
        async with proxied(arms, ratio=0) as proxy:
            server = proxy.server_state("stable")
            async with connected(proxy.server) as one, connected(proxy.server) as two:
                await one.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not server.in_flight:
                    await trio.sleep(0.001)
                await two.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not server.queue:
                    await trio.sleep(0.001)
                await proxy.install({"arms": {"stable": arm(new, limits=limits)}})
                go_on.set()
                assert (await one.response())[1] == b"old"
                assert (await two.response())[1] == b"stable"
            assert server.in_flight == proxy.in_flight == 0


# === waits ===


async def test_a_whole_request_has_a_limit_for_each_arm() -> None:
    async with fake_upstream(never) as fake, fake_upstream(says_stable) as good:
        canary = arm(fake, timeouts={"request": 0.05}, retries={"tries": 0})
        async with proxied({"stable": arm(good), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                head, body = await client.ask()
            assert (status(head), body) == (
                504,
                b"504 Gateway Timeout: request timeout\n",
            )
            assert proxy.in_flight == 0


async def test_a_response_that_is_late_for_its_arm_is_served_by_stable() -> None:
    async with fake_upstream(never) as fake, fake_upstream(says_stable) as good:
        canary = arm(fake, timeouts={"response": 0.05})
        async with proxied({"stable": arm(good), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                assert (await client.ask())[1] == b"stable"
            assert proxy.counts("canary") == (1, 1, 1, 1, 0)


# === fields ===


async def test_fields_are_changed_for_each_arm() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.response(b"", b"Server: x", b"X-Powered-By: y", b"X-Kept: z")

    async with fake_upstream(script) as fake:
        canary = arm(
            fake,
            request_headers={
                "remove": ["X-Secret"],
                "set": {"X-Arm": "canary"},
                "add": {"Via": "us"},
            },
            response_headers={
                "remove": ["X-Powered-By"],
                "set": {"Server": "canary-trio"},
                "add": {"X-Kept": "a"},
            },
        )
        async with proxied({"stable": arm(fake), "canary": canary}) as proxy:
            async with connected(proxy.server) as client:
                head, _ = await client.ask(b"/", b"x-secret: 1", b"x-arm: 0", b"X-A: b")
        assert b"X-Powered-By" not in head
        assert head.count(b"Server: ") == 1
        assert b"\r\nServer: canary-trio" in head
        assert b"\r\nX-Kept: z" in head
        assert b"\r\nX-Kept: a" in head
        asked = fake.asked[0].head
        assert b"secret" not in asked
        assert b"x-arm" not in asked
        assert b"\r\nX-Arm: canary" in asked
        assert b"\r\nX-A: b" in asked
        assert asked.lower().count(b"\r\nvia: ") == 2


async def test_each_arm_that_is_tried_gets_its_own_fields() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        changes = {"remove": ["X-A"], "set": {"X-Arm": "canary"}}
        arms = {
            "stable": arm(
                good,
                request_headers={"set": {"X-Arm": "stable"}},
                response_headers={
                    "remove": ["Content-Type"],
                    "set": {"X-By": "stable"},
                },
            ),
            "canary": arm(
                bad, request_headers=changes, response_headers={"set": {"X-By": "c"}}
            ),
        }
        async with proxied(arms) as proxy:
            async with connected(proxy.server) as client:
                head, _ = await client.ask(b"/", b"X-A: b")
        asked, named = bad.asked[0].head, good.asked[0].head
        assert b"\r\nX-A: b" in named
        assert b"\r\nX-A: b" not in asked
        assert b"\r\nX-Arm: canary" in asked
        assert b"\r\nX-Arm: stable" in named
        assert b"canary" not in named.replace(b"canary-trio", b"")
        assert head.count(b"X-By") == 1
        assert b"\r\nX-By: stable" in head


def field(head: bytes, name: bytes) -> list[bytes]:
    return [
        line.partition(b": ")[2]
        for line in head.split(b"\r\n")
        if line.lower().startswith(name + b": ")
    ]


async def test_a_request_has_one_name_whoever_serves_it() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        async with proxied({"stable": arm(good), "canary": arm(bad)}) as proxy:
            async with connected(proxy.server) as client:
                await client.ask(b"/")
                await client.ask(b"/", b"x-request-id: mine")
                await client.ask(b"/", b"X-Request-Id: <bad>")
        names = [field(asked.head, b"x-request-id") for asked in good.asked]
        assert names == [field(asked.head, b"x-request-id") for asked in bad.asked]
        assert names[1] == [b"mine"]
        assert all(len(names[at]) == 1 and len(names[at][0]) == 32 for at in (0, 2))


async def test_names_may_be_off_and_traces_on() -> None:
    async with fake_upstream(says_stable) as good:
        settings: dict[str, Any] = {"request_id": None, "start_traces": 1}
        async with proxied({"stable": arm(good)}, ratio=0, **settings) as proxy:
            async with connected(proxy.server) as client:
                await client.ask(b"/")
        asked = good.asked[0].head
        assert field(asked, b"x-request-id") == []
        assert field(asked, b"traceparent")[0].endswith(b"-01")


@pytest.mark.parametrize(
    ("method", "left", "expected", "passed_on"),
    [
        (b"OPTIONS", b"0", 204, None),
        (b"TRACE", b"0", 405, None),
        (b"OPTIONS", b"5", 200, [b"4"]),
        (b"TRACE", b"1", 200, [b"0"]),
        (b"OPTIONS", b"nonsense", 200, [b"nonsense"]),
        (b"GET", b"0", 200, [b"0"]),
    ],
)
async def test_hops_are_counted(
    method: bytes, left: bytes, expected: int, passed_on: list[bytes] | None
) -> None:
    async with fake_upstream(says_stable) as fake:
        async with proxied({"stable": arm(fake)}, ratio=0) as proxy:
            async with connected(proxy.server) as client:
                said = b"Max-Forwards: " + left
                head, _ = await client.ask(b"/", said, method=method)
        assert status(head) == expected
        if passed_on is None:
            assert not fake.asked
        else:
            assert field(fake.asked[0].head, b"max-forwards") == passed_on


# === nothing is left behind ===


async def test_a_client_that_leaves_during_a_pause_leaves_nothing() -> None:
    async with fake_upstream(hangs_up) as bad, fake_upstream(says_stable) as good:
        slow = {"backoff": 30, "longest_backoff": 30}
        arms = {"stable": arm(good), "canary": arm(bad, retries=slow)}
        async with proxied(arms) as proxy:
            async with connected(proxy.server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not proxy.counts("canary")[3]:
                    await trio.sleep(0.001)
                assert proxy.in_flight == 1
                # A close alone might be of one half: a reset says that it is gone.
                now = struct.pack("ii", 1, 0)
                client.stream.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, now
                )
            await until_idle(proxy)
        assert not good.asked


async def misbehave(asked: ReceivedRequest, chance: random.Random) -> None:
    """Answer, or fail in one of many ways."""
    stream = asked.stream
    match chance.choice("gggggbhhpn5cl"):
        case "h":
            await hangs_up(asked)
        case "p":
            await stream.send_all(b"HTTP/1.1 2")
            await hangs_up(asked)
        case "n":
            await stream.send_all(b"nonsense\r\n\r\n")
        case "5":
            await stream.send_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        case "c":
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nx")
            await hangs_up(asked)
        case "b":
            await asked.response(bytes(300_000))
        case "l":
            await trio.sleep(0.03)
            await asked.response(b"late")
        case _:
            await asked.response(b"good")


async def come_and_go(proxy: Proxied, chance: random.Random) -> None:
    """Ask, and sometimes leave before the request or its response is complete."""
    for _ in range(12):
        async with connected(proxy.server) as client:
            size = chance.choice([0, 0, 10, 100_000])
            method = chance.choice([b"GET", b"POST", b"PUT"])
            sent = size if chance.random() < 0.8 else size // 2
            head = b"%b / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
            await client.send(head % (method, size) + bytes(sent))
            if chance.random() < 0.7 and sent == size:
                await client.head()


async def test_whatever_happens_nothing_is_left_in_flight() -> None:
    """Random faults on both sides, and changes of the configuration meanwhile."""
    chance = random.Random(7)
    script = partial(misbehave, chance=chance)
    async with fake_upstream(script) as stable, fake_upstream(script) as canary:
        settings: dict[str, Any] = {
            "limits": {"in_flight": 3, "pending": 4, "wait": 0.05},
            "retries": {"tries": 2, "status": [503], "backoff": 0.002},
            "timeouts": {"response": 1, "request": 2},
        }
        arms = {
            "stable": arm(stable, closed_url(), fallback="canary", **settings),
            "canary": arm(canary, closed_url(), **settings),
        }
        async with proxied(arms, ratio=0.5) as proxy:
            async with trio.open_nursery() as nursery:
                for _ in range(16):
                    nursery.start_soon(come_and_go, proxy, chance)
                for at in range(20):
                    await trio.sleep(0.005)
                    await proxy.install({"ratio": at / 20, "arms": arms})
            await until_idle(proxy)
            servers = [
                s for a in proxy.runtime.arms.values() for s in a.server_set.servers
            ]
            assert not any(server.queue for server in servers)
            assert {server.in_flight for server in servers} == {0}
            states = proxy.runtime.arms.values()
            assert any(state.errors for state in states)
            assert any(state.saved or state.fallbacks for state in states)
