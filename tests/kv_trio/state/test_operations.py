"""Each operation: when its condition holds, and what it leaves behind."""

from __future__ import annotations

import pytest

from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, DestroySession, Put
from kv_trio.state.store import Store
from tests.kv_trio.support.states import do


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
    do(store, CreateSession(one), CreateSession(two))

    outcomes = do(
        store,
        Put(b"l", b"x", acquire="1"),
        Put(b"l", b"y", acquire="2"),
        Put(b"l", b"z", release="2"),
        Put(b"l", b"z", acquire="nobody"),
    )
    assert [one.done for one in outcomes] == [True, False, False, False]
    assert outcomes[3].refused == 'invalid session "nobody"'

    do(store, DestroySession("1"), now=10.0)
    assert store.get(b"l") is None
    assert not do(store, Put(b"l", b"y", acquire="2"), now=20.0)[0].done
    assert do(store, Put(b"l", b"y", acquire="2"), now=25.1)[0].done


def test_no_more_sessions_begin_than_there_may_be_not_in_one_batch_either() -> None:
    store = Store()
    do(store, CreateSession(Session("1"), limit=3))
    outcomes = do(
        store,
        CreateSession(Session("2"), limit=3),
        CreateSession(Session("3"), limit=3),
        CreateSession(Session("4"), limit=3),
        DestroySession("1"),
        CreateSession(Session("5"), limit=3),
        CreateSession(Session("6"), limit=3),
    )
    assert [one.done for one in outcomes] == [True, True, False, True, True, False]
    assert list(store.sessions) == ["2", "3", "5"]


def test_a_released_lock_keeps_its_key() -> None:
    store = Store()
    do(store, CreateSession(Session("1", lock_delay_s=0)), Put(b"l", b"x", acquire="1"))
    do(store, DestroySession("1"))

    entry = store.get(b"l")
    assert entry is not None
    assert (entry.session, entry.modify_index) == (None, store.index)
