"""A transaction on an etcd means what it means on the store."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import BadQuery, Entry, TxnOperation
from kv_trio.etcd.transactions import MOST_OPERATIONS, check_operations, plan
from kv_trio.state.acl import EVERYTHING
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession, Put
from kv_trio.state.store import Store
from kv_trio.state.txn import Transaction
from kv_trio.state.txn_operation import TransactionResult
from tests.kv_trio.support.states import do

KEYS = st.sampled_from([b"held", b"free", b"new"])
SESSIONS = st.sampled_from(["s", "t"])
INDEXES = st.sampled_from([0, 2, 5])
VALUES = st.sampled_from([b"", b"x"])

OPERATIONS = st.one_of(
    st.builds(TxnOperation, st.just("set"), KEYS, VALUES),
    st.builds(TxnOperation, st.just("cas"), KEYS, VALUES, index=INDEXES),
    st.builds(TxnOperation, st.just("lock"), KEYS, VALUES, session=SESSIONS),
    st.builds(TxnOperation, st.just("unlock"), KEYS, VALUES, session=SESSIONS),
    st.builds(TxnOperation, st.sampled_from(["delete", "get"]), KEYS),
    st.builds(TxnOperation, st.sampled_from(["get-or-empty"]), KEYS),
    st.builds(TxnOperation, st.just("check-not-exists"), KEYS),
    st.builds(TxnOperation, st.just("check-session"), KEYS, session=SESSIONS),
    st.builds(TxnOperation, st.just("check-index"), KEYS, index=st.just(2)),
)


def made() -> Store:
    """Give a store with `free` at 2 and `held`, by the session s, at 5."""
    store = Store()
    do(store, Put(b"free", b"1"))
    for name in ("s", "t"):
        session = Session(name, deletes=True, lock_delay_s=0.0)
        do(store, CreateSession(session))
    do(store, Put(b"held", b"1", acquire="s"))
    return store


@given(st.lists(OPERATIONS, max_size=5, unique_by=lambda one: one.key))
def test_it_does_what_the_store_does(operations: list[TxnOperation]) -> None:
    check_same(operations)


@given(st.lists(OPERATIONS, max_size=5).filter(lambda ones: not any(map(_at, ones))))
def test_each_operation_sees_what_those_before_it_wrote(
    operations: list[TxnOperation],
) -> None:
    check_same(operations)


def _at(operation: TxnOperation) -> bool:
    """Whether it asks for a revision, which is another one in the middle of it."""
    return operation.verb in ("cas", "check-index")


def check_same(operations: list[TxnOperation]) -> None:
    store = made()
    before = {one.key: store.get(one.key) for one in operations}
    found = plan(operations, before)
    (outcome,) = do(store, Transaction(tuple(operations), EVERYTHING))
    assert isinstance(outcome, TransactionResult)

    mine = found.result(7)
    assert mine.done == outcome.done, outcome.failed
    assert [f.position for f in mine.failed] == [f.position for f in outcome.failed]
    if outcome.done:
        assert {key: shown(entry) for key, entry in found.after.items()} == {
            key: shown(store.get(key)) for key in before
        }


def shown(entry: Entry | None) -> object:
    return entry and (entry.value, entry.session)


def test_it_holds_only_as_long_as_nobody_changes_what_was_read() -> None:
    there = Entry(b"a", b"1", 0, 3, 4, session="77")
    message = plan(
        [TxnOperation("set", "a", b"2"), TxnOperation("delete", "b")],
        {b"a": there, b"b": None},
    ).message()

    assert [(c["target"], c["mod_revision"]) for c in message["compare"]] == [
        ("MOD", "4"),
        ("MOD", "0"),
    ]
    (put,) = message["success"]
    assert put["request_put"]["lease"] == "77", "its session has it still"
    assert base64.b64decode(put["request_put"]["value"]) == b"2"


def test_a_key_that_comes_twice_is_written_once() -> None:
    there = Entry(b"a", b"1", 0, 3, 4, session="1")
    found = plan(
        [
            TxnOperation("unlock", "a", b"2", session="1"),
            TxnOperation("lock", "a", b"3", session="2"),
        ],
        {b"a": there},
    )

    (put,) = found.message()["success"]
    assert put["request_put"]["lease"] == "2"
    assert [entry.modify_index for entry in found.result(9).results] == [9, 9]


@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        ([TxnOperation("get-tree", "a")], "'get-tree' is no operation of an etcd"),
        ([TxnOperation("get", "a")] * (MOST_OPERATIONS + 1), "129 operations"),
    ],
)
def test_what_an_etcd_cannot_do_is_refused(
    operations: list[TxnOperation], reason: str
) -> None:
    with pytest.raises(BadQuery, match=reason):
        check_operations(operations)
