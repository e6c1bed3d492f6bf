"""What a proxy reports, and what a fleet of them says together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.control.fleet.report import Fleet, Refusal, Report
from canary_trio.errors import Problem


def test_a_report_survives_the_store() -> None:
    report = Report("p", 3, 4, Refusal(4, (Problem("$.x", "a", "b"),)), "a:1", "a:2")

    assert Report.load(report.dump()) == report
    for data in (b"", b"[]", b"{}", b'{"failed": 1, "id": "x"}'):
        assert Report.load(data) is None


def test_a_proxy_is_live_or_refusing_or_lagging() -> None:
    refused = Refusal(5, (Problem("$.x", "a", "b"),))
    live, later = Report("live", 5, 5), Report("later", 6, 6)
    behind, refusing = Report("behind", 4, 4), Report("refusing", 4, 5, refused)
    recovered = Report("recovered", 5, 6, Refusal(6, refused.problems))
    fleet = Fleet(5, (live, later, behind, refusing, recovered))

    assert fleet.live == (live, later, recovered)
    assert fleet.refusing == (refusing,)
    assert fleet.lagging == (behind,)


def test_one_that_has_not_moved_to_the_documents_store_is_not_live() -> None:
    moved, staying = Report("moved", 5, 5), Report("staying", 5, 5, move="refused")
    late = Report("late", 4, 4, move="refused")
    fleet = Fleet(5, (moved, staying, late))

    assert fleet.live == (moved,)
    assert fleet.staying == (staying,)
    assert fleet.lagging == (late,)
    assert not Fleet(5, (moved, staying)).is_applied
    assert Report.load(staying.dump()) == staying


def test_a_revision_is_applied_where_there_are_proxies_and_none_lags() -> None:
    refused = Refusal(5, (Problem("$.x", "a", "b"),))
    live, refusing = Report("live", 5, 5), Report("refusing", 4, 5, refused)

    assert Fleet(5, (live, refusing)).is_applied
    assert not Fleet(5, (live, Report("behind", 4, 4))).is_applied
    assert not Fleet(5, ()).is_applied


GOOD: dict[str, Any] = {
    "id": "one",
    "running": 3,
    "attempted": 3,
    "failed": None,
    "address": "127.0.0.1:80",
    "admin": "127.0.0.1:81",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"running": "3"},
        {"running": None},
        {"running": -1},
        {"running": 1e999},
        {"running": 10**400},
        {"attempted": True},
        {"id": 7},
        {"id": None},
        {"address": ["a"]},
        {"admin": {}},
        {"move": 3},
        {"failed": 3},
        {"failed": {"revision": "x", "problems": []}},
        {"failed": {"revision": 1, "problems": [{"path": 1}]}},
        {
            "failed": {
                "revision": 1,
                "problems": [{"path": 1, "found": 2, "expected": 3}],
            }
        },
        {"failed": {"revision": 1, "problems": 5}},
        {"more": 1},
    ],
    ids=str,
)
def test_an_odd_report_is_none(changed: dict[str, Any]) -> None:
    assert Report.load(json.dumps({**GOOD, **changed}).encode()) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"7", b"[" * 100_000, b"null", b"{}"])
def test_what_is_no_report_is_none(data: bytes) -> None:
    assert Report.load(data) is None


def test_a_report_steers_no_terminal() -> None:
    report = Report.load(json.dumps({**GOOD, "id": "a\x1b[2J\n\ud800"}).encode())

    assert report is not None
    assert report.id == r"a\x1b[2J\n\ud800"
