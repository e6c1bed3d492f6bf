"""The data directory: its files are their owner's, and nothing half done stays."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kv_trio.state.operations import Put
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.directory import UNFINISHED
from kv_trio.storage.engine import StorageEngine


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    """Give what others may do with the directory and all that is in it."""
    paths = (directory, *directory.rglob("*"))
    return {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths}


def write_something(directory: Path) -> None:
    engine = StorageEngine(directory)
    try:
        batch = WriteBatch(engine.load())
        batch.apply(Put(b"secret", b"s"), 0.0)
        engine.commit(batch)
        engine.checkpoint()
        engine.back_up(directory / "copy")
        assert set(modes(directory).values()) == {0}
    finally:
        engine.close()


@pytest.mark.usefixtures("umask")
def test_only_its_owner_reads_what_a_store_writes(tmp_path: Path) -> None:
    write_something(tmp_path / "deep" / "data")


@pytest.mark.usefixtures("umask")
def test_a_directory_that_others_may_read_is_tightened(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_something(data)
    (data / "copy").unlink()
    for path in data.iterdir():
        path.chmod(0o644)
    data.chmod(0o755)
    write_something(data)


def test_a_directory_for_everybody_stays_one(tmp_path: Path) -> None:
    data = tmp_path / "tmp"
    data.mkdir()
    data.chmod(0o1777)
    StorageEngine(data).close()
    assert stat.S_IMODE(data.stat().st_mode) == 0o1777
    assert not modes(data)["kv.sqlite"]


def test_an_unfinished_backup_is_swept_at_the_start(tmp_path: Path) -> None:
    unfinished, kept = tmp_path / f"{UNFINISHED}x1", tmp_path / "backup-20260101"
    for directory in (unfinished, kept):
        directory.mkdir()
        (directory / "kv.sqlite").write_bytes(b"half")
    StorageEngine(tmp_path).close()
    assert not unfinished.exists()
    assert (kept / "kv.sqlite").read_bytes() == b"half"
