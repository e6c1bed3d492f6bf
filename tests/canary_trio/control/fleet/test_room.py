"""Room for more traffic: what is short at one proxy, and that one is enough."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import trio

from canary_trio.admin.asking.rollout_view import read_rollout
from canary_trio.config.document import build
from canary_trio.control.driving import rollout_duty
from canary_trio.control.fleet.evidence import read_evidence
from canary_trio.control.fleet.room import (
    LEAST,
    RECENT_S,
    SLOW_S,
    Room,
    short_in,
)
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout import commands
from canary_trio.rollout.fleet.published import MOST_WORDS, ProxyEvidence
from kv_trio.testing import in_memory_store
from tests.canary_trio.control.driving.test_rollout_duty import (
    phase_is,
    tell,
    until,
    write,
)
from tests.canary_trio.support.rollouts import ARMS
from tests.canary_trio.support.stored_proxy import proxy_on


def document(ratio: float, **state: Any) -> dict[str, Any]:
    shown = {"phase": "running", "step": 0, "begun": 5, "ratio": ratio, **state}
    rollout = {"id": "v1", "steps": [0.5, 1], "state": shown}
    return {"arms": ARMS, "ratio": ratio, "rollout": rollout}


@attrs.define
class Seen:
    """An arm as one proxy sees it."""

    runtime: Runtime = attrs.field(factory=lambda: Runtime("web"))
    now: float = 1000.0

    async def has(self, ratio: float, **state: Any) -> Room:
        config = build(document(ratio, **state))
        self.runtime.install(await self.runtime.build(config, 57, b"secret"))
        return Room(self.runtime)

    def serve(self, room: Room, seconds: float, ticks: int = 4) -> dict[str, str]:
        """Let requests of the canary end, and time go by."""
        found: dict[str, str] = {}
        for _ in range(ticks):
            for _ in range(LEAST):
                self.runtime.observer.counters.of_arm("canary").add(seconds)
            self.now += 0.5
            found = dict(room.look(self.now))
        return found


async def test_an_arm_without_a_healthy_server_has_no_room() -> None:
    seen = Seen()
    room = await seen.has(0.1)
    assert room.look(1.0) == {}
    assert seen.runtime.live is not None
    (server,) = seen.runtime.live.arms["canary"].servers
    server.listener.checked(server, 0.0, up=False)
    assert room.look(1.0) == {"canary": "canary has no healthy server"}


async def test_an_arm_with_few_places_left_has_no_room() -> None:
    seen = Seen()
    room = await seen.has(0.1)
    assert seen.runtime.live is not None
    (server,) = seen.runtime.live.arms["stable"].servers
    server.in_flight = int(server.limit * 0.8) + 1
    assert room.look(1.0) == {"stable": "stable has few places left"}


@pytest.mark.parametrize("phase", ["aborted", "done"])
async def test_a_rollout_that_is_over_needs_no_room(phase: str) -> None:
    seen = Seen()
    room = await seen.has(0.1, phase=phase)
    assert seen.runtime.live is not None
    (server,) = seen.runtime.live.arms["canary"].servers
    server.listener.checked(server, 0.0, up=False)
    assert room.look(1.0) == {}


async def test_an_arm_that_became_slower_with_its_share_is_waited_for_a_while() -> None:
    seen = Seen()
    room = await seen.has(0.1)
    assert seen.serve(room, 0.02) == {}
    await seen.has(0.3)
    assert seen.serve(room, 0.02) == {}
    assert seen.serve(room, 0.2, ticks=8) == {
        "canary": "canary takes at least 2 times as long as before"
    }
    ticks = int(2 * RECENT_S) + 1
    assert seen.serve(room, 0.02, ticks) == {}, "it is over when it is quick again"
    assert seen.serve(room, 0.2, ticks) != {}
    assert seen.serve(room, 0.2, int(2 * SLOW_S)) == {}, "it slows, and holds nothing"


async def test_what_is_slow_from_the_beginning_is_for_the_judge() -> None:
    seen = Seen()
    room = await seen.has(0.1)
    assert seen.serve(room, 0.5, 40) == {}
    await seen.has(0.3)
    assert seen.serve(room, 0.5, 40) == {}


def test_one_proxy_that_is_short_is_enough_and_is_named() -> None:
    fleet = {
        name: ProxyEvidence("", "", {}, short=short)
        for name, short in {
            "a": {},
            "b": {"canary": "canary has no healthy server"},
            "c": {"canary": "requests wait for a place at canary"},
            "d": {"stable": "stable has few places left"},
        }.items()
    }
    assert short_in(fleet, "canary") == "canary has no healthy server, at b and 1 more"
    assert short_in(fleet, "stable") == "stable has few places left, at d"
    assert short_in(fleet, "baseline") == ""


def test_what_is_told_is_bounded_and_read_again() -> None:
    told = ProxyEvidence("w", "e", {}, short={"canary": "x" * 1000})
    read = ProxyEvidence.load(told.dump())
    assert read is not None
    assert read.short == {"canary": "x" * MOST_WORDS}
    for bad in (b"[1]", b'{"a":"","b":"","c":"","d":""}', b"5"):
        text = b'{"window":"","epoch":"","arms":{},"short":%b}' % bad
        assert ProxyEvidence.load(text) is None


async def test_a_rollout_waits_for_the_room_of_a_proxy_that_does_not_drive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollout_duty, "LOOK_S", 0.2)
    async with (
        in_memory_store() as client,
        proxy_on(client, proxy_id="a") as one,
        proxy_on(client, proxy_id="b") as other,
    ):
        await write(client, steps=[0.1, 1], gates=[{"at": [1], "approval": True}])
        await until(client, phase_is("waiting", 0))
        beside = {"a": other, "b": one}[
            (await read_rollout(client, "web", 1.0))["driver"]["by"]
        ]
        live = beside._view.runtime.live
        assert live is not None
        (server,) = live.arms["canary"].servers
        server.listener.checked(server, 0.0, up=False)
        short = f"canary has no healthy server, at {beside.id}"
        with trio.fail_after(30):
            while short_in(await read_evidence(client, "web"), "canary") != short:
                await trio.sleep(0.02)
            await tell(client, partial(commands.skip_gates, approvals=True))
            while True:
                found = await read_rollout(client, "web", 1.0)
                if found["waits_for"] == f"step 1 waits: {short}":
                    break
                await trio.sleep(0.02)
        assert found["ratio"] == 0.1
        server.listener.checked(server, 0.0, up=True)
        await until(client, phase_is("done"))
        with trio.fail_after(30):
            while await read_evidence(client, "web"):
                await trio.sleep(0.02)
