from __future__ import annotations

import stat
from pathlib import Path

import pytest

from canary_trio.control.last_good import Remembered, recall, remember
from canary_trio.control.report import Refusal, Report
from canary_trio.control.store_keys import BadName, check_name
from canary_trio.errors import Problem


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "web@one.json"
    assert recall(path) is None
    for revision in (1, 2):
        remember(path, Remembered(revision, b'{"\xff', b"secret"))

    assert recall(path) == Remembered(2, b'{"\xff', b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"revision": "x"}'])
def test_a_damaged_memory_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"remembered|Expecting|invalid|indices"):
        recall(path)


def test_a_report_survives_the_store() -> None:
    report = Report("p", 3, 4, Refusal(4, (Problem("$.x", "a", "b"),)), "a:1", "a:2")

    assert Report.load(report.dump()) == report
    for data in (b"", b"[]", b"{}", b'{"failed": 1, "id": "x"}'):
        assert Report.load(data) is None


@pytest.mark.parametrize("name", ["", "a/b", ".x", "a b", "x" * 64, "a\n"])
def test_a_name_that_cannot_be_part_of_a_key(name: str) -> None:
    with pytest.raises(BadName, match="expected letters"):
        check_name(name)
