"""Write batches: what they show before they are published, and one on top of another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.state import write_batch
from kv_trio.state.entry import Entry, Session, View
from kv_trio.state.operations import CreateSession, Delete, DestroySession, Put
from kv_trio.state.store import FIRST_INDEX, Store
from kv_trio.state.write_batch import Operation, WriteBatch
from tests.kv_trio.support.states import OPERATIONS, check, do

BATCH = st.lists(OPERATIONS, max_size=6)
NOW = 5.0


def publish(write_batch: WriteBatch, store: Store) -> set[bytes]:
    write_batch.fold_tombstones(store)
    changed = store.publish(write_batch, NOW)
    check(store)
    return changed


def seen(view: View) -> dict[str, object]:
    """Give all that a view can show."""
    keys = [b"a", b"a/1", b"a/2", b"b", b"b/1", b"none"]
    return {
        "index": view.index,
        "entries": [view.get(key) for key in keys],
        "keys": [list(view.keys_under(key)) for key in (b"", b"a", b"a/", b"none")],
        "session count": view.session_count,
        "sessions": [view.session(id_) for id_ in "st"],
        "held": [view.held_by(id_) for id_ in "st"],
        "delayed": [view.is_delayed(key, NOW) for key in keys],
    }


def test_a_batch_is_not_seen_before_it_is_published() -> None:
    store = Store()
    write_batch = WriteBatch(store)
    write_batch.apply(Put(b"a", b"1"), 0)

    assert store.get(b"a") is None
    assert store.index == FIRST_INDEX


@given(BATCH, BATCH)
def test_a_batch_shows_what_the_store_will_be(
    before: list[Operation], batch: list[Operation]
) -> None:
    store = Store()
    do(store, *before, now=NOW)
    write_batch = WriteBatch(store)
    for operation in batch:
        write_batch.apply(operation, NOW)
    expected = seen(write_batch)

    publish(write_batch, store)

    assert seen(store) == expected


@given(BATCH, BATCH, BATCH)
def test_batches_of_which_one_absorbs_the_other_are_as_one(
    before: list[Operation], first: list[Operation], second: list[Operation]
) -> None:
    one, two = Store(), Store()
    for store in (one, two):
        do(store, *before, now=NOW)
    whole, lower = WriteBatch(one), WriteBatch(two)
    whole_outcomes = [whole.apply(operation, NOW) for operation in first + second]
    lower_outcomes = [lower.apply(operation, NOW) for operation in first]
    upper = WriteBatch(lower)
    upper_outcomes = [upper.apply(operation, NOW) for operation in second]
    lower.absorb(upper)

    assert lower_outcomes + upper_outcomes == whole_outcomes
    assert lower.revisions() == whole.revisions()
    assert publish(lower, two) == publish(whole, one)
    assert seen(two) == seen(one)
    assert two.tombstones == one.tombstones


@given(BATCH, BATCH)
def test_a_batch_that_is_dropped_leaves_no_trace(
    first: list[Operation], second: list[Operation]
) -> None:
    lower = WriteBatch(Store())
    for operation in first:
        lower.apply(operation, NOW)
    expected, revisions = seen(lower), lower.revisions()

    upper = WriteBatch(lower)
    for operation in second:
        upper.apply(operation, NOW)

    assert seen(lower) == expected
    assert lower.revisions() == revisions


@given(BATCH)
def test_the_changes_of_a_transaction_share_a_number(batch: list[Operation]) -> None:
    write_batch = WriteBatch(Store(), one_index=True)
    for operation in batch:
        write_batch.apply(operation, NOW)

    assert write_batch.index == FIRST_INDEX + write_batch.changed
    assert {one.index for one in write_batch.revisions()} <= {write_batch.index}


def test_each_state_of_a_key_is_a_revision() -> None:
    write_batch = WriteBatch(Store())
    for operation in (Put(b"a", b"1"), Put(b"a", b"2"), Delete(b"a"), Put(b"b", b"")):
        write_batch.apply(operation, NOW)

    shown = [(one.key, one.index, one.entry) for one in write_batch.revisions()]

    assert shown == [
        (b"a", 2, Entry(b"a", b"1", 0, 2, 2)),
        (b"a", 3, Entry(b"a", b"2", 0, 2, 3)),
        (b"a", 4, None),
        (b"b", 5, Entry(b"b", b"", 0, 5, 5)),
    ]


@pytest.mark.parametrize(
    ("operations", "changed", "plain"),
    [
        ([], False, True),
        ([Put(b"a", b"1")], True, True),
        ([Put(b"there", b"")], False, True),
        ([Put(b"a", b"1", cas=7)], False, True),
        ([Delete(b"there")], True, True),
        ([Delete(b"none")], False, True),
        ([CreateSession(Session("s"))], True, False),
        ([DestroySession("nobody")], False, True),
        ([Delete(b"there"), Delete(b"there too")], True, False),
    ],
    ids=[
        "nothing",
        "a write",
        "the same value",
        "a condition that does not hold",
        "a delete",
        "a delete of nothing",
        "a session",
        "the end of no session",
        "more deletes than are remembered",
    ],
)
def test_what_there_is_to_make_durable(
    monkeypatch: pytest.MonkeyPatch,
    operations: list[Operation],
    changed: bool,
    plain: bool,
) -> None:
    """A plain batch can go into the journal, which knows writes and deletes only."""
    store = Store()
    do(store, Put(b"there", b""), Put(b"there too", b""), Put(b"old", b""))
    do(store, Delete(b"old"))
    monkeypatch.setattr(write_batch, "TOMBSTONES", 2)
    batch = WriteBatch(store)
    for operation in operations:
        batch.apply(operation, NOW)
    batch.fold_tombstones(store)

    assert (batch.changed, batch.is_plain) == (changed, plain)


def test_a_key_that_is_there_again_has_no_tombstone() -> None:
    store = Store()
    do(store, Put(b"a", b""), Put(b"b", b""))
    do(store, Delete(b"", recurse=True))
    write_batch = WriteBatch(store)
    write_batch.apply(Put(b"a", b"again"), NOW)
    write_batch.fold_tombstones(store)

    assert write_batch.forgotten == [b"a"]
    publish(write_batch, store)
    assert list(store.tombstones) == [b"b"]


def test_a_lock_is_delayed_within_the_batch_that_lost_it() -> None:
    store = Store()
    do(store, CreateSession(Session("s")), CreateSession(Session("t")))
    do(store, Put(b"lock", b"", acquire="s"))
    write_batch = WriteBatch(store)
    write_batch.apply(DestroySession("s"), NOW)

    assert not write_batch.apply(Put(b"lock", b"", acquire="t"), NOW).done


def test_many_deletes_are_forgotten_and_no_index_slides_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_batch, "TOMBSTONES", 3)
    store = Store()
    seen = 0
    for n in range(20):
        key = b"p/%d" % n
        do(store, Put(key, b""))
        do(store, Delete(key))
        assert store.index_under(b"p/") >= seen
        seen = store.index_under(b"p/")
        assert len(store.tombstones) <= 3
