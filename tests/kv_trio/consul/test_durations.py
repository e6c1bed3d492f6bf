"""Durations as Go writes them: what is one, and what is none."""

from __future__ import annotations

import pytest

from kv_trio.consul.durations import parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("1.5s", 1.5),
        ("2000000000ns", 2.0),
        ("1m30s", 90.0),
        ("0", 0.0),
        ("-1s", -1.0),
        ("1h", 3600.0),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "abc", "1x", "s", "1s2", "1 s", "--1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_s(text)


@pytest.mark.parametrize("part", ["9", "1h", "1.", ".1", "-", "µ", "h"])
def test_what_is_too_long_for_one_is_not_looked_at(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pattern:
        def findall(self, text: str) -> list[str]:
            raise AssertionError(f"{len(text)} characters are looked at")

    monkeypatch.setattr("kv_trio.consul.durations._DURATION", Pattern())
    with pytest.raises(ValueError, match="expected such as 10s"):
        parse_duration_s(part * 101)
