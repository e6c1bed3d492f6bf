"""Transactions: what a step that fails undoes, and what one that holds gives."""

from __future__ import annotations

import pytest

from kv_trio.state.acl import EVERYTHING, NOTHING, Access
from kv_trio.state.entry import Session
from kv_trio.state.operations import Create, Put
from kv_trio.state.store import Store
from kv_trio.state.txn import Step, StepFailed, Transacted, Transaction
from tests.kv_trio.support.states import do


def transact(store: Store, *steps: Step, access: Access = EVERYTHING) -> Transacted:
    (outcome,) = do(store, Transaction(steps, access))
    assert isinstance(outcome, Transacted)
    return outcome


@pytest.fixture
def store() -> Store:
    """A store with `a` = 1 (index 2), sessions s and t, and `l` locked by s."""
    made = Store()
    do(made, Put(b"a", b"1"))
    do(made, Create(Session("s")))
    do(made, Create(Session("t")))
    do(made, Put(b"l", b"", acquire="s"))
    return made


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Step("cas", "a", b"2", index=7), 'failed to set key "a", index is stale'),
        (Step("cas", "new", b"2", index=7), 'failed to set key "new", index is stale'),
        (
            Step("lock", "l", session="t"),
            'failed to lock key "l", lock is already held',
        ),
        (Step("lock", "l", session="x"), 'invalid session "x"'),
        (
            Step("unlock", "l", session="t"),
            'failed to unlock key "l", lock isn\'t held, or is held by another session',
        ),
        (Step("delete-cas", "a", index=7), 'failed to delete key "a", index is stale'),
        (Step("get", "new"), 'key "new" doesn\'t exist'),
        (Step("check-not-exists", "a"), 'key "a" exists'),
        (
            Step("check-index", "a", index=7),
            'failed index check for key "a", current modify index 2 != 7',
        ),
        (
            Step("check-index", "new", index=7),
            'failed to check index, key "new" doesn\'t exist',
        ),
        (
            Step("check-session", "l", session="t"),
            'failed session check for key "l", current session "s" != "t"',
        ),
        (Step("frob", "a"), 'unknown KV verb "frob"'),
        (Step("set", ""), "Must provide key"),
    ],
)
def test_a_step_that_fails_undoes_the_others(
    store: Store, step: Step, reason: str
) -> None:
    index = store.index

    done = transact(store, Step("set", "other", b"x"), step)

    assert done.failed == (StepFailed(1, reason),)
    assert store.get(b"other") is None
    assert store.index == index


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (Step("cas", "a", b"2", index=2), 1),
        (Step("cas", "new", b"2", index=0), 1),
        (Step("unlock", "l", session="s"), 1),
        (Step("lock", "free", session="t"), 1),
        (Step("delete", "a"), 0),
        (Step("delete", "new"), 0),
        (Step("delete-cas", "a", index=2), 0),
        (Step("delete-tree", ""), 0),
        (Step("get", "a"), 1),
        (Step("get-or-empty", "new"), 1),
        (Step("get-tree", ""), 2),
        (Step("check-index", "a", index=2), 1),
        (Step("check-session", "l", session="s"), 1),
        (Step("check-not-exists", "new"), 0),
    ],
)
def test_a_step_that_holds_gives_what_it_should(
    store: Store, step: Step, given: int
) -> None:
    assert len(transact(store, step).results) == given


def test_all_that_fails_is_told(store: Store) -> None:
    done = transact(store, Step("get", "x"), Step("get", "a"), Step("get", "y"))
    assert [one.at for one in done.failed] == [0, 2]


def test_steps_see_those_before_them_and_share_an_index(store: Store) -> None:
    index = store.index

    done = transact(
        store,
        Step("set", "m", b"1"),
        Step("get", "m"),
        Step("set", "n", b"2"),
        Step("delete", "m"),
        Step("check-not-exists", "m"),
    )

    assert [entry.value for entry in done.results] == [b"", b"1", b""]
    assert store.index == index + 1
    assert store.get(b"m") is None
    assert store.index_of(b"m") == index + 1


def test_rights_are_those_of_the_sender(store: Store) -> None:
    reader = Access("reader", read=(b"a",))
    refused = transact(store, Step("set", "a", b"2"), access=reader)
    seen = transact(store, Step("get", "a"), Step("get-tree", ""), access=reader)
    blind = transact(store, Step("get", "a"), access=NOTHING)

    assert refused.failed == (StepFailed(0, "Permission denied"),)
    assert [entry.key for entry in seen.results] == [b"a", b"a"]
    assert (blind.done, blind.results) == (True, ())
