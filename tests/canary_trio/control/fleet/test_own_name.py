"""A name's file: one proxy has it, and it tells whose session was there before."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
import trio.testing

from canary_trio.control.fleet.own_name import WAIT_S, NameFile, take_name
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


async def test_a_name_that_is_given_up_is_had_by_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "web@p.lock"
    one, other = NameFile(path), NameFile(path, waits=True)
    one.remember("first")
    assert (one.is_ours, other.is_ours) == (True, False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.wait)
        assert not one.has_successor()
        one.give_up()
    assert other.is_ours
    assert other.session == "first"
    assert one.has_successor()
    other.remember("second")
    one.remember("late")
    other.close()
    later = NameFile(path)
    assert later.session == "second", "who gave it up writes nothing more"
    later.close()
    one.close()


async def test_a_name_that_is_not_given_up_is_waited_for_in_bounds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    one = NameFile(tmp_path / "web@p.lock")
    other = NameFile(tmp_path / "web@p.lock", waits=True)
    began = trio.current_time()
    assert not await other.wait()
    assert WAIT_S <= trio.current_time() - began < WAIT_S + 1
    other.give_up()
    assert not other.has_successor(), "it was never ours to give"
    one.close()
    other.close()


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
