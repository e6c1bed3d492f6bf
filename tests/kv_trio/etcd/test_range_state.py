"""What is known of a range is never older than what was known before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import Entry, UnexpectedResponse
from kv_trio.etcd.range_state import Lines, RangeState
from kv_trio.etcd.wire import Event, Header, RangeResult

KEYS = [b"a", b"b", b"c"]


def history(changes: list[tuple[bytes, bool]]) -> list[dict[bytes, Entry]]:
    """Give the states that changes make: each writes a key, or deletes it."""
    states: list[dict[bytes, Entry]] = [{}]
    for revision, (key, is_put) in enumerate(changes, 1):
        after = dict(states[-1])
        if is_put:
            after[key] = Entry(key, b"%d" % revision, 0, revision, revision)
        else:
            after.pop(key, None)
        states.append(after)
    return states


def result(state: dict[bytes, Entry], revision: int, since: int = 0) -> RangeResult:
    entries = tuple(e for e in state.values() if e.modify_index > since)
    return RangeResult(Header("c", revision), entries, len(state))


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=12),
    st.data(),
)
def test_reads_and_a_stream_that_lags_give_the_newest(
    changes: list[tuple[bytes, bool]], data: st.DataObject
) -> None:
    states = history(changes)
    known = RangeState()
    read_at = data.draw(st.integers(0, len(changes)))
    streamed = data.draw(st.integers(0, read_at))  # a stream begins before the read
    known.take_all(result(states[read_at], read_at))
    for revision in range(streamed + 1, len(changes) + 1):
        key, is_put = changes[revision - 1]
        entry = states[revision][key] if is_put else None
        known.take_events(Header("c", revision), (Event(key, revision, entry),))
        assert known.entries == states[max(revision, read_at)]


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=12),
    st.data(),
)
def test_a_look_finds_what_the_stream_has_swallowed(
    changes: list[tuple[bytes, bool]], data: st.DataObject
) -> None:
    states = history(changes)
    known = RangeState()
    at = data.draw(st.integers(0, len(changes)))
    known.take_all(result(states[at], at))
    newest = len(changes)
    changed = known.take_changes(result(states[newest], newest, since=at))
    if changed is None:  # a key is gone, so all is read
        changed = known.take_all(result(states[newest], newest))
    assert known.entries == states[newest]
    assert changed == (states[at] != states[newest])


def test_a_store_that_went_back_or_is_another_is_told_from_a_late_one() -> None:
    known = RangeState()
    known.take_all(result({}, 5))

    assert known.is_before(Header("c", 5))
    assert not known.is_before(Header("c", 4))
    assert not known.is_before(Header("d", 6))


@given(st.lists(st.sampled_from([b"a", b"bb", b"\n"]), max_size=30), st.data())
def test_lines_are_the_same_however_they_are_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    text = b"".join(pieces)
    lines = Lines(1000)
    found, rest = [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += lines.take(rest[:size])
        rest = rest[size:]
    assert found == [line for line in text.split(b"\n")[:-1] if line]


def test_a_line_without_an_end_is_refused() -> None:
    lines = Lines(10)
    lines.take(b"0123456789")
    with pytest.raises(UnexpectedResponse, match="longer than 10 bytes"):
        lines.take(b"0")
