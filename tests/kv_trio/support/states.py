"""Stores in memory that tests write to without a disk, and what holds of each."""

from __future__ import annotations

from hypothesis import strategies as st

from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, Delete, DestroySession, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation, WriteBatch

KEYS = st.sampled_from([b"a", b"a/1", b"a/2", b"b", b"b/1"])
OPERATIONS = st.one_of(
    st.builds(Put, KEYS, st.sampled_from([b"", b"x", b"y"])),
    st.builds(Put, KEYS, st.just(b"z"), cas=st.integers(0, 12)),
    st.builds(Put, KEYS, st.just(b"l"), acquire=st.sampled_from(["s", "t"])),
    st.builds(Put, KEYS, st.just(b"r"), release=st.sampled_from(["s", "t"])),
    st.builds(Delete, KEYS, recurse=st.booleans()),
    st.builds(
        CreateSession,
        st.builds(Session, st.sampled_from(["s", "t"]), deletes=st.booleans()),
    ),
    st.builds(DestroySession, st.sampled_from(["s", "t"])),
)
"""What one or two sessions do to a handful of keys."""


def do(store: Store, *operations: Operation, now: float = 0.0) -> list[Outcome]:
    """Run operations as one batch, publish it, and check the store."""
    write_batch = WriteBatch(store)
    outcomes = [write_batch.apply(operation, now) for operation in operations]
    write_batch.fold_tombstones(store)
    store.publish(write_batch, now)
    check(store)
    return outcomes


def check(store: Store) -> None:
    """Check what holds after every step."""
    assert list(store._entries) == sorted(store._entries)
    assert dict(store._tombstones) == dict(store._deleted)
    assert not set(store._entries) & set(store._tombstones)
    for entry in store._entries.values():
        assert 1 <= entry.create_index <= entry.modify_index <= store.index
        if entry.session is not None:
            assert entry.session in store.sessions
            assert entry.key in store.held_by(entry.session)
