"""How a proxy stands is told where it changes: at once, now and again, and when it is over."""

from __future__ import annotations

import logging

import pytest
import trio

from canary_trio.control.status import MOST_PROBLEMS, Status, StoreContact
from canary_trio.errors import Problem, WrongServer
from canary_trio.telemetry.events import EventKind, Events
from http_trio.net.process.notices import TELL_S
from kv_trio import StoreRefused, StoreUnreachable


async def test_an_outage_has_a_rate(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    contact = StoreContact()
    for turn in range(96):
        contact.failed(StoreUnreachable(f"error {turn}"))  # another each time
        await trio.sleep(1)
    contact.heard()
    contact.heard()
    contact.failed(StoreUnreachable("a wait that broke"))
    contact.heard()
    contact.failed(StoreUnreachable("a wait that broke"))
    contact.failed(StoreUnreachable("anew"))

    assert [one.message for one in caplog.records] == [
        *(f"nothing from the store: error {1 + n * TELL_S:g}" for n in range(4)),
        "the store is heard again",
        "nothing from the store: anew",
    ]


@pytest.mark.parametrize(
    ("exc", "fields"),
    [
        (
            StoreRefused(403, "no", key="canary/web/config", right="key:read"),
            {"status": 403, "key": "canary/web/config", "right": "key:read"},
        ),
        (StoreRefused(401, "who?", right="key:read"), {"status": 401}),
        (WrongServer("this is no store"), {"error": "WrongServer"}),
    ],
    ids=["a right", "a token", "no store"],
)
async def test_a_refusal_is_told_at_once_with_what_was_missing(
    exc: Exception, fields: dict[str, object]
) -> None:
    events = Events()
    contact = StoreContact(events=events)
    contact.failed(exc)
    contact.failed(exc)
    contact.heard()

    begun, over = events.after(0)
    assert begun.kind is EventKind.STORE
    assert begun.level == logging.WARNING
    assert str(exc) in begun.message
    assert fields.items() <= dict(begun.fields).items()
    assert over.message == "the store is heard again"
    assert over.level == logging.INFO


def test_of_a_refused_document_most_faults_are_told_and_all_are_kept() -> None:
    status = Status("http://store", "web")
    problems = tuple(Problem(f"$.a{n}", "1", "2") for n in range(MOST_PROBLEMS + 5))
    status.refuse(7, problems)

    (event,) = status.events.after(0)
    assert "revision 7 of web is refused: $.a0" in event.message
    assert event.message.endswith("and 5 more")
    assert event.fields == {"revision": 7, "problems": MOST_PROBLEMS + 5}
    assert status.failed is not None
    assert len(status.failed.problems) == MOST_PROBLEMS + 5


def test_what_changes_is_an_event() -> None:
    status = Status("http://store", "web")
    status.is_live(7, b"{}")
    status.tell_absent()
    status.move_error = "http://other: no document there"
    status.move_error = "http://other: no document there"
    status.tell_remembered(6, b"{}")

    kinds = [event.kind.value for event in status.events.after(0)]
    assert kinds == ["change", "change", "store", "change"]
    assert {event.service for event in status.events.after(0)} == {"web"}
