"""A name's file: one proxy has it, and it tells whose session was there before."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from canary_trio.control.own_name import NameFile, take_name
from canary_trio.errors import NameTaken


def test_a_name_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state" / "web@p.lock"
    one = NameFile(path)
    with pytest.raises(NameTaken, match="another proxy of this name runs"):
        NameFile(path)
    one.close()
    NameFile(path).close()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_session_of_the_life_before_is_known(tmp_path: Path) -> None:
    path = tmp_path / "web@p.lock"
    for session in ("a much longer one", "second"):
        one = NameFile(path)
        one.remember(session)
        one.close()
        later = NameFile(path)
        assert later.session == session
        later.close()


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "make", [_link, Path.mkdir, os.mkfifo], ids=["a link", "a folder", "a pipe"]
)
def test_what_is_no_file_of_ours_is_left_alone(
    make: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web@p.lock"
    make(path)  # type: ignore[operator]
    with ExitStack() as owned:
        assert take_name(path, owned) is None
    assert "cannot keep" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_kept_where_nothing_may_be() -> None:
    with ExitStack() as owned:
        assert take_name(None, owned) is None
