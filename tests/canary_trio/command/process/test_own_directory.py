"""What a killed process left is removed; what is in use, or another's, is not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from canary_trio.command.process.own_directory import own_directory


def test_what_was_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, young, other = (tmp_path / name for name in ("our-1", "our-2", "other"))
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "our-link"
    for path in (left, young, other, elsewhere):
        path.mkdir()
    (left / "1.sock").touch()
    link.symlink_to(elsewhere)
    for path in (left, other, elsewhere):
        os.utime(path, (1, 1))

    with own_directory("our-") as in_use:
        os.utime(in_use, (1, 1))
        with own_directory("our-"):
            assert in_use.exists()

    assert not in_use.exists()
    assert {one.name for one in tmp_path.iterdir()} == {
        *("our-2", "other", "elsewhere", "our-link")
    }
