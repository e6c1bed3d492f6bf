"""A verdict in words, for programs, and as a status."""

from __future__ import annotations

import json

import attrs
import pytest

from canary_trio.verify.observation import ClientKind, DoneTo, Incident
from canary_trio.verify.report import SHOWN, ExitStatus, RunFacts, VerifyReport
from tests.canary_trio.verify.records import killed, record, right, seen

FACTS = RunFacts(
    seed=7,
    store="kv",
    proxies=2,
    seconds=3.0,
    kinds=[ClientKind.KEPT],
    names=["flip"],
)
LOST = seen(kind=ClientKind.UPLOAD, failure="status 502", ended=2.0)


def test_all_is_well() -> None:
    report = VerifyReport.of(right(1, [0.1, 0.9]), FACTS)
    lines = list(report.lines())

    assert report.outcome is ExitStatus.PASSED
    assert lines[0] == "kv, 2 proxies, seed 7, 3.0 s"
    assert "  drops     0" in lines
    assert lines[-1] == "passed"


def test_a_pass_says_which_steps_it_is_not_of() -> None:
    facts = attrs.evolve(FACTS, names=["store", "flip", "crash"])
    report = VerifyReport.of(right(1, [0.1, 0.9]), facts)
    lines = list(report.lines())

    assert report.outcome is ExitStatus.PASSED
    assert lines[-1] == "passed, in 1 of 3 steps only"
    assert any(line.startswith("  not done  store, crash: ") for line in lines)
    assert report.table()["steps_not_done"] == ["store", "crash"]


def test_what_is_wrong_is_told_with_its_time_and_step() -> None:
    report = VerifyReport.of(record(LOST), FACTS)

    assert report.outcome is ExitStatus.FAILED
    (line,) = (one for one in report.lines() if one.startswith("  drops at"))
    assert "2.000 s, in step 1 flip" in line
    assert "status 502" in line
    assert list(report.lines())[-1] == "failed"


def test_what_is_excused_is_counted_beside_it() -> None:
    report = VerifyReport.of(record(LOST, incidents=[killed(1.5, 1.6)]), FACTS)
    made = VerifyReport.of(
        record(LOST, incidents=[killed(1.5, 1.6, "127.0.0.1:1")]), FACTS
    )

    assert report.outcome is ExitStatus.FAILED
    assert (
        "  drops     0  (excused: its server was killed, and it may not be"
        in "\n".join(made.lines())
    )


def test_what_could_not_be_judged_is_no_pass() -> None:
    report = VerifyReport.of(record(), FACTS)

    assert report.outcome is ExitStatus.NOT_JUDGED
    assert int(report.outcome) == 3
    assert list(report.lines())[-1] == "not judged"


def test_a_fault_outweighs_what_could_not_be_judged() -> None:
    assert VerifyReport.of(record(LOST), FACTS).unjudged
    assert VerifyReport.of(record(LOST), FACTS).outcome is ExitStatus.FAILED


@pytest.mark.parametrize("count", [SHOWN, SHOWN + 5])
def test_so_many_are_shown(count: int) -> None:
    lines = list(VerifyReport.of(record(*[LOST] * count), FACTS).lines())

    assert sum(one.startswith("  drops at") for one in lines) == SHOWN
    assert any("and 5 more" in one for one in lines) == (count > SHOWN)


def test_all_of_it_is_json() -> None:
    made = right(1, [0.1, 0.9])
    made.incidents.append(Incident(DoneTo.STORE_AWAY, frozenset(), 1.0, 1.5))
    table = json.loads(json.dumps(VerifyReport.of(made, FACTS).table()))

    assert table["outcome"] == "passed"
    assert set(table["violations"].values()) == {0}
    assert table["write_to_live_ms"]["from_response"]["quantiles"]["count"] == 1
    assert table["write_to_live_ms"]["across_outages"]["quantiles"]["count"] == 1
