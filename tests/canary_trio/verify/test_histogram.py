"""How long changes took, in numbers and bars."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.verify.histogram import BARS, Quantiles, Span, bars, drawn, spans
from canary_trio.verify.observation import FirstSeen, Record, WrittenChange

SECONDS = st.lists(st.floats(0, 1000), min_size=1, max_size=50)


def test_a_span_is_from_the_write_to_the_probe() -> None:
    record = Record("web")
    record.written = [WrittenChange(5, 1.0, 1.25)]
    record.seen = [
        FirstSeen(5, "a", 1.5),
        FirstSeen(5, "b", 1.125),
        FirstSeen(6, "a", 2.0),
    ]

    assert spans(record) == [Span(5, "a", "", 0.5, 0.25), Span(5, "b", "", 0.125, 0.0)]


@given(SECONDS)
def test_each_time_is_in_one_bar(seconds: list[float]) -> None:
    found = bars(seconds)

    assert sum(count for _, count in found) == len(seconds)
    assert found[-1][1] > 0
    for end, _ in found[:-1]:
        within = sum(count for at, count in found if at <= end)
        assert within == sum(one * 1e3 <= end * (1 + 1e-8) for one in seconds)
    assert len(found) <= BARS


@given(SECONDS)
def test_quantiles_are_times_that_there_were(seconds: list[float]) -> None:
    found = Quantiles.of(seconds)

    assert found is not None
    assert found.p50 <= found.p90 <= found.p99 <= found.worst
    assert {found.p50, found.worst} <= {round(one * 1e3, 3) for one in seconds}


def test_the_longest_bar_fills_the_line() -> None:
    lines = list(drawn([0.0004] * 3 + [0.003]))

    assert [line.count("█") for line in lines] == [40, 0, 0, 14]
    assert "3" in lines[0]


def test_nothing_is_drawn_of_nothing() -> None:
    assert list(drawn([])) == []
    assert Quantiles.of([]) is None
