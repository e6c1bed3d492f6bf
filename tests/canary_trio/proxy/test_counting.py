"""What is counted for the judge of a rollout, as requests pass through a proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from canary_trio.rollout.fleet.arm_tally import KNOWN, ArmTally, Counting
from canary_trio.rollout.fleet.published import ArmSums
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

Script = Callable[[ReceivedRequest], Awaitable[None]]

STATE = {"phase": "running", "step": 0, "begun": 1, "since": 1}
ROLLOUT = {"id": "v42", "steps": [1], "judge": True, "state": STATE}
GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%b\r\n"
POST = (
    b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n%b\r\nx"
)


def says(status: bytes, body: bytes = b"", fields: bytes = b"") -> Script:
    async def script(request: ReceivedRequest) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n"
        await request.stream.send_all(head % (status, len(body), fields) + body)

    return script


async def is_cut(request: ReceivedRequest) -> None:
    """Promise more than is sent."""
    await request.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    await request.stream.aclose()
    raise trio.ClosedResourceError


async def is_silent(request: ReceivedRequest) -> None:
    await request.stream.receive_some()
    raise trio.ClosedResourceError


def counting(proxy: Proxied) -> Counting:
    live = proxy.runtime.live
    assert live is not None
    assert live.counting is not None
    return live.counting


def sums(proxy: Proxied, name: str = "canary") -> ArmSums:
    return counting(proxy).evidence().arms[name]


async def ask(proxy: Proxied, raw: bytes = GET % b"") -> bytes:
    async with connected(proxy.server) as client:
        await client.send(raw)
        return await client.to_end()


ALONE = {"fallback": None, "retries": {"tries": 0}}


@pytest.mark.parametrize(
    ("script", "errors"),
    [
        pytest.param(says_canary, 0, id="well"),
        pytest.param(says(b"404 Not Found"), 0, id="not found"),
        pytest.param(says(b"500 Oh"), 1, id="500"),
        pytest.param(says(b"599 Oh"), 1, id="599"),
        pytest.param(hangs_up, 1, id="no response"),
        pytest.param(is_cut, 1, id="cut"),
        pytest.param(is_silent, 1, id="too late"),
        pytest.param(says(b"OK"), 1, id="nonsense"),
    ],
)
async def test_what_fails(script: Script, errors: int) -> None:
    async with fake_upstream(script) as fake, fake_upstream(says_stable) as other:
        arms = {"stable": arm(other), "canary": arm(fake, **ALONE)}
        arms["canary"]["timeouts"] = {"response": 0.2}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            await ask(proxy)
            found = sums(proxy)
            assert (found.requests, found.errors) == (1, errors)
            assert sum(found.latencies.values()) == 1 - errors
            assert sums(proxy, "stable").requests == 0


async def test_a_refused_connection_fails() -> None:
    async with fake_upstream(says_stable) as other:
        arms = {"stable": arm(other), "canary": arm(closed_url(), **ALONE)}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            await ask(proxy)
            assert (sums(proxy).requests, sums(proxy).errors) == (1, 1)


@pytest.mark.parametrize("script", [hangs_up, None], ids=["failed it", "no server"])
async def test_what_another_arm_saved_is_the_canarys_failure(
    script: Script | None,
) -> None:
    async with fake_upstream(script or says_canary) as fake:
        async with fake_upstream(says_stable) as other:
            server = fake if script else closed_url()
            arms = {"stable": arm(other), "canary": arm(server)}
            async with proxied(arms, rollout=ROLLOUT) as proxy:
                assert b"stable" in await ask(proxy)
                assert (sums(proxy).requests, sums(proxy).errors) == (1, 1)
                assert sums(proxy, "stable").requests == 0


async def test_a_request_that_no_server_can_have_fails() -> None:
    async with fake_upstream(says_stable) as other:
        maintained = [{"url": closed_url(), "mode": "maintenance"}]
        canary = {"servers": maintained, "fallback": None}
        arms = {"stable": arm(other), "canary": canary}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            assert b"503" in await ask(proxy)
            assert (sums(proxy).requests, sums(proxy).errors) == (1, 1)


async def test_what_its_client_left_is_not_counted() -> None:
    asked = trio.Event()

    async def never(request: ReceivedRequest) -> None:
        asked.set()
        await is_silent(request)

    async with fake_upstream(never) as fake, fake_upstream(says_stable) as other:
        arms = {"stable": arm(other), "canary": arm(fake, **ALONE)}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            async with connected(proxy.server) as client:
                await client.send(GET % b"")
                await asked.wait()
            while proxy.in_flight:
                await trio.sleep(0.01)
            assert sums(proxy).requests == 0


async def test_which_statuses_fail_is_said_in_the_document() -> None:
    judge = {"errors": {"status": [404, "500-502"]}}
    for status, errors in ((b"404 Not", 1), (b"502 Oh", 1), (b"503 Oh", 0)):
        async with fake_upstream(says(status)) as fake:
            arms = {"stable": arm(fake), "canary": arm(fake, **ALONE)}
            async with proxied(arms, rollout={**ROLLOUT, "judge": judge}) as proxy:
                await ask(proxy)
                assert sums(proxy).errors == errors


@pytest.mark.parametrize(
    ("code", "errors"), [(b"0", 0), (b"5", 0), (b"13", 1), (b"14", 1), (b"4", 1)]
)
async def test_a_status_of_grpc_without_a_body(code: bytes, errors: int) -> None:
    """Of calls by HTTP/1.1, as gRPC-Web's are; those by HTTP/2 are in `test_grpc`."""
    fields = b"Content-Type: application/grpc\r\ngrpc-status: %b\r\n" % code
    async with fake_upstream(says(b"200 OK", fields=fields)) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake, **ALONE)}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            await ask(proxy, POST % b"Content-Type: application/grpc\r\n")
            assert (sums(proxy).requests, sums(proxy).errors) == (1, errors)


async def test_what_a_rule_sent_there_nobody_drew() -> None:
    rules = [{"arm": "canary", "header": "X-Beta", "equals": "1"}]
    async with fake_upstream(says_canary) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake)}
        async with proxied(arms, rules=rules, rollout=ROLLOUT) as proxy:
            await ask(proxy, GET % b"X-Beta: 1\r\n")
            assert sums(proxy).requests == 0
            await ask(proxy)
            assert sums(proxy).requests == 1


@pytest.mark.parametrize("balance", ["round_robin", "hash"])
async def test_a_user_fails_once(balance: str) -> None:
    sticky = {"header": "X-User"}
    async with fake_upstream(says(b"500 Oh")) as fake:
        canary = arm(fake, **ALONE, balance=balance, hash_by={"header": "X-Page"})
        arms = {"stable": arm(fake), "canary": canary}
        async with proxied(arms, sticky_sessions=sticky, rollout=ROLLOUT) as proxy:
            for user, page in ((b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"a", b"3")):
                await ask(proxy, GET % b"X-User: %b\r\nX-Page: %b\r\n" % (user, page))
            found = sums(proxy)
            assert (found.requests, found.errors, found.users) == (4, 2, 2)
            await ask(proxy)  # who has no key is somebody
            assert (sums(proxy).errors, sums(proxy).users) == (3, 3)


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param({"sticky_sessions": {"header": "X-User"}}, id="sticky"),
        pytest.param({"style": "hash", "hash_by": {"header": "X-User"}}, id="hash"),
    ],
)
async def test_a_user_is_timed_once(asks: dict[str, Any]) -> None:
    async with fake_upstream(says_canary) as fake:
        canary = arm(fake, **ALONE, balance="hash", hash_by={"header": "X-Page"})
        arms = {"stable": arm(fake), "canary": canary}
        async with proxied(arms, **asks, rollout=ROLLOUT) as proxy:
            for user, page in ((b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"a", b"3")):
                await ask(proxy, GET % b"X-User: %b\r\nX-Page: %b\r\n" % (user, page))
            tally = counting(proxy).tallies["canary"]
            assert sum(slot >= KNOWN for slot in tally.slots) == 2
            found = sums(proxy)
            assert (found.requests, found.users, found.timed) == (4, 2, 2)
            assert found.latencies == {}
            for _ in range(2):  # who has no key is somebody, whatever page he asks for
                await ask(proxy, GET % b"X-Page: 1\r\n")
            assert sum(sums(proxy).latencies.values()) == 2


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param({"sticky_sessions": {"header": "X-User"}}, id="sticky"),
        pytest.param({"style": "hash", "hash_by": {"header": "X-User"}}, id="hash"),
    ],
)
async def test_errors_by_request_are_counted_by_groups_too(
    asks: dict[str, Any],
) -> None:
    rollout = {**ROLLOUT, "judge": {"errors": {"unit": "requests"}}}

    async def fails_for_some(request: ReceivedRequest) -> None:
        fails = b"X-Fails" in request.head
        await (says(b"500 Oh") if fails else says_canary)(request)

    async with fake_upstream(fails_for_some) as fake:
        canary = arm(fake, **ALONE)
        arms = {"stable": arm(fake), "canary": canary}
        async with proxied(arms, **asks, rollout=rollout) as proxy:
            for user in (b"a", b"a", b"b", b"a"):
                await ask(proxy, GET % b"X-User: %b\r\n" % user)
                await ask(proxy, GET % b"X-User: %b\r\nX-Fails: 1\r\n" % user)
            await ask(proxy)  # who has no key is in no group
            found = sums(proxy)
            assert (found.requests, found.errors, found.users) == (9, 4, None)
            assert found.timed == 2  # latency is of users
            assert found.groups is not None
            assert sorted(found.groups.requests)[-3:] == [0, 2, 6]
            assert sorted(found.groups.failed)[-3:] == [0, 1, 3]


async def test_where_nobody_has_a_key_there_are_no_groups() -> None:
    rollout = {**ROLLOUT, "judge": {"errors": {"unit": "requests"}}}
    async with fake_upstream(says(b"500 Oh")) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake, **ALONE)}
        async with proxied(arms, rollout=rollout) as proxy:
            await ask(proxy)
            found = sums(proxy)
            assert (found.requests, found.errors, found.groups) == (1, 1, None)


async def test_a_user_who_is_given_a_key_is_timed_before_he_shows_it() -> None:
    async with fake_upstream(says_canary) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake)}
        sticky = {"cookie": "who"}
        async with proxied(arms, sticky_sessions=sticky, rollout=ROLLOUT) as proxy:
            given = await ask(proxy)
            value = given.partition(b"Set-Cookie: ")[2].partition(b";")[0]
            first = sums(proxy).newest
            await ask(proxy, GET % b"Cookie: %b\r\n" % value)
            again = sums(proxy).newest
            assert len(first) == 1
            assert [one[0] for one in again] == [first[0][0]] * 2  # counted once


@pytest.mark.parametrize(
    "rollout",
    [
        pytest.param(None, id="no rollout"),
        pytest.param({**ROLLOUT, "judge": False}, id="no judge"),
        pytest.param({**ROLLOUT, "state": {**STATE, "phase": "done"}}, id="done"),
        pytest.param({**ROLLOUT, "state": {**STATE, "phase": "aborted"}}, id="aborted"),
        pytest.param({"id": "v42", "steps": [1], "judge": True}, id="not begun"),
    ],
)
async def test_otherwise_nothing_is_counted(rollout: dict[str, Any] | None) -> None:
    async with fake_upstream(says_canary) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake)}
        async with proxied(arms) as proxy:
            document = {"ratio": 1, "arms": arms}
            if rollout is not None:
                await proxy.install({**document, "rollout": rollout})
            await ask(proxy)
            live = proxy.runtime.live
            assert live is not None
            assert live.counting is None
            assert not any(labels.tally for labels in live.labels._labels.values())


async def test_counts_go_on_in_a_step_and_begin_anew_in_the_next() -> None:
    async with fake_upstream(says_canary) as fake:
        arms = {"stable": arm(fake), "canary": arm(fake)}
        document = {"ratio": 1, "arms": arms, "rollout": ROLLOUT}
        async with proxied(arms, rollout=ROLLOUT) as proxy:
            await ask(proxy)
            first = counting(proxy)
            moved = {**ROLLOUT, "state": {**STATE, "phase": "paused", "since": 2}}
            await proxy.install({**document, "rollout": moved})
            await ask(proxy)
            assert counting(proxy) is first
            assert sums(proxy).requests == 2
            rollout = {**ROLLOUT, "steps": [0.5, 1], "state": {**STATE, "step": 1}}
            await proxy.install({**document, "rollout": rollout})
            assert sums(proxy).requests == 0
            assert counting(proxy).epoch != first.epoch


async def test_a_third_arm_is_counted_where_stable_is_none_of_the_two() -> None:
    async with fake_upstream(says_canary) as fake:
        arms = {name: arm(fake) for name in ("stable", "canary", "baseline")}
        rollout = {**ROLLOUT, "against": "baseline"}
        async with proxied(arms, rollout=rollout) as proxy:
            assert set(counting(proxy).tallies) == {"canary", "baseline", "stable"}
            assert all(
                isinstance(one, ArmTally) for one in counting(proxy).tallies.values()
            )
