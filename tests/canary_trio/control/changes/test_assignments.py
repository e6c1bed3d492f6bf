"""Assignments such as ratio=0.25 change their place, or say why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.codec import Schema
from canary_trio.config.document import DOCUMENT as CODEC
from canary_trio.control.changes import assignments
from canary_trio.control.changes.assignments import apply_assignments, remove_fields
from canary_trio.control.changes.difference import path_of
from canary_trio.errors import BadAssignment

DOCUMENT: dict[str, Any] = {
    "ratio": 0,
    "rules": [],
    "arms": {"stable": {"servers": [{"url": "a"}]}},
}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("ratio=0.25", ["ratio"], 0.25),
        (" ratio = 0.25", ["ratio"], 0.25),
        ("sticky_sessions=true", ["sticky_sessions"], True),
        ("style=random", ["style"], "random"),
        ("config_server=http://a?b=c", ["config_server"], "http://a?b=c"),
        (
            "arms.stable.servers[0].weight=3",
            ["arms", "stable", "servers", 0, "weight"],
            3,
        ),
        ('arms.canary={"servers": []}', ["arms", "canary"], {"servers": []}),
        ("arms.canary.balance=random", ["arms", "canary", "balance"], "random"),
    ],
)
def test_an_assignment_changes_its_place(
    assignment: str, path: list[Any], value: object
) -> None:
    changed: Any = apply_assignments(DOCUMENT, [assignment])

    for step in path:
        changed = changed[step]
    assert changed == value
    assert DOCUMENT["ratio"] == 0
    assert "canary" not in DOCUMENT["arms"]


@pytest.mark.parametrize(
    "assignment",
    [
        "ratio",
        "=1",
        "a b=1",
        "[0]=1",
        "arms.stable.servers[2].url=x",
        "rules[1].arm=canary",
        "arms[0]=1",
        'arms["a=1',
    ],
)
def test_what_cannot_be_assigned_is_said(assignment: str) -> None:
    with pytest.raises(BadAssignment, match=r"expected FIELD=VALUE|there is no "):
        apply_assignments(DOCUMENT, [assignment])


ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b"]}}


@pytest.mark.parametrize(
    ("before", "assignment", "after"),
    [
        # a path that leads on from a word
        ({"ratio": 0.1}, "ratio.b=0.2", {"ratio": {"canary": 0.1, "b": 0.2}}),
        ({"ratio": 0.1}, "ratio.canary=0.2", {"ratio": {"canary": 0.2}}),
        ({}, "ratio.canary=0.2", {"ratio": {"canary": 0.2}}),
        ({"s": True}, "s.epoch=2", {"s": {"epoch": 2}}),
        ({"s": None}, "s.epoch=2", {"s": {"epoch": 2}}),
        ({"s": {"address": True}}, "s.address.v4=24", {"s": {"address": {"v4": 24}}}),
        (
            {"connections": "drain"},
            "connections.time=9",
            {"connections": {"change": "drain", "time": 9}},
        ),
        (
            {"hash_by": "address"},
            "hash_by.address.v4=24",
            {"hash_by": {"address": {"v4": 24}}},
        ),
        ({"hash_by": "address"}, "hash_by.header=X", {"hash_by": {"header": "X"}}),
        (
            {"arms": {"c": {"servers": ["http://b"]}}},
            "arms.c.servers[0].weight=3",
            {"arms": {"c": {"servers": [{"url": "http://b", "weight": 3}]}}},
        ),
        (
            {"rollout": {"steps": [0.1]}},
            "rollout.steps[0].hold=60",
            {"rollout": {"steps": [{"ratio": 0.1, "hold": 60}]}},
        ),
        # a word that is given for a table
        ({"ratio": {"canary": 0.2}}, "ratio=0.1", {"ratio": {"canary": 0.1}}),
        ({"ratio": 0.2}, "ratio=0.1", {"ratio": 0.1}),
        (
            {"connections": {"change": "keep", "time": 5}},
            "connections=drain",
            {"connections": {"change": "drain", "time": 5}},
        ),
        (
            {"arms": {}},
            "arms.c=http://c",
            {"arms": {"c": {"servers": ["http://c"]}}},
        ),
        (
            {"arms": {"c": {"servers": ["http://b", "http://d"], "balance": "random"}}},
            "arms.c=http://c",
            {"arms": {"c": {"servers": ["http://c"], "balance": "random"}}},
        ),
        (
            {"arms": {}},
            'arms.c=["http://c", "http://d"]',
            {"arms": {"c": {"servers": ["http://c", "http://d"]}}},
        ),
        (
            {"arms": {"c": {"servers": [{"url": "http://b", "weight": 3}]}}},
            "arms.c.servers[0]=http://c",
            {"arms": {"c": {"servers": [{"url": "http://c", "weight": 3}]}}},
        ),
        (
            {"arms": {"c": {"servers": ["http://b"]}}},
            "arms.c.servers=http://c",
            {"arms": {"c": {"servers": ["http://c"]}}},
        ),
        ({"s": {"epoch": 1}}, "s=false", {"s": False}),
        ({"s": {"epoch": 1}}, "s=null", {"s": None}),
        ({"s": {"epoch": 1}}, 's={"a": 1}', {"s": {"a": 1}}),
        ({"hash_by": {"header": "X"}}, "hash_by=address", {"hash_by": "address"}),
        # what is added to a list, and what names are written like
        ({}, "rules[0].arm=canary", {"rules": [{"arm": "canary"}]}),
        ({"l": [1]}, "l[1]=2", {"l": [1, 2]}),
        ({}, "$.ratio=1", {"ratio": 1}),
        ({}, "$schema=./s.json", {"$schema": "./s.json"}),
        ({"m": {}}, 'm["a.b=c"]=1', {"m": {"a.b=c": 1}}),
    ],
    ids=str,
)
def test_a_word_and_the_table_it_stands_for(
    before: dict[str, Any], assignment: str, after: dict[str, Any]
) -> None:
    assert apply_assignments(before, [assignment]) == after


@pytest.mark.parametrize(
    ("before", "assignment", "says"),
    [
        (
            {"ratio": {"canary": 0.2, "b": 0.1}},
            "ratio=0.1",
            "to change one of them: ratio.FIELD=0.1; to replace all of it: ratio=null",
        ),
        ({"s": {"epoch": 1}}, "s=true", "s is a table of epoch"),
        (
            {"s": False},
            "s.epoch=2",
            """s is false, and no table; to replace it: s='{"epoch": 2}'""",
        ),
        ({"hsts": "max-age=1"}, "hsts.max_age=1", 'hsts is "max-age=1", and no table'),
        ({"hash_by": False}, "hash_by.header=X", "hash_by is false, and no table"),
    ],
    ids=str,
)
def test_what_could_mean_two_things_is_refused_with_words(
    before: dict[str, Any], assignment: str, says: str
) -> None:
    with pytest.raises(BadAssignment) as caught:
        apply_assignments(before, [assignment])
    assert says in str(caught.value)


def words_or_tables(schema: Schema, steps: tuple[str, ...]) -> Iterator[Any]:
    """Give the places of a document where a word may stand for a table: steps, words."""
    inner = schema.get("anyOf", ())
    words = [one for one in inner if "properties" not in one and "required" not in one]
    if len(words) < len(inner) and any("properties" in one for one in inner):
        yield steps, words
    for one in inner:
        yield from words_or_tables(one, steps)
    for name, field in schema.get("properties", {}).items():
        yield from words_or_tables(field, (*steps, name))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from words_or_tables(schema[key], (*steps, "*"))


PLACES = {steps: words for steps, words in words_or_tables(CODEC.schema, ()) if steps}


@pytest.mark.parametrize("steps", PLACES, ids=".".join)
def test_each_word_of_the_schema_has_a_meaning(steps: tuple[str, ...]) -> None:
    """One that is new must be put in `SHORT`, or be said here to have no field."""
    of_no_field = {("strict_transport_security",), ("access", "forward_auth", "cache")}
    simple: list[Any] = [{"enum": [True]}, {"enum": [False]}, {"enum": [False, True]}]
    simple += [{"enum": [True, False]}, {"type": "null"}]
    left = [word for word in PLACES[steps] if word not in simple]
    known = any(
        len(pattern) == len(steps)
        and all(a in ("*", b) for a, b in zip(pattern, steps, strict=True))
        for pattern in assignments.SHORT
    )
    assert known or not left or steps in of_no_field


STEPS = st.lists(
    st.integers(0, 99_999) | st.text(st.characters(exclude_categories=["Cs"]))
).map(lambda rest: ["a", *rest])


@given(STEPS)
def test_a_path_that_is_shown_can_be_typed(steps: list[Any]) -> None:
    found = assignments._PATH.fullmatch(path_of(steps))
    assert found is not None
    assert assignments._steps(found[1]) == steps


@pytest.mark.parametrize(
    ("paths", "left"),
    [
        (["ratio"], {"l": [1, 2, 3], "m": {"a.b": 1, "c": {"d": 2}}}),
        (["l[0]", "l[2]"], {"ratio": 0, "l": [2], "m": {"a.b": 1, "c": {"d": 2}}}),
        (["m.c", "m.c.d", "m.c"], {"ratio": 0, "l": [1, 2, 3], "m": {"a.b": 1}}),
        (['$.m["a.b"]'], {"ratio": 0, "l": [1, 2, 3], "m": {"c": {"d": 2}}}),
    ],
    ids=str,
)
def test_fields_are_removed_by_the_paths_they_had(
    paths: list[str], left: dict[str, Any]
) -> None:
    document = {"ratio": 0, "l": [1, 2, 3], "m": {"a.b": 1, "c": {"d": 2}}}
    before = json.dumps(document)
    assert remove_fields(document, paths) == left
    assert json.dumps(document) == before


@pytest.mark.parametrize("path", ["x", "l[3]", "l.x", "m.c.e", "ratio[0]", "", "a b"])
def test_what_is_not_there_cannot_be_removed(path: str) -> None:
    document = {"ratio": 0, "l": [1, 2, 3], "m": {"c": {"d": 2}}}
    with pytest.raises(BadAssignment, match=r"there is no|expected a path"):
        remove_fields(document, [path])
