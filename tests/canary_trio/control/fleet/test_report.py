"""What a proxy reports, and what a fleet of them says together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.control.fleet.report import CertificateNotice, Fleet, Refusal, Report
from canary_trio.errors import Problem


def test_a_report_survives_the_store() -> None:
    report = Report("p", 3, 4, Refusal(4, (Problem("$.x", "a", "b"),)), "a:1", "a:2")

    assert Report.load(report.dump()) == report
    notice = CertificateNotice("/a.pem", ("a.example",), 5, 10**9, has_hosts=False)
    report = Report("p", 3, 4, certificates=(notice, notice))
    assert Report.load(report.dump()) == report
    for data in (b"", b"[]", b"{}", b'{"failed": 1, "id": "x"}'):
        assert Report.load(data) is None


def test_a_proxy_is_live_or_refusing_or_lagging() -> None:
    refused = Refusal(5, (Problem("$.x", "a", "b"),))
    live, later = Report("live", 5, 5), Report("later", 6, 6)
    behind, refusing = Report("behind", 4, 4), Report("refusing", 4, 5, refused)
    recovered = Report("recovered", 5, 6, Refusal(6, refused.problems))
    fleet = Fleet(5, (live, later, behind, refusing, recovered))

    assert fleet.live == (live, recovered)
    assert fleet.refusing == (refusing,)
    assert fleet.lagging == (later, behind)


@pytest.mark.parametrize(
    ("running", "digest", "runs_it", "words"),
    [
        (5, "aa", True, "runs 5"),
        (5, "", True, "runs 5"),
        (5, "bb", False, "runs 5, which this store does not have"),
        (34, "aa", False, "runs 34, which this store does not have"),
        (4, "aa", False, "runs 4"),
        (0, "", False, "runs nothing"),
    ],
)
def test_a_proxy_is_live_by_the_very_document_that_the_store_holds(
    running: int, digest: str, words: str, *, runs_it: bool
) -> None:
    report = Report("p", running, running, digest=digest)
    fleet = Fleet(5, (report,), "aa")
    assert fleet.runs_it(report) is runs_it
    assert fleet.is_applied is runs_it
    assert fleet.said_of(report) == words


@pytest.mark.parametrize(("asked", "lost"), [(4, False), (5, False), (6, True)])
def test_a_revision_above_the_stores_is_lost(asked: int, *, lost: bool) -> None:
    assert Fleet(5, (), asked=asked).is_lost is lost


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
NOTICE: dict[str, Any] = {
    "file": "/a.pem",
    "names": ["a.example"],
    "not_before": 0,
    "not_after": 86400,
    "has_hosts": True,
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
        {"certificates": 5},
        {"certificates": None},
        {"certificates": [5]},
        {"certificates": [{}]},
        {"certificates": [NOTICE | {"names": 5}]},
        {"certificates": [NOTICE | {"names": [5]}]},
        {"certificates": [NOTICE | {"file": None}]},
        {"certificates": [NOTICE | {"not_after": 1e999}]},
        {"certificates": [NOTICE | {"not_before": "x"}]},
        {"certificates": [NOTICE | {"not_after": 10**400}]},
        {"certificates": [NOTICE | {"has_hosts": "no"}]},
        {"certificates": [NOTICE | {"more": 1}]},
    ],
    ids=str,
)
def test_an_odd_report_is_none(changed: dict[str, Any]) -> None:
    assert Report.load(json.dumps({**GOOD, **changed}).encode()) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"7", b"[" * 100_000, b"null", b"{}"])
def test_what_is_no_report_is_none(data: bytes) -> None:
    assert Report.load(data) is None


def test_a_report_steers_no_terminal() -> None:
    odd, shown = "a\x1b[2J\n\ud800", r"a\x1b[2J\n\ud800"
    notice = {**NOTICE, "file": odd, "names": [odd]}
    text = json.dumps({**GOOD, "id": odd, "certificates": [notice]})
    report = Report.load(text.encode())

    assert report is not None
    assert report.id == shown
    assert (report.certificates[0].file, report.certificates[0].names) == (
        shown,
        (shown,),
    )


DAY = 86400


@pytest.mark.parametrize(
    ("now", "hosts", "left", "said"),
    [
        (10 * DAY, True, 20, "expires in 20.0 days"),
        (29.9 * DAY, True, 0.1, "expires in 0.1 days"),
        (33 * DAY, True, -3, "expired 3.0 days ago"),
        (3 * DAY, True, 27, "is not valid for another 2.0 days"),
        (10 * DAY, False, 20, "has no host among its alternative names, so clients"),
        (33 * DAY, False, -3, "expired 3.0 days ago"),
    ],
)
def test_what_is_said_of_a_certificate_is_of_now(
    now: float, hosts: bool, left: float, said: str
) -> None:
    notice = CertificateNotice("/a.pem", ("a",), 5 * DAY, 30 * DAY, hosts)
    (row,) = Report("p", 1, 1, certificates=(notice,)).shown(now)["certificates"]

    assert notice.said(now).startswith(said)
    assert (row["days_left"], row["said"]) == (left, notice.said(now))
