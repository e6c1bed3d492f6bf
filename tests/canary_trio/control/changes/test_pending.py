"""What waits to be confirmed is read as it was written, and its time has bounds."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.control.changes.pending import (
    GRACE_S,
    LEAST_WITHIN_S,
    MOST_WITHIN_S,
    PendingChange,
    PendingKind,
    chosen_of,
    words_of,
)

NOW = 1_795_750_000_000
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
PERIODS = st.floats(LEAST_WITHIN_S, MOST_WITHIN_S)


def waiting(period_s: float = 60.0, **fields: object) -> PendingChange:
    made = PendingChange(
        '{"arms": {}}', 40, "ann@host", "why", NOW, NOW + round(period_s * 1000), 41
    )
    return attrs.evolve(made, **fields)  # type: ignore[arg-type]


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 2**40), st.integers(0, 2**52))
def test_it_is_read_as_it_was_written(
    document: str, author: str, message: str, revision: int, until: int
) -> None:
    change = waiting(
        document=document,
        author=author,
        message=message,
        revision=revision,
        until=until,
    )
    assert PendingChange.load(change.dump(), 41) == change


ODD: list[Any] = [None, -1, 1e300, True, [], {"revision": "1"}]
TRIAL = waiting(kind=PendingKind.TRIAL, proxies=("a", "b"))


def test_a_trial_is_about_the_document_that_it_is_beside() -> None:
    assert PendingChange.load(TRIAL.dump(), 41) == TRIAL
    assert TRIAL.holds(40)
    assert not TRIAL.holds(41)
    assert waiting().holds(41)
    assert "tried by a, b, goes back" in words_of("web", TRIAL.shown(NOW))


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=1), st.data())
def test_more_proxies_are_the_same_and_others(
    names: set[str], data: st.DataObject
) -> None:
    few = data.draw(st.integers(1, len(names)))
    more = data.draw(st.integers(few, len(names)))
    chosen = chosen_of("web", names, few)
    assert len(chosen) == few
    assert set(chosen) <= set(chosen_of("web", names, more)) <= names


GOOD = json.loads(waiting().dump())


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"[]", b"1", b"null", b"\xff", b"[" * 5000),
        *(
            json.dumps({k: v for k, v in GOOD.items() if k != name}).encode()
            for name in GOOD
        ),
        *(json.dumps(GOOD | {name: odd}).encode() for name in GOOD for odd in ODD),
        json.dumps(GOOD | {"until": 2**60}).encode(),
        *(
            json.dumps({**json.loads(TRIAL.dump()), "trial": odd}).encode()
            for odd in (*ODD, {"over": 1, "document": "", "proxies": [1]})
        ),
        json.dumps(GOOD | {"kind": "another"}).encode(),
    ],
)
def test_what_is_none_is_nothing(value: bytes) -> None:
    assert PendingChange.load(value, 41) is None


def test_times_by_hand_have_bounds() -> None:
    assert waiting(until=0).period_s == LEAST_WITHIN_S
    assert waiting(at=0).period_s == MOST_WITHIN_S


@given(PERIODS, st.floats(-1e6, 1e6), st.booleans())
def test_no_clock_is_believed_too_much(
    period_s: float, off_s: float, came: bool
) -> None:
    change = waiting(period_s)
    due_s = change.due_in_s(NOW + round(off_s * 1000), came=came)

    assert min(GRACE_S, change.period_s) <= due_s <= change.period_s
    if came:
        assert due_s == change.period_s


@given(PERIODS, st.floats(0, MOST_WITHIN_S))
def test_where_clocks_agree_a_newcomer_is_in_time(
    period_s: float, late_s: float
) -> None:
    change = waiting(period_s)
    due_s = change.due_in_s(NOW + round(late_s * 1000), came=False)

    rest_s = max(change.period_s - late_s, min(GRACE_S, change.period_s))
    assert due_s == pytest.approx(rest_s, abs=0.01)


def test_what_is_said_of_it_has_all_that_an_operator_needs() -> None:
    shown = waiting().shown(NOW + 18_000)

    assert words_of("web", shown) == (
        "revision 41 by ann@host (why) goes back to revision 40 in 42 s unless it is"
        " confirmed: canary confirm web"
    )
    assert waiting(message="a\x1b[2J").shown(NOW)["message"] == "a\\x1b[2J"
