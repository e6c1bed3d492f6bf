"""Damage in SQLite's log, against logs that are whole or were cut off."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest

from kv_trio.storage.wal_check import find_damage

FRAME = 24 + 4096


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give the log of a database that was written to in 20 transactions."""
    path = tmp_path_factory.mktemp("wal") / "db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB)")
    for n in range(20):
        db.execute("INSERT INTO t VALUES (?, ?)", (n, b"v" * 100))
    found = Path(f"{path}-wal").read_bytes()
    db.close()
    return found


def flip(log: bytes, at: int) -> bytes:
    return log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :]


def test_a_log_that_is_whole_is_not_damaged(log: bytes) -> None:
    assert find_damage(log) == ""
    assert find_damage(bytes(4096)) == ""


@pytest.mark.parametrize("share", [0.9, 0.99, 0.5])
def test_a_transaction_that_was_cut_off_is_no_damage(log: bytes, share: float) -> None:
    start = len(log) - FRAME
    cut = start + round(FRAME * share)
    assert find_damage(log[:cut]) == ""
    assert find_damage(log[:cut] + bytes(len(log) - cut)) == ""


@pytest.mark.parametrize("at", [0, 9, 20, 30, 40, 32 + FRAME + 5, 32 + 9 * FRAME + 99])
def test_a_flipped_bit_is_damage(log: bytes, at: int) -> None:
    assert "log" in find_damage(flip(log, at))


def test_the_frames_of_an_older_log_do_not_matter(log: bytes) -> None:
    """SQLite begins anew at the start of the file, with other salts in the header."""
    old = bytearray(log)
    for at in range(32 + 5 * FRAME, len(log), FRAME):
        struct.pack_into(">I", old, at + 8, 12345)
    assert find_damage(bytes(old)) == ""
