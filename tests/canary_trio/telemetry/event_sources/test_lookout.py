"""What only counts show is told when it begins and when it is over, and many as one."""

from __future__ import annotations

import logging
from pathlib import Path

from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.counters import Counters
from canary_trio.telemetry.event_sources.lookout import CALM_S, Lookout
from canary_trio.telemetry.events import SINGLES, EventKind, Events
from canary_trio.telemetry.split_check import SplitCheck


def told(events: Events) -> list[str]:
    return [event.message for event in events.after(0)]


def test_a_limit_is_told_when_it_begins_to_refuse_and_when_it_ceases() -> None:
    events, counters = Events(), Counters()
    lookout, counts = Lookout(events), counters.of_limit("api")
    counts.passed = 5
    for now in range(100):
        counts.refused += now in (10, 11, 30)
        lookout.look_at_limits("web", counters, float(now))
    assert told(events) == [
        "the limit api begins to refuse requests",
        "the limit api refuses requests no more",
    ]
    first = events.after(0)[0]
    assert (first.kind, first.service, first.level) == (
        *(EventKind.LIMIT, "web", logging.WARNING),
    )
    assert first.fields == {"limit": "api"}
    counts.refused += 1
    lookout.look_at_limits("web", counters, 30 + CALM_S + 50)
    assert len(told(events)) == 3


def test_limits_of_many_services_are_few_lines() -> None:
    events, now = Events(), 0.0
    lookout = Lookout(events)
    for n in range(300):
        counters = Counters()
        counters.of_limit("api").refused = 1
        lookout.look_at_limits(f"service-{n}", counters, now)
    events.sum_up_due(everything=True)
    assert len(told(events)) == SINGLES + 1
    assert told(events)[-1].startswith(f"{300 - SINGLES} limits begin to refuse")
    assert events.after(0)[-1].service == ""


def test_a_split_that_strays_is_told_once_and_so_is_its_end() -> None:
    events = Events()
    lookout = Lookout(events)
    strays = SplitCheck({"a": 5000, "b": 5000}, {"a": 900, "b": 100})
    for _ in range(3):
        lookout.look_at_split("web", strays)
    lookout.look_at_split("web", SplitCheck({"a": 5000, "b": 5000}))
    assert told(events) == [
        "the split is not the one that was asked for (p below 0.001)",
        "the split is the one that was asked for again",
    ]


def test_what_is_no_more_is_forgotten() -> None:
    events, counters = Events(), Counters()
    lookout = Lookout(events)
    counters.of_limit("api").refused = 1
    lookout.look_at_limits("web", counters, 0.0)
    lookout.forget_others({"shop"}.__contains__)
    assert "limits=0" in repr(lookout)


async def test_lines_that_are_lost_are_told_with_how_many(tmp_path: Path) -> None:
    events = Events()
    lookout, log = Lookout(events), AccessLog(tmp_path / "log")
    lookout.look_at_log(log)
    log._lost, log.trouble = 7, "No space left on device"
    lookout.look_at_log(log)
    lookout.look_at_log(log)  # it may still be full
    log.trouble = ""
    lookout.look_at_log(log)
    lookout.look_at_log(log)
    assert told(events) == [
        "lines of the access log are dropped: No space left on device",
        "lines of the access log are written again",
    ]
    assert events.after(0)[0].fields["times"] == 7
