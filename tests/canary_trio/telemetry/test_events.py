"""Events: a stream that is bounded, and lines that never flood."""

from __future__ import annotations

import logging

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.telemetry.events import (
    CROWD_S,
    KEPT,
    NAMED,
    SINGLES,
    EventKind,
    Events,
)
from http_trio import Notice


def eject(events: Events, name: str) -> None:
    events.tell_one_of(
        *("ejected", EventKind.EJECTION, f"{name} is taken out"),
        name=name,
        sum_up=lambda count, names: f"{count} servers are taken out: {names}",
        level=logging.WARNING,
        service="web",
        arm="canary",
        server=name,
    )


def test_an_event_is_a_line_with_the_same_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    events = Events(wall=lambda: 12.3456)
    events.tell(
        EventKind.CHANGE, "revision 7 is %live", service="web", revision=7, arm=None
    )

    (event,) = events.after(0)
    (record,) = caplog.records
    assert event.as_table() == {
        "number": 1,
        "time": 12.346,
        "kind": "change",
        "service": "web",
        "level": "info",
        "message": "revision 7 is %live",
        "revision": 7,
    }
    assert record.getMessage() == event.message
    shown = record.__dict__
    assert (shown["kind"], shown["service"], shown["revision"]) == ("change", "web", 7)


def test_the_ring_is_bounded_and_its_numbers_go_on() -> None:
    events = Events()
    for n in range(KEPT + 10):
        events.tell(EventKind.CHANGE, str(n))
    numbers = [event.number for event in events.after(0)]
    assert numbers == list(range(11, KEPT + 11))
    assert [event.number for event in events.after(KEPT + 8)] == [KEPT + 9, KEPT + 10]
    assert not events.after(events.last)
    assert len(events.after(events.last + 1)) == KEPT  # of another life: all there is


async def test_who_waits_is_woken_once_there_is_more() -> None:
    events = Events()
    got: list[str] = []

    async def follow() -> None:
        number = 0
        while len(got) < 3:
            for event in await events.wait_after(number):
                got.append(event.message)
                number = event.number

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        events.tell(EventKind.CHANGE, "a")
        await trio.testing.wait_all_tasks_blocked()
        events.tell(EventKind.CHANGE, "b")
        events.tell(EventKind.CHANGE, "c")
    assert got == ["a", "b", "c"]


async def test_a_crowd_is_a_bounded_number_of_lines_that_say_how_many(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = Events()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.run)
        for n in range(500):
            eject(events, f"server {n}")
        await trio.sleep(2)
        told = events.after(0)
        assert len(told) == SINGLES + 1
        assert told[-1].message.startswith(f"{500 - SINGLES} servers are taken out: ")
        assert told[-1].fields["count"] == 500 - SINGLES
        assert told[-1].service == "web"
        assert str(told[-1].fields["names"]).count("server") == NAMED
        for _ in range(100):
            eject(events, "server 1")
            await trio.sleep(CROWD_S / 50)
        nursery.cancel_scope.cancel()
    counts = sum(int(str(event.fields.get("count", 1))) for event in events.after(0))
    assert counts == 600  # nobody is lost, those that wait at the end neither
    assert len(events.after(0)) <= 2 * (SINGLES + 2)


@given(st.lists(st.floats(0, 20), max_size=200))
def test_no_crowd_fills_the_log(pauses: list[float]) -> None:
    now = 0.0
    events = Events(now=lambda: now)
    for pause_s in pauses:
        now += pause_s
        eject(events, "one")
    events.sum_up_due(everything=True)
    told = events.after(0)
    assert sum(int(str(event.fields.get("count", 1))) for event in told) == len(pauses)
    assert len(told) <= (now / CROWD_S + 1) * (SINGLES + 1) + 1


def test_a_trouble_is_told_with_how_often_it_was_not() -> None:
    now = 0.0
    events = Events(now=lambda: now)
    for _ in range(31):
        events.tell_trouble("store", EventKind.STORE, "no store", service="web")
        now += 1
    events.tell_over("store", EventKind.STORE, "it is back", service="web")
    events.tell_over("store", EventKind.STORE, "it is back", service="web")
    assert [(event.message, dict(event.fields)) for event in events.after(0)] == [
        ("no store", {}),
        ("no store", {"times": 30}),
        ("it is back", {"lasted_s": 31.0}),
    ]


def test_what_the_engine_tells_is_an_event() -> None:
    events = Events()
    events.take(Notice("certificate", "it expires", logging.WARNING, {"days": 3.5}))
    (event,) = events.after(0)
    assert (event.kind, event.fields) == (EventKind.CERTIFICATE, {"days": 3.5})
