"""Transactions: what an operation that fails undoes, and what one that holds gives."""

from __future__ import annotations

import pytest

from kv_trio.limits import StoreLimits
from kv_trio.state.acl import EVERYTHING, NOTHING, Acl
from kv_trio.state.entry import Entry, Session
from kv_trio.state.operations import CreateSession, Delete, Put
from kv_trio.state.store import Store
from kv_trio.state.txn import Transaction
from kv_trio.state.txn_operation import (
    TransactionResult,
    TxnOperation,
    TxnOperationFailed,
)
from kv_trio.state.write_batch import WriteBatch
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


class CountedStore(Store):
    """Counts the entries that are looked at."""

    looked = 0

    def get(self, key: bytes) -> Entry | None:
        self.looked += 1
        return super().get(key)


def filled(count: int) -> CountedStore:
    store = CountedStore()
    do(store, *(Put(b"p/%05d" % n, b"v") for n in range(count)))
    store.looked = 0
    return store


@pytest.mark.parametrize(
    ("acl", "most"),
    [(EVERYTHING, 101), (NOTHING, 0), (Acl("one", read=(b"p/00007", b"q/")), 128)],
    ids=["all rights", "no rights", "rights to one"],
)
def test_many_trees_cost_as_much_as_may_be_read(acl: Acl, most: int) -> None:
    store = filled(3000)
    batch = WriteBatch(store)
    trees = (TxnOperation("get-tree", b"p/"), TxnOperation("get-tree", b"")) * 64
    limits = StoreLimits(transaction_entries=100)
    outcome = Transaction(trees, acl, limits).apply_to(batch, 0.0)
    assert store.looked <= most
    assert batch.work <= most
    if acl is EVERYTHING:
        assert outcome.too_large
        assert "reads more than 100 entries" in outcome.refused
        assert "--limit transaction_entries=" in outcome.refused
    elif acl is NOTHING:
        assert outcome.results == ()
    else:
        assert outcome.too_large
        assert "100" in outcome.refused


def test_a_transaction_reads_values_up_to_a_size() -> None:
    store = Store()
    do(store, Put(b"p/1", b"v" * 600), Put(b"p/2", b"v" * 600))
    trees = (TxnOperation("get-tree", b"p/"),)
    for size, is_too_large in [(1199, True), (1200, False)]:
        limits = StoreLimits(listing_bytes=size)
        outcome = Transaction(trees, EVERYTHING, limits).apply_to(
            WriteBatch(store), 0.0
        )
        assert outcome.too_large == is_too_large


@pytest.mark.parametrize("trees", [1, 3])
def test_more_keys_than_one_request_deletes_stay(trees: int) -> None:
    store = filled(300)
    batch = WriteBatch(store)
    operations = tuple(TxnOperation("delete-tree", b"p/00%d" % n) for n in range(trees))
    limits = StoreLimits(changed_keys=100 * trees - 1)
    outcome = Transaction(operations, EVERYTHING, limits).apply_to(batch, 0.0)
    assert outcome.too_large
    assert "--limit changed_keys=" in outcome.refused
    assert not batch.changed
    limits = StoreLimits(changed_keys=100 * trees)
    assert Transaction(operations, EVERYTHING, limits).apply_to(batch, 0.0).done


def test_reads_in_a_batch_see_what_it_changed() -> None:
    store = filled(5)
    batch = WriteBatch(store)
    for operation in (
        Delete(b"p/00001"),
        Put(b"p/00002x", b"new"),
        Put(b"a", b""),
        Put(b"p/00003", b"again"),
    ):
        batch.apply(operation, 0.0)
        for prefix in (b"", b"p/", b"p/00002", b"zz"):
            expected = set(store.keys_under(prefix))
            for key, entry in batch.entries.items():
                expected.discard(key)
                if entry is not None and key.startswith(prefix):
                    expected.add(key)
            assert list(batch.keys_under(prefix)) == sorted(expected)
