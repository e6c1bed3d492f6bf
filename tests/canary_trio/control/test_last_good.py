"""The last good document is kept whole on disk; what is damaged is said."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import trio

from canary_trio.control.fleet_secret import FleetSecret, Secret
from canary_trio.control.last_good import (
    LastGood,
    LastGoodFile,
    load_last_good,
    save_last_good,
)

SECRET = FleetSecret((Secret(b"s" * 32),))


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "web@one.json"
    assert load_last_good(path) is None
    for revision in (1, 2):
        save_last_good(path, LastGood(revision, b'{"\xff', SECRET))

    assert load_last_good(path) == LastGood(2, b'{"\xff', SECRET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"revision": "x"}'])
def test_a_damaged_memory_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"remembered|Expecting|invalid|indices"):
        load_last_good(path)


def test_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "web@one.json"
    save_last_good(other, LastGood(1, b"{}", SECRET))
    before = other.read_bytes()
    path.symlink_to(other)
    path.with_name(f".{path.name}.unfinished").symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        load_last_good(path)
    save_last_good(path, LastGood(2, b"{}", SECRET))

    assert other.read_bytes() == before
    assert load_last_good(path) == LastGood(2, b"{}", SECRET)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_without_descriptors_it_is_told_and_the_next_is_written(
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "web@one.json"
    file = LastGoodFile(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        with monkeypatch.context() as patched, trio.fail_after(30):
            patched.setattr(os, "open", refuse)
            file.save(LastGood(1, b"{}", SECRET))
            while "cannot keep" not in caplog.text:
                await trio.sleep(0.01)
        assert not path.exists()
        assert len(caplog.records) == 1
        file.save(LastGood(2, b"{}", SECRET))
        with trio.fail_after(30):
            while not path.exists():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()

    assert load_last_good(path) == LastGood(2, b"{}", SECRET)
