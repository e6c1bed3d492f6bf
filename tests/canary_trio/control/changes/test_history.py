"""Notes of who changed a document: written, read, ordered and cleared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.policies import KeptHistory
from canary_trio.control.changes.difference import differences
from canary_trio.control.changes.history import (
    CLEARED,
    LEAST,
    SUMMARY,
    Change,
    ChangeLog,
    Note,
    make_id,
    time_of,
)
from canary_trio.control.store_keys import changes_prefix
from canary_trio.errors import BadNote
from kv_trio import Entry

NOW = datetime(2026, 11, 27, 16, tzinfo=UTC)
PREFIX = changes_prefix("web")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def entry(id_: str, value: bytes, revision: int) -> Entry:
    return Entry((PREFIX + id_).encode(), value, 0, revision, revision)


def noted(days_ago: float, revision: int) -> Entry:
    at = NOW - timedelta(days=days_ago)
    change = Change.noted(make_id(at, 7), Note("ann"), (), over=0, at=at)
    return entry(change.id, change.dump(), revision)


@given(TEXTS.filter(str.strip), TEXTS, st.integers(0, 2**40), st.integers(0, 2**16))
def test_a_note_is_read_as_it_was_written(
    author: str, message: str, over: int, draw: int
) -> None:
    found = differences({}, {f"f{number}": number for number in range(SUMMARY + 2)})
    id_ = make_id(NOW, draw)
    change = Change.noted(
        id_, Note(author, message, copy_of=3, undoes=4), found, over=over, at=NOW
    )
    read = Change.load(entry(id_, change.dump(), 9))
    assert read == attrs.evolve(change, revision=9)
    assert (len(change.summary), change.others) == (SUMMARY, 2)


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"[]",
            b"{",
            b"\xff",
            b'{"over": -1}',
            b'{"over": true}',
            b'{"changes": 5}',
        ),
        *(b'{"revision": 1e400}', b"[" * 100_000, b'{"over": ' + b"9" * 5000 + b"}"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_note_is_left_out(value: bytes) -> None:
    assert Change.load(entry(make_id(NOW, 1), value, 5)) is None
    assert ChangeLog.of(0, [entry(make_id(NOW, 1), value, 5)]).changes == ()


@given(st.binary(max_size=60))
def test_whatever_stands_there_does_no_harm(value: bytes) -> None:
    ChangeLog.of(4, [entry(make_id(NOW, 1), value, 5)])


def test_what_was_written_past_us_is_found() -> None:
    entries = [noted(2, 10), noted(1, 20)]
    assert [c.revision for c in ChangeLog.of(20, entries).changes] == [20, 10]
    history = ChangeLog.of(30, entries)
    assert [(c.revision, c.by_hand) for c in history.changes] == [
        (30, True),
        (20, False),
        (10, False),
    ]
    assert history.changes[0].who == "by hand"
    assert history.find(20) is history.changes[1]
    assert history.before(30) is history.changes[1]
    assert history.find(5) is None


@given(
    st.lists(st.floats(0, 900), max_size=80),
    st.integers(1, 60),
    st.floats(1, 800),
)
def test_clearing_takes_the_oldest_and_leaves_the_newest(
    ages: list[float], revisions: int, days: float
) -> None:
    entries = [noted(age, number) for number, age in enumerate(ages, 1)]
    entries = list({one.key: one for one in entries}.values())
    history = ChangeLog.of(1, entries)
    cleared = history.to_clear("web", NOW, KeptHistory(revisions, days))
    ids = sorted(one.key.decode().removeprefix(PREFIX) for one in entries)
    assert list(cleared) == ids[: len(cleared)]
    assert len(cleared) <= CLEARED
    left = ids[len(cleared) :]
    assert len(left) + 1 >= min(len(ids) + 1, LEAST, revisions)
    if len(cleared) < CLEARED:
        assert len(left) + 1 <= revisions
        old = [id_ for id_ in left if time_of(id_) < NOW - timedelta(days=days)]  # type: ignore[operator]
        assert not old or len(left) + 1 <= LEAST


def test_keys_of_others_are_never_cleared() -> None:
    entries = [entry(f"of-others-{n}", b"{}", n) for n in range(1, 99)]
    assert ChangeLog.of(1, entries).to_clear("web", NOW, KeptHistory(1, 1)) == ()


@pytest.mark.parametrize(
    "bad", [("",), (" ",), ("a" * 129,), ("a", "m" * 1025), ("\udc80",)], ids=str
)
def test_a_note_has_its_limits(bad: tuple[str, ...]) -> None:
    with pytest.raises(BadNote):
        Note(*bad)
