"""Reports of a measurement: the same figures for people and programs."""

from __future__ import annotations

import json
import re

import pytest

from canary_trio.bench.comparison import Measurement
from canary_trio.bench.plan import GeneratorCost
from canary_trio.bench.report import as_json, lines, markdown
from canary_trio.bench.tally import LoadResult, LoadTally
from tests.canary_trio.support.measured import URLS, comparison, result


def failed() -> LoadResult:
    tally = LoadTally(0.0)
    tally.responded(0.0, 0.1, 404, 1)
    tally.failed(0.1, "refused")
    return tally.result()


SEEN = [
    pytest.param(comparison(result(500), result(500, slower=3)), id="two"),
    pytest.param(comparison(result(500)), id="one"),
    pytest.param(comparison(failed(), failed()), id="failures"),
    pytest.param(comparison(LoadResult(()), LoadResult(())), id="nothing"),
    pytest.param(
        comparison(
            result(500),
            result(500),
            conditions=("p99>1.2x", "errors>1%", "p50>1ms"),
            cost=GeneratorCost(9.9, 10.0, {5: 1000}, 3, interrupted=True, held_up=7),
        ),
        id="conditions, and all that can go wrong",
    ),
]


@pytest.mark.parametrize("found", SEEN)
def test_programs_get_json_without_nan(found: Measurement) -> None:
    told = json.loads(json.dumps(as_json(found), allow_nan=False))

    assert told["urls"] == list(found.urls)
    assert [arm["requests"] for arm in told["arms"]] == [
        one.requests for one in found.results
    ]
    assert [one["condition"] for one in told["fail_if"]] == [
        one.condition.text for one in found.decided
    ]
    assert told["metrics"].keys() == {metric.name for metric in found.metrics}


@pytest.mark.parametrize("found", SEEN)
def test_people_get_the_same_as_lines_and_as_markdown(found: Measurement) -> None:
    shown, page = list(lines(found)), markdown(found)

    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    for row in rows[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert any(all(cell in line for cell in cells) for line in shown), row
    assert not re.search(r"\b(nan|inf)\b", page + "\n".join(shown))


def test_what_went_wrong_is_told() -> None:
    shown = "\n".join(lines(SEEN[-1].values[0]))  # type: ignore[arg-type]

    assert "THE GENERATOR WAS THE LIMIT" in shown
    assert "interrupted; 3 requests" in shown
    assert "7 requests waited here" in shown
    assert "--fail-if p99>1.2x: cannot be told yet" in shown
    assert "--fail-if p50>1ms: holds" in shown


def test_failures_and_odd_statuses_are_named() -> None:
    shown = "\n".join(lines(comparison(failed(), failed())))

    assert "errors of B: refused 1" in shown
    assert "statuses of A: 404 1 of 2" in shown


def test_what_only_timed_out_has_no_rate() -> None:
    tally = LoadTally(0.0)
    for _ in range(1000):
        tally.failed(0.0, "timeout", 1.0)
    found = comparison(tally.result())

    assert "requests/s  0" in list(lines(found))
    assert as_json(found)["arms"][0]["requests_per_second"] == 0


def test_urls_stand_first() -> None:
    first, second, *_ = lines(comparison(result(10), result(10)))

    assert (first, second) == (f"A  {URLS[0]}", f"B  {URLS[1]}")
