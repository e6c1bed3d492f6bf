"""The checker itself: what it accepts, and what it refuses."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kv_trio import TxnOperation
from tests.kv_trio.support.linearizability import Operation, check
from tests.kv_trio.support.store_model import (
    Delete,
    Get,
    Happened,
    ListAll,
    Put,
    Ran,
    Request,
    Response,
    Seen,
    State,
    Transact,
    Wrote,
    run,
)

START = State(4)


def one(
    begun: float,
    ended: float | None,
    request: Request,
    response: Response | None = None,
) -> Happened:
    return Operation(0, begun, ended, request, response)


def seen(value: bytes, index: int) -> Seen:
    return Seen((("k", value, index),), index)


def wrote(index: int) -> Wrote:
    return Wrote(done=True, index=index)


PUT_1 = one(1, 2, Put("k", b"1"), wrote(5))
PUT_2 = one(3, 4, Put("k", b"2"), wrote(6))
BOTH = Transact((TxnOperation("set", "a", b"1"), TxnOperation("set", "b", b"1")))
BOTH_DONE = one(1, 2, BOTH, Ran((("a", b"", 5), ("b", b"", 5))))

GOOD: dict[str, list[Happened]] = {
    "nothing happened": [],
    "a read of what was written": [PUT_1, one(3, 4, Get("k"), seen(b"1", 5))],
    "a read that overlaps the write sees the old state": [
        PUT_1,
        one(3, 9, Put("k", b"2"), wrote(6)),
        one(4, 5, Get("k"), seen(b"1", 5)),
        one(6, 7, Get("k"), seen(b"2", 6)),
    ],
    "two writes at once, in the order of their indexes": [
        one(1, 9, Put("k", b"1"), wrote(6)),
        one(2, 8, Put("k", b"2"), wrote(5)),
        one(10, 11, Get("k"), seen(b"1", 6)),
    ],
    "the same value changes nothing": [PUT_1, one(3, 4, Put("k", b"1"), wrote(5))],
    "a write without a response that took effect late": [
        PUT_1,
        one(3, None, Put("k", b"x")),
        one(4, 5, Get("k"), seen(b"1", 5)),
        one(6, 7, Get("k"), seen(b"x", 6)),
    ],
    "a write without a response that never took effect": [
        PUT_1,
        one(3, None, Delete("k")),
        one(4, 5, Get("k"), seen(b"1", 5)),
    ],
    "one of two conditional writes won": [
        one(1, 9, Put("k", b"1", cas=0), wrote(5)),
        one(1, 9, Put("k", b"2", cas=0), Wrote(done=False, index=5)),
    ],
    "a conditional write shows what an unanswered one did": [
        one(1, None, Put("k", b"1")),
        one(2, 3, Put("k", b"2", cas=5), wrote(6)),
    ],
    "a delete, and a conditional one of what is gone": [
        PUT_1,
        one(3, 4, Delete("k"), wrote(6)),
        one(5, 6, Delete("k", cas=5), wrote(6)),
        one(7, 8, Get("k"), Seen((), 6)),
        one(9, 10, Put("k", b"3", cas=0), wrote(7)),
    ],
    "a transaction that is seen whole": [
        BOTH_DONE,
        one(1, 3, ListAll(), Seen((("a", b"1", 5), ("b", b"1", 5)), 5)),
    ],
    "a transaction that is not yet seen": [
        BOTH_DONE,
        one(1, 3, ListAll(), Seen((), 4)),
    ],
}

BAD: dict[str, list[Happened]] = {
    "a stale read": [PUT_1, PUT_2, one(5, 6, Get("k"), seen(b"1", 5))],
    "a lost update": [
        PUT_1,
        one(3, 4, Put("k", b"2", cas=5), wrote(6)),
        one(5, 6, Put("k", b"3"), wrote(7)),
        one(7, 8, Get("k"), seen(b"2", 6)),
    ],
    "two conditional writes that both won": [
        PUT_1,
        one(3, 9, Put("k", b"2", cas=5), wrote(6)),
        one(3, 9, Put("k", b"3", cas=5), wrote(7)),
    ],
    "a conditional write that lost for nothing": [
        PUT_1,
        one(3, 4, Put("k", b"2", cas=5), Wrote(done=False, index=5)),
    ],
    "a read of a value never written": [PUT_1, one(3, 4, Get("k"), seen(b"?", 5))],
    "a read that went back while a write was on": [
        PUT_1,
        one(3, 9, Put("k", b"2"), wrote(6)),
        one(4, 5, Get("k"), seen(b"2", 6)),
        one(6, 7, Get("k"), seen(b"1", 5)),
    ],
    "a key that outlived its delete": [
        PUT_1,
        one(3, 4, Delete("k"), wrote(6)),
        one(5, 6, Get("k"), seen(b"1", 5)),
    ],
    "a write without a response that took effect before it began": [
        PUT_1,
        one(3, 4, Get("k"), seen(b"x", 6)),
        one(5, None, Put("k", b"x")),
    ],
    "a write without a response that came undone": [
        PUT_1,
        one(3, None, Put("k", b"x")),
        one(4, 5, Get("k"), seen(b"x", 6)),
        one(6, 7, Get("k"), seen(b"1", 5)),
    ],
    "an index that a write did not raise": [PUT_1, one(3, 4, Put("k", b"2"), wrote(5))],
    "an index that no change had": [one(1, 2, Put("k", b"2"), wrote(6))],
    "a transaction that is torn": [
        BOTH_DONE,
        one(1, 3, ListAll(), Seen((("a", b"1", 5),), 5)),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_can_be_explained_is_accepted(history: list[Happened]) -> None:
    verdict = check(history, START, run)

    assert verdict, str(verdict)
    answered = [operation for operation in history if operation.ended is not None]
    placed = [operation for operation in verdict.order if operation.ended is not None]
    assert len(placed) == len(answered)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_what_cannot_be_explained_is_refused(history: list[Happened]) -> None:
    assert not check(history, START, run)


def test_the_explanation_has_what_fits_and_what_does_not() -> None:
    stale = one(5, 6, Get("k"), seen(b"1", 5))

    verdict = check([PUT_1, PUT_2, stale], START, run)

    assert verdict.order == (PUT_1, PUT_2)
    assert verdict.stuck == (stale,)
    assert "2 can be placed" in str(verdict)
    assert str(stale) in str(verdict)


@attrs.frozen
class Plan:
    """An operation that is to be run, and how it is spread over time."""

    request: Request
    before: int
    after: int
    answered: bool


KEYS = st.sampled_from(["a", "b"])
CAS = st.none() | st.integers(0, 20)
REQUEST = st.one_of(
    st.builds(Get, KEYS),
    st.builds(Put, KEYS, st.uuids().map(lambda one: one.bytes), CAS),
    st.builds(Delete, KEYS, CAS),
    st.just(ListAll()),
)
PLANS = st.lists(
    st.builds(
        Plan,
        REQUEST,
        before=st.integers(0, 35),
        after=st.integers(0, 35),
        answered=st.sampled_from([True, True, True, False]),
    ),
    max_size=30,
)


def run_one_by_one(plans: list[Plan]) -> list[Happened]:
    state, history = START, list[Happened]()
    for at, plan in enumerate(plans):
        response, state = run(state, plan.request)
        begun, ended = 10 * at - plan.before, 10 * at + plan.after
        if plan.answered:
            history.append(Operation(at, begun, ended, plan.request, response))
        else:
            history.append(Operation(at, begun, None, plan.request, None))
    return history


@given(PLANS)
def test_what_really_happened_one_by_one_is_accepted(plans: list[Plan]) -> None:
    verdict = check(run_one_by_one(plans), START, run)
    assert verdict, str(verdict)


@given(PLANS, st.data())
def test_a_response_from_before_what_had_ended_is_refused(
    plans: list[Plan], data: st.DataObject
) -> None:
    """A read of all that is answered as if the last known write were not."""
    history = run_one_by_one(plans)
    writes = [
        (put.ended, put.response.index)
        for put in history
        if isinstance(put.request, Put) and isinstance(put.response, Wrote)
        if put.response.done and put.ended is not None
    ]
    assume(writes)
    ended, index = data.draw(st.sampled_from(writes))

    late = one(ended + 1, ended + 2, ListAll(), Seen((), index - 1))

    assert not check([*history, late], START, run)
