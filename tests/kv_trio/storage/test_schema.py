"""The rows of the tables: each value that is written is read again as it was."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.schema import (
    SCHEMA,
    SESSIONS,
    Row,
    read_entry,
    read_revision,
    read_session,
    read_tombstone,
    row_of_revision,
    row_of_session,
    row_of_tombstone,
    seal,
    unseal,
)

INT64 = st.integers(0, 2**63 - 1)
SECONDS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text()  # of whole characters, which is what the doors let in
SESSION = st.builds(
    Session, TEXT, TEXT, SECONDS, TEXT, SECONDS, st.booleans(), INT64, TEXT
)
ENTRY = st.builds(
    Entry,
    st.binary(),
    st.binary(),
    st.integers(0, 2**64 - 1),
    *(INT64, INT64, INT64),
    session=st.none() | TEXT,
)


@contextmanager
def tables() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    for statement in SCHEMA:
        db.execute(statement)
    yield db
    db.close()


def through(table: str, row: Row) -> Row:
    """Write a row to a table, and read it."""
    marks = ", ".join("?" * len(row))
    with tables() as db:
        db.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        found: Row = db.execute(f"SELECT * FROM {table}").fetchone()
        return found


@given(SESSION)
def test_a_session_is_read_as_it_was_written(session: Session) -> None:
    assert read_session(through("sessions", row_of_session(session))) == session


@given(ENTRY)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    revision = Revision(entry.key, entry.modify_index, entry)

    assert read_entry(through("entries", row_of_revision(revision))) == entry


@pytest.mark.parametrize("table", ["history", "journal"])
@given(ENTRY, st.booleans(), INT64)
def test_a_revision_is_read_as_it_was_written(
    table: str,
    entry: Entry,
    deleted: bool,  # hypothesis gives it
    time_ms: int,
) -> None:
    kept = None if deleted else entry
    revision = Revision(entry.key, entry.modify_index, kept, time_ms)
    row = (*row_of_revision(revision), time_ms)

    assert read_revision(through(table, row)) == revision


@given(st.binary(), INT64)
def test_a_tombstone_is_read_as_it_was_written(key: bytes, index: int) -> None:
    row = through("tombstones", row_of_tombstone(key, index))

    assert read_tombstone(row) == (key, index)


@given(TEXT, INT64)
def test_a_number_of_the_store_is_read_as_it_was_written(name: str, value: int) -> None:
    assert unseal(through("meta", seal(name, value))) == (name, value)


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_no_session_has_a_time_that_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="no time of a session"):
        Session("s", lock_delay_s=seconds)
    with pytest.raises(ValueError, match="no time of a session"):
        Session("s", ttl_s=seconds)


def test_a_database_of_the_format_before_is_brought_to_this_one(tmp_path: Path) -> None:
    """Format 5, whose sessions have no owners."""
    StorageEngine(tmp_path).close()
    columns = ("s", "me", 10.0, "10s", 15.0, 1, 7)
    with contextlib.closing(sqlite3.connect(tmp_path / "kv.sqlite")) as db:
        db.execute("DROP TABLE sessions")
        db.execute(SESSIONS.replace("owner TEXT NOT NULL, ", ""))
        marks = ", ".join("?" * (len(columns) + 1))
        db.execute(f"INSERT INTO sessions VALUES ({marks})", seal(*columns))
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", seal("index", 7))
        db.execute("PRAGMA user_version = 5")
        db.commit()
    for _ in range(2):
        engine = StorageEngine(tmp_path)
        sessions = engine.load().sessions
        assert not engine.check()
        engine.close()
        assert sessions == {"s": Session("s", "me", 10.0, "10s", 15.0, True, 7)}
