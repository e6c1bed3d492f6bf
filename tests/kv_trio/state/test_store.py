"""The published state of a store, and what operations make of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kv_trio.state import write_batch
from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import Create, Delete, Destroy, Put
from kv_trio.state.store import FIRST_INDEX, Store
from kv_trio.state.write_batch import Draft, Operation


def do(store: Store, *operations: Operation, now: float = 0.0) -> list[Outcome]:
    draft = Draft(store)
    outcomes = [draft.apply(operation, now) for operation in operations]
    draft.fold_tombstones(store)
    store.publish(draft, now)
    check(store)
    return outcomes


def check(store: Store) -> None:
    """What holds after every step."""
    assert list(store._entries) == sorted(store._entries)
    assert dict(store._tombstones) == dict(store._deleted)
    assert not set(store._entries) & set(store._tombstones)
    for entry in store._entries.values():
        assert 1 <= entry.create_index <= entry.modify_index <= store.index
        if entry.session is not None:
            assert entry.session in store.sessions
            assert entry.key in store.held_by(entry.session)


def test_a_draft_is_not_seen_before_it_is_published() -> None:
    store = Store()
    draft = Draft(store)
    draft.apply(Put(b"a", b"1"), 0)

    assert store.get(b"a") is None
    assert store.index == FIRST_INDEX


def test_the_same_value_changes_nothing() -> None:
    store = Store()
    do(store, Put(b"a", b"1"))
    before = store.get(b"a")

    (outcome,) = do(store, Put(b"a", b"1"))

    assert outcome == Outcome(done=True, index=2)
    assert store.get(b"a") == before


@pytest.mark.parametrize(
    ("exists", "cas", "done"),
    [
        (False, 0, True),
        (True, 0, False),
        (True, 2, True),
        (True, 7, False),
        (False, 7, False),
    ],
)
def test_a_conditional_write(exists: bool, cas: int, done: bool) -> None:
    store = Store()
    if exists:
        do(store, Put(b"a", b"1"))

    (outcome,) = do(store, Put(b"a", b"2", cas=cas))

    assert outcome.done is done
    entry = store.get(b"a")
    assert (entry is not None and entry.value == b"2") is done


def test_a_session_holds_a_lock_until_it_ends() -> None:
    store = Store()
    one, two = Session("1", deletes=True), Session("2")
    do(store, Create(one), Create(two))

    outcomes = do(
        store,
        Put(b"l", b"x", acquire="1"),
        Put(b"l", b"y", acquire="2"),
        Put(b"l", b"z", release="2"),
        Put(b"l", b"z", acquire="nobody"),
    )
    assert [one.done for one in outcomes] == [True, False, False, False]
    assert outcomes[3].refused == 'invalid session "nobody"'

    do(store, Destroy("1"), now=10.0)
    assert store.get(b"l") is None
    assert not do(store, Put(b"l", b"y", acquire="2"), now=20.0)[0].done
    assert do(store, Put(b"l", b"y", acquire="2"), now=25.1)[0].done


def test_a_released_lock_keeps_its_key() -> None:
    store = Store()
    do(store, Create(Session("1", lock_delay_s=0)), Put(b"l", b"x", acquire="1"))
    do(store, Destroy("1"))

    entry = store.get(b"l")
    assert entry is not None
    assert (entry.session, entry.modify_index) == (None, store.index)


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


KEY = st.sampled_from([b"a", b"a/1", b"a/2", b"b", b"b/1"])
OPERATION = st.one_of(
    st.builds(Put, KEY, st.sampled_from([b"", b"x", b"y"])),
    st.builds(Put, KEY, st.just(b"z"), cas=st.integers(0, 12)),
    st.builds(Put, KEY, st.just(b"l"), acquire=st.sampled_from(["s", "t"])),
    st.builds(Put, KEY, st.just(b"r"), release=st.sampled_from(["s", "t"])),
    st.builds(Delete, KEY, recurse=st.booleans()),
    st.builds(
        Create, st.builds(Session, st.sampled_from(["s", "t"]), deletes=st.booleans())
    ),
    st.builds(Destroy, st.sampled_from(["s", "t"])),
)


@given(st.lists(st.lists(OPERATION, min_size=1, max_size=4), max_size=12))
@example(
    [
        [Create(Session("t")), Put(b"l", b"", acquire="t")],
        [Create(Session("s")), Destroy("t"), Put(b"l", b"", acquire="s")],
    ]
)
def test_a_batch_is_the_same_as_one_by_one(batches: list[list[Operation]]) -> None:
    together, apart = Store(), Store()
    highest = dict.fromkeys([b"", b"a", b"a/", b"b"], 0)
    for batch in batches:
        outcomes = do(together, *batch)
        assert outcomes == [do(apart, one)[0] for one in batch]
        assert together._entries == apart._entries
        assert together.index == apart.index
        for prefix, seen in highest.items():
            assert together.index_under(prefix) >= seen, "an index slid back"
            highest[prefix] = together.index_under(prefix)
            live = [e for e in together._entries.values() if e.key.startswith(prefix)]
            assert together.under(prefix) == sorted(live, key=lambda entry: entry.key)
