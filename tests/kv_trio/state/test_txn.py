"""Transactions: what an operation that fails undoes, and what one that holds gives."""

from __future__ import annotations

import pytest

from kv_trio.state.acl import EVERYTHING, NOTHING, Acl
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession, Put
from kv_trio.state.store import Store
from kv_trio.state.txn import (
    Transaction,
    TransactionResult,
    TxnOperation,
    TxnOperationFailed,
)
from tests.kv_trio.support.states import do


def transact(
    store: Store, *operations: TxnOperation, acl: Acl = EVERYTHING
) -> TransactionResult:
    (outcome,) = do(store, Transaction(operations, acl))
    assert isinstance(outcome, TransactionResult)
    return outcome


@pytest.fixture
def store() -> Store:
    """A store with `a` = 1 (index 2), sessions s and t, and `l` locked by s."""
    made = Store()
    do(made, Put(b"a", b"1"))
    do(made, CreateSession(Session("s")))
    do(made, CreateSession(Session("t")))
    do(made, Put(b"l", b"", acquire="s"))
    return made


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (
            TxnOperation("cas", "a", b"2", index=7),
            'failed to set key "a", index is stale',
        ),
        (
            TxnOperation("cas", "new", b"2", index=7),
            'failed to set key "new", index is stale',
        ),
        (
            TxnOperation("lock", "l", session="t"),
            'failed to lock key "l", lock is already held',
        ),
        (TxnOperation("lock", "l", session="x"), 'invalid session "x"'),
        (
            TxnOperation("unlock", "l", session="t"),
            'failed to unlock key "l", lock isn\'t held, or is held by another session',
        ),
        (
            TxnOperation("delete-cas", "a", index=7),
            'failed to delete key "a", index is stale',
        ),
        (TxnOperation("get", "new"), 'key "new" doesn\'t exist'),
        (TxnOperation("check-not-exists", "a"), 'key "a" exists'),
        (
            TxnOperation("check-index", "a", index=7),
            'failed index check for key "a", current modify index 2 != 7',
        ),
        (
            TxnOperation("check-index", "new", index=7),
            'failed to check index, key "new" doesn\'t exist',
        ),
        (
            TxnOperation("check-session", "l", session="t"),
            'failed session check for key "l", current session "s" != "t"',
        ),
        (TxnOperation("frob", "a"), 'unknown KV verb "frob"'),
        (TxnOperation("set", ""), "Must provide key"),
    ],
)
def test_an_operation_that_fails_undoes_the_others(
    store: Store, operation: TxnOperation, reason: str
) -> None:
    index = store.index

    done = transact(store, TxnOperation("set", "other", b"x"), operation)

    assert done.failed == (TxnOperationFailed(1, reason),)
    assert store.get(b"other") is None
    assert store.index == index


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        (TxnOperation("cas", "a", b"2", index=2), 1),
        (TxnOperation("cas", "new", b"2", index=0), 1),
        (TxnOperation("unlock", "l", session="s"), 1),
        (TxnOperation("lock", "free", session="t"), 1),
        (TxnOperation("delete", "a"), 0),
        (TxnOperation("delete", "new"), 0),
        (TxnOperation("delete-cas", "a", index=2), 0),
        (TxnOperation("delete-tree", ""), 0),
        (TxnOperation("get", "a"), 1),
        (TxnOperation("get-or-empty", "new"), 1),
        (TxnOperation("get-tree", ""), 2),
        (TxnOperation("check-index", "a", index=2), 1),
        (TxnOperation("check-session", "l", session="s"), 1),
        (TxnOperation("check-not-exists", "new"), 0),
    ],
)
def test_an_operation_that_holds_gives_what_it_should(
    store: Store, operation: TxnOperation, given: int
) -> None:
    assert len(transact(store, operation).results) == given


def test_all_that_fails_is_reported(store: Store) -> None:
    done = transact(
        store,
        TxnOperation("get", "x"),
        TxnOperation("get", "a"),
        TxnOperation("get", "y"),
    )
    assert [one.position for one in done.failed] == [0, 2]


def test_operations_see_those_before_them_and_share_an_index(store: Store) -> None:
    index = store.index

    done = transact(
        store,
        TxnOperation("set", "m", b"1"),
        TxnOperation("get", "m"),
        TxnOperation("set", "n", b"2"),
        TxnOperation("delete", "m"),
        TxnOperation("check-not-exists", "m"),
    )

    assert [entry.value for entry in done.results] == [b"", b"1", b""]
    assert store.index == index + 1
    assert store.get(b"m") is None
    assert store.index_of(b"m") == index + 1


def test_rights_are_those_of_the_sender(store: Store) -> None:
    reader = Acl("reader", read=(b"a",))
    refused = transact(store, TxnOperation("set", "a", b"2"), acl=reader)
    seen = transact(
        store, TxnOperation("get", "a"), TxnOperation("get-tree", ""), acl=reader
    )
    blind = transact(store, TxnOperation("get", "a"), acl=NOTHING)

    assert refused.failed == (TxnOperationFailed(0, "Permission denied"),)
    assert [entry.key for entry in seen.results] == [b"a", b"a"]
    assert (blind.done, blind.results) == (True, ())
