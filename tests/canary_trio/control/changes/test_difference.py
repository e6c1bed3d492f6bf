"""What is different between two documents, applied to the one, gives the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.control.changes.difference import (
    ABSENT,
    apply_differences,
    differences,
    is_same,
    path_of,
)

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(DOCUMENTS, DOCUMENTS)
def test_differences_that_are_applied_give_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = differences(before, after)
    assert is_same(apply_differences(before, found), after)
    assert (not found) == is_same(before, after)
    for one in found:
        assert not is_same(one.before, one.after)


@given(VALUES, VALUES)
def test_the_same_is_the_same_both_ways(one: Any, other: Any) -> None:
    assert is_same(one, one)
    assert is_same(one, other) == is_same(other, one)


@given(st.lists(SCALARS, max_size=6), st.integers(0, 6), SCALARS)
def test_what_is_put_into_a_list_is_one_difference(
    values: list[Any], place: int, value: Any
) -> None:
    longer = [*values[:place], value, *values[place:]]
    (added,) = differences({"l": values}, {"l": longer})
    (removed,) = differences({"l": longer}, {"l": values})
    assert added.before is ABSENT
    assert removed.after is ABSENT


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"ratio": 0.1}, {"ratio": 0.25}, ["ratio: 0.1 → 0.25"]),
        ({"a": 1}, {"a": True}, ["a: 1 → true"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": None}, {}, ["a: removed null"]),
        ({}, {"a": {"b": [1]}}, ['a: added {"b": [1]}']),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, ["a[1]: removed 2"]),
        ({"a": [{"u": 1}, {"u": 2}]}, {"a": [{"u": 1}, {"u": 3}]}, ["a[1].u: 2 → 3"]),
        ({"a": {"x-y": 1}}, {"a": {"x-y": 2}}, ["a.x-y: 1 → 2"]),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 2}}, ['a["b.c"]: 1 → 2']),
        ({"a": "x" * 99}, {"a": 0}, ['a: "' + "x" * 56 + "... → 0"]),
    ],
    ids=str,
)
def test_a_difference_in_words(before: Any, after: Any, words: list[str]) -> None:
    assert [one.words for one in differences(before, after)] == words


def test_the_document_itself_has_a_path() -> None:
    assert path_of(()) == "$"
