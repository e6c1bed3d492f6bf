"""What a proxy reports, and what a fleet of them says together."""

from __future__ import annotations

from canary_trio.control.report import Fleet, Refusal, Report
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


def test_a_revision_is_applied_where_there_are_proxies_and_none_lags() -> None:
    refused = Refusal(5, (Problem("$.x", "a", "b"),))
    live, refusing = Report("live", 5, 5), Report("refusing", 4, 5, refused)

    assert Fleet(5, (live, refusing)).is_applied
    assert not Fleet(5, (live, Report("behind", 4, 4))).is_applied
    assert not Fleet(5, ()).is_applied
