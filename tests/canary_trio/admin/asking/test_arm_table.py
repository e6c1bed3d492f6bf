"""The arms of a fleet: counts are added, and quantiles are read from the sum."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.admin.asking.arm_table import (
    HEADS,
    arm_rows,
    cells,
    quantile,
    shown_row,
    table_lines,
)

COUNTS = st.dictionaries(
    st.sampled_from(["1000", "2000", "5000", "inf"]), st.integers(0, 10**6), min_size=1
)


def arm(latency: dict[str, int], **more: Any) -> dict[str, Any]:
    requests = sum(latency.values())
    minute = {"seconds": 10.0, "requests": requests, "errors": 1, "latency": latency}
    return {
        "asked_share": 0.1,
        "decisions": requests,
        "requests": requests,
        "errors": 2,
        "latency": latency,
        "minute": minute,
        "in_flight": 1,
        "usable_servers": 1,
        "panic": False,
        "servers": [{}, {}],
        **more,
    }


def status(**arms: dict[str, Any]) -> dict[str, Any]:
    return {"arms": arms}


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_the_order_and_the_parting_of_proxies_do_not_matter(
    fleet: list[dict[str, int]],
) -> None:
    said = [status(v2=arm(counts)) for counts in fleet]
    row = arm_rows(said)["v2"]

    assert shown_row(row) == shown_row(arm_rows(reversed(said))["v2"])
    assert row.requests == sum(sum(counts.values()) for counts in fleet)
    assert row.errors == 2 * len(fleet)
    assert row.rate == pytest.approx(row.requests / 10)
    merged: dict[float, int] = {}
    for counts in fleet:
        for end, count in counts.items():
            merged[float(end)] = merged.get(float(end), 0) + count
    assert quantile(row.latency, 0.99) == quantile(merged, 0.99)


@given(COUNTS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_quantile_grows_with_its_share_and_stays_within_the_ends(
    counts: dict[str, int], one: float, other: float
) -> None:
    found = {float(end): count for end, count in counts.items()}
    low, high = (quantile(found, share) for share in sorted((one, other)))

    if not sum(found.values()):
        assert low is high is None
    else:
        assert low is not None
        assert high is not None
        assert 0 <= low <= high <= 5000


def test_a_quantile_of_two_proxies_is_no_mean_of_two() -> None:
    quick, slow = arm({"1000": 990}), arm({"5000": 10})
    row = arm_rows([status(v2=quick), status(v2=slow)])["v2"]

    p99 = quantile(row.latency, 0.99)
    assert p99 is not None
    assert p99 <= 1000  # the mean of both would be some 3000


@pytest.mark.parametrize(
    "said",
    [
        "cannot be asked",
        {},
        {"arms": None},
        {"arms": {"v2": {}}},
        {"arms": {"v2": arm({"1000": 1}, requests="many")}},
        {"arms": {"v2": arm({"odd": 1})}},
        {"arms": {"v2": arm({}, servers=3)}},
    ],
)
def test_what_is_odd_is_left_out(said: Any) -> None:
    good = status(v2=arm({"1000": 4}))

    assert shown_row(arm_rows([good, said])["v2"]) == shown_row(arm_rows([good])["v2"])


def test_each_column_has_a_head_and_what_steers_a_terminal_is_not_shown() -> None:
    rows = arm_rows([status(**{"v\x1b[2J": arm({"1000": 100, "2000": 100})})])
    lines = list(table_lines(rows))

    assert all(len(cells(name, row, 1)) == len(HEADS) for name, row in rows.items())
    assert "\x1b" not in "".join(lines)
    assert lines[1].split() == " ".join(HEADS).split()
    assert "last minute" in lines[0]
    assert lines[2].split()[1:] == [
        *("0.1", "100.00%", "20.0", "0.50%", "1", "ms", "1.98", "ms"),
        *("200", "1.00%", "1", "ms", "1.98", "ms", "1", "1/2", "ready"),
    ]
    json.dumps(shown_row(next(iter(rows.values()))))
