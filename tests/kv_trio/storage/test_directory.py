"""The data directory: its files are their owner's, and nothing half done stays."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kv_trio.errors import StoreDamaged
from kv_trio.state.operations import Put
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.directory import (
    ACKNOWLEDGED,
    DATABASE,
    UNFINISHED,
    AcknowledgedIndex,
)
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


# === what was acknowledged ===


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory of a server that was killed after 40 writes."""
    directory = tmp_path_factory.mktemp("killed")
    engine = StorageEngine(directory / "data")
    store = engine.load()
    for number in range(40):
        batch = WriteBatch(store)
        batch.apply(Put(b"k%d" % (number % 20), b"%d" % number), 0.0)
        if number % 2 or not engine.commit_at_once(batch):
            engine.commit(batch)
        store.publish(batch, 0.0)
    shutil.copytree(directory / "data", directory / "copy")
    engine.close()
    return directory / "copy"


def test_what_was_acknowledged_is_there_after_a_kill(
    killed: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(killed, tmp_path / "data")
    engine = StorageEngine(data)
    assert engine.load().index == 41
    engine.close()
    engine = StorageEngine(data)
    assert engine.load().index == 41
    engine.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), zeros=st.booleans())
def test_wherever_its_log_is_cut_a_loss_is_noticed(
    killed: Path, tmp_path: Path, share: float, zeros: bool
) -> None:
    data = shutil.copytree(killed, tmp_path / "data")
    try:
        log = data / f"{DATABASE}-wal"
        used = log.read_bytes().rstrip(b"\0")
        cut = used[: int(len(used) * share)]
        log.write_bytes(cut + bytes(len(used) - len(cut)) if zeros else cut)
        with pytest.raises(StoreDamaged):
            StorageEngine(data)
        (data / ACKNOWLEDGED).unlink()
        try:
            StorageEngine(data).close()  # or the log itself shows it
        except StoreDamaged as exc:
            assert "acknowledged" not in str(exc)  # mostly it does not
    finally:
        shutil.rmtree(data)


@pytest.mark.parametrize("text", [b"", b"5", b"9" * 5000, b"%020d %08x\n" % (99, 0)])
def test_a_number_that_is_not_as_it_was_written_is_none(
    killed: Path, tmp_path: Path, text: bytes
) -> None:
    data = shutil.copytree(killed, tmp_path / "data")
    (data / ACKNOWLEDGED).write_bytes(text)
    engine = StorageEngine(data)
    assert engine.load().index == 41
    engine.close()
    number = AcknowledgedIndex(data)
    assert number.read() == 41
    number.close()


def test_a_copy_may_take_the_place_of_what_was_lost(
    killed: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(killed, tmp_path / "data")
    engine = StorageEngine(data)
    engine.back_up(tmp_path / "copy")
    store = engine.load()
    batch = WriteBatch(store)
    batch.apply(Put(b"k", b""), 0.0)
    engine.commit(batch)
    engine.close()
    (tmp_path / "copy").replace(data / DATABASE)
    engine = StorageEngine(data)
    assert engine.load().index > 42
    engine.close()


def test_a_copy_beside_the_log_of_another_database_is_refused(
    killed: Path, tmp_path: Path
) -> None:
    """SQLite would write the log over the copy, and nobody would see it."""
    data = shutil.copytree(killed, tmp_path / "data")
    shutil.copytree(killed, tmp_path / "other")
    engine = StorageEngine(tmp_path / "other")
    engine.back_up(tmp_path / "copy")
    engine.close()
    (tmp_path / "copy").replace(data / DATABASE)
    with pytest.raises(StoreDamaged, match="log of another database"):
        StorageEngine(data)
    (data / f"{DATABASE}-wal").unlink()
    engine = StorageEngine(data)
    assert engine.load().index > 41
    engine.close()


def test_a_database_that_was_moved_away_is_not_asked_for(
    killed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = shutil.copytree(killed, tmp_path / "data")
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()
    for _ in range(2):
        engine = StorageEngine(data)
        assert engine.load().index == 1
        engine.close()
    assert "had changes up to 41" in caplog.text
