"""How arms fare is told: each change once, and a data centre that goes down in few lines."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from canary_trio.config.document import build
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry import events
from canary_trio.telemetry.events import SINGLES, EventKind, ProxyEvent
from canary_trio.upstream.server import ServerState

RULE = {"failures": 1, "time": 10}


async def running(servers: int, **stable: Any) -> Runtime:
    urls = [f"http://10.0.{at // 250}.{at % 250}" for at in range(servers)]
    arms = {
        "stable": {"servers": ["http://10.9.0.1"], "ejection": RULE, **stable},
        "canary": {"servers": urls, "ejection": RULE},
    }
    runtime = Runtime("web", now=lambda: 100.0)
    config = build({"ratio": 0.5, "arms": arms})
    runtime.install(await runtime.build(config, 1, b"secret"))
    return runtime


def servers_of(runtime: Runtime, arm: str) -> tuple[ServerState, ...]:
    return runtime.arms[arm].server_set.servers


def told(runtime: Runtime, kind: EventKind) -> list[ProxyEvent]:
    told_here = runtime.observer.events
    told_here.sum_up_due(everything=True)
    return [event for event in told_here.after(0) if event.kind is kind]


async def test_a_server_that_is_taken_out_and_back_is_told() -> None:
    runtime = await running(2)
    one, _ = servers_of(runtime, "canary")
    one.record.in_a_row = 9
    server_set = runtime.arms["canary"].server_set
    server_set.failed(one, 100.0, unreachable=False)
    server_set.failed(one, 100.0, unreachable=False)  # it is out already
    server_set.tick(200.0)

    (out,), (back,) = told(runtime, EventKind.EJECTION), told(runtime, EventKind.RETURN)
    assert out.message == (
        "http://10.0.0.0 of arm canary is taken out for 10.0 s: requests failed"
    )
    assert (out.level, out.service, out.fields["arm"]) == (
        *(logging.WARNING, "web", "canary"),
    )
    assert back.message == "http://10.0.0.0 of arm canary is taken back"


async def test_checks_that_fail_and_pass_are_told() -> None:
    runtime = await running(2)
    one, _ = servers_of(runtime, "canary")
    one.check_error = "no response within 1 s"
    for up in (False, False, True):
        one.listener.checked(one, 100.0, up=up)

    (out,), (back,) = told(runtime, EventKind.EJECTION), told(runtime, EventKind.RETURN)
    assert out.message == (
        "http://10.0.0.0 of arm canary is down: no response within 1 s"
    )
    assert back.message == "http://10.0.0.0 of arm canary is up"


async def test_an_arm_that_falls_back_and_returns_is_told() -> None:
    runtime = await running(1, fallback="canary")
    (one,) = servers_of(runtime, "stable")
    one.listener.checked(one, 100.0, up=False)
    one.listener.checked(one, 101.0, up=True)

    gone, back = told(runtime, EventKind.FALLBACK)
    assert gone.message == "arm stable has no usable server; canary serves"
    assert (gone.fields["fallback"], gone.fields["usable"]) == ("canary", 0)
    assert back.message == "arm stable has a usable server again"


async def test_a_panic_is_told_when_it_begins_and_when_it_is_over() -> None:
    runtime = await running(4)
    servers = servers_of(runtime, "canary")
    for one in servers[:3]:
        one.listener.checked(one, 100.0, up=False)
    for one in servers:
        one.listener.checked(one, 101.0, up=True)

    begun, over = told(runtime, EventKind.PANIC)
    assert (begun.level, over.level) == (logging.WARNING, logging.INFO)
    assert "health is ignored" in begun.message


async def test_five_hundred_servers_that_go_down_are_few_lines_that_say_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "GATHER_S", 600.0)  # however long all of it takes here
    runtime = await running(500)
    for one in servers_of(runtime, "canary"):
        one.listener.checked(one, 100.0, up=False, unreachable=True)
    for one in servers_of(runtime, "canary"):
        one.listener.checked(one, 100.0, up=True)

    for kind, words in (
        (EventKind.EJECTION, "servers are down, by their checks"),
        (EventKind.RETURN, "servers are up again"),
    ):
        *singles, together = told(runtime, kind)
        assert len(singles) == SINGLES
        assert together.message.startswith(f"{500 - SINGLES} {words}: web canary ")
        assert together.fields["count"] == 500 - SINGLES


async def test_the_first_document_and_the_last_tell_nothing_of_health() -> None:
    runtime = await running(3)
    config = build({"arms": {"stable": {"servers": ["http://10.9.0.1"]}}})
    runtime.install(await runtime.build(config, 2, b"secret"))
    assert runtime.observer.events.after(0) == []
