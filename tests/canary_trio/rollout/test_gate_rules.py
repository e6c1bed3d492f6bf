"""What passes a gate, and when a window is open."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from canary_trio.config.rollout import ExpectedJson, RolloutGate, TimeWindow
from canary_trio.rollout.gate_rules import (
    is_open,
    opens_at,
    why_not_passed,
    why_out_of_bounds,
)

BERLIN = TimeWindow(begin="09:00", end="17:00", zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("status", "body", "passes"),
    [
        (200, b'{"a": [{"ok": true}]}', True),
        (299, b'{"a": [{"ok": true}]}', True),
        (300, b'{"a": [{"ok": true}]}', False),
        (503, b'{"a": [{"ok": true}]}', False),
        (200, b'{"a": [{"ok": 1}]}', False),  # true is no 1
        (200, b'{"a": [{"ok": "true"}]}', False),
        (200, b'{"a": []}', False),
        (200, b'{"a": {"0": {"ok": true}}}', True),
        (200, b"ok", False),
        (200, b"", False),
        (200, b"[" * 100_000, False),
    ],
)
def test_a_response_is_looked_at(status: int, body: bytes, passes: bool) -> None:
    gate = RolloutGate(url="http://a", json=ExpectedJson("a.0.ok", value=True))
    assert (why_not_passed(gate, status, body) == "") is passes


def prometheus(kind: str, result: Any) -> bytes:
    data = {"resultType": kind, "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (prometheus("scalar", [1, "0.5"]), ""),
        (prometheus("vector", [{"metric": {}, "value": [1, "0.5"]}]), ""),
        (prometheus("scalar", [1, "0.05"]), "less than 0.1"),
        (prometheus("scalar", [1, "1.5"]), "more than 1"),
        (prometheus("scalar", [1, "NaN"]), "NaN"),
        (prometheus("scalar", [1, "+Inf"]), "more than 1"),
        (prometheus("vector", []), "0 results"),
        (prometheus("vector", [1, 2]), "2 results"),
        (prometheus("matrix", []), "a matrix"),
        (b"{}", "no result"),
        (b"nonsense", "no result"),
        (prometheus("scalar", []), "no result"),
        (prometheus("scalar", [1, 10**400]), "no result"),  # no float holds it
        (prometheus("scalar", [1, "1" * 400]), "more than 1"),
    ],
)
def test_a_query_has_bounds(body: bytes, why: str) -> None:
    gate = RolloutGate(prometheus="http://p", query="up", min=0.1, max=1.0)
    found = why_out_of_bounds(gate, body)
    assert why in found
    assert bool(found) is bool(why)


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-11-27 08:59", False),  # a Friday
        ("2026-11-27 09:00", True),
        ("2026-11-27 16:59", True),
        ("2026-11-27 17:00", False),
        ("2026-11-28 12:00", False),
        ("2026-07-03 09:00", True),  # in summer
    ],
)
def test_a_window_is_open_by_the_clock_of_its_zone(at: str, open_: bool) -> None:
    there = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    now = there.timestamp()
    assert is_open(BERLIN, now) is open_
    again = opens_at(BERLIN, now)
    assert is_open(BERLIN, again)
    assert (again == now) is open_


def test_a_window_opens_where_a_clock_skips_its_hour() -> None:
    window = TimeWindow(("sun",), begin="02:15", end="02:45", zone="Europe/Berlin")
    there = datetime(2026, 3, 29, 1, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert opens_at(window, there.timestamp()) > there.timestamp()
