"""A codec reads, writes and describes the same; what is refused is said with its path."""

from __future__ import annotations

import enum
from typing import Any

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.codec import (
    Codec,
    Fault,
    boolean,
    checked,
    enumeration,
    integer,
    list_of,
    map_of,
    number,
    optional,
    problems,
    show,
    table,
    text,
    word_or,
)
from canary_trio.config.parts.times import seconds
from canary_trio.config.policies import described, may_lack


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    size: int = described("Its size.")
    colour: Colour = described("Its colour.", default=Colour.RED)


@attrs.frozen
class Outer:
    inner: tuple[Inner, ...] = described("Things.", default=())
    names: Any = described("By name.", factory=dict)
    wait: float | None = described("A time.", default=1.0)
    odd: str | None = may_lack("Called otherwise.", called="odd-name")


INNER = table(Inner, size=integer(1, 9), colour=enumeration(Colour))
OUTER = table(
    Outer,
    inner=list_of(INNER, most=3, of="things"),
    names=map_of(text("[a-z]{1,3}", "a name"), boolean(), most=2, expected="two names"),
    wait=optional(seconds(0, 60)),
    odd=text("[a-z]*", "letters"),
)

GOOD: list[tuple[Codec, Any, Any]] = [
    (boolean(), True, True),
    (integer(1, 9), 9, 9),
    (number(0, 1), 0, 0.0),
    (seconds(0.5, 2), 1.5, 1.5),
    (text("a+", "many a"), "aa", "aa"),
    (enumeration(Colour), "blue", Colour.BLUE),
    (optional(integer(1, 9)), None, None),
    (optional(enumeration(Colour)), "red", Colour.RED),
    (word_or({False: None, "all": 9}, integer(1, 8)), False, None),
    (word_or({False: None, "all": 9}, integer(1, 8)), "all", 9),
    (word_or({False: None, "all": 9}, integer(1, 8)), 3, 3),
    (list_of(enumeration(Colour), most=2, of="colours"), ["red"], (Colour.RED,)),
    (
        map_of(text("x", "x"), boolean(), most=1, expected="x"),
        {"x": False},
        {"x": False},
    ),
    (INNER, {"size": 1}, Inner(1)),
    (
        OUTER,
        {"inner": [{"size": 2, "colour": "blue"}], "names": {"a": True}, "wait": None},
        Outer((Inner(2, Colour.BLUE),), {"a": True}, None),
    ),
    (OUTER, {"odd-name": "abc"}, Outer(odd="abc")),
]


@pytest.mark.parametrize(("codec", "given_", "value"), GOOD)
def test_what_is_read_is_written_and_described(
    codec: Codec, given_: Any, value: Any
) -> None:
    assert codec.decode(given_) == value
    assert codec.encode(value) == given_
    jsonschema.validate(given_, dict(codec.schema))


def faults(codec: Codec, value: Any) -> dict[str, tuple[str, str]]:
    try:
        codec.decode(value)
    except Exception as exc:
        return {one.path: (one.found, one.expected) for one in problems(exc)}
    return {}


@pytest.mark.parametrize(
    ("codec", "value", "expected"),
    [
        (boolean(), 1, "true or false"),
        (integer(1, 9), True, "a whole number from 1 to 9"),
        (integer(1, 9), 1.0, "a whole number from 1 to 9"),
        (integer(1, 9), "5", "a whole number from 1 to 9"),
        (number(0, 1), False, "a number from 0 to 1"),
        (number(0, 1), float("nan"), "a number from 0 to 1"),
        (seconds(0, 60), float("inf"), "seconds from 0 to 60"),
        (text("a+", "many a"), "aab", "many a"),
        (text("a+", "many a"), "aa\n", "many a"),
        (text("a+", "many a"), 5, "many a"),
        (enumeration(Colour), "bleu", "one of red, blue (did you mean blue?)"),
        (enumeration(Colour), 5, "one of red, blue"),
        (
            list_of(boolean(), least=1, most=2, of="flags"),
            [],
            "at least 1 and at most 2",
        ),
        (list_of(boolean(), most=2, of="flags"), {}, "a list of at most 2 flags"),
        (map_of(text("x", "x"), boolean(), most=1, expected="some x"), [], "some x"),
        (word_or({True: 1}, INNER, "true, or a table"), "no", "true, or a table"),
        (INNER, [], "a table"),
    ],
)
def test_no_type_passes_for_another(codec: Codec, value: Any, expected: str) -> None:
    found = faults(codec, value)

    assert list(found) == ["$"]
    assert expected in found["$"][1]
    assert found["$"][0] == show(value) or "of them" in found["$"][0]


def test_all_faults_are_told_each_with_its_path() -> None:
    found = faults(
        OUTER,
        {
            "inner": [{"size": 0}, {"colour": "pink"}, 5],
            "names": {"A": True, "b": 5},
            "wait": -1,
            "odd-name": "5",
            "odd-nme": "x",
        },
    )

    assert set(found) == {
        "$.inner[0].size",
        "$.inner[1].size",
        "$.inner[1].colour",
        "$.inner[2]",
        "$.names.A",
        "$.names.b",
        "$.wait",
        "$.odd-name",
        "$.odd-nme",
    }
    assert found["$.inner[1].size"] == ("nothing", "a value: this field is required")
    assert found["$.odd-nme"][0] == "an unknown field"
    assert "did you mean odd-name?" in found["$.odd-nme"][1]


def test_defaults_are_left_out_and_described() -> None:
    assert OUTER.encode(Outer()) == {}
    fields = OUTER.schema["properties"]
    assert fields["wait"]["default"] == 1.0
    assert "default" not in fields["odd-name"], "what may lack has none to say"
    assert INNER.schema["required"] == ["size"]
    assert INNER.schema["additionalProperties"] is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["size", "colour", "inner", "names", "wait", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_anything_is_a_value_or_a_fault_with_a_path(value: Any) -> None:
    found = faults(OUTER, value)

    assert all(path.startswith("$") for path in found)
    if not found:
        decoded = OUTER.decode(value)
        assert OUTER.decode(OUTER.encode(decoded)) == decoded


def test_a_long_value_is_cut() -> None:
    with pytest.raises(Fault) as caught:
        checked(lambda _: False, "nothing").decode("x" * 1000)
    assert len(caught.value.found) <= 60


@pytest.mark.parametrize(
    ("given_", "value"),
    [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("100ms", 0.1)],
)
def test_a_time_may_be_words_and_is_seconds(given_: str, value: float) -> None:
    codec = seconds(0, 86_400)

    assert codec.decode(given_) == value
    assert codec.encode(value) == value
    jsonschema.validate(given_, dict(codec.schema))


@pytest.mark.parametrize(
    "value",
    ["", "90", "1e3", "s", "10 m", "-1s", "2d", "1m" * 30, "10min", " 1s", True],
)
def test_what_is_no_time_or_too_long_is_refused(value: Any) -> None:
    found = faults(seconds(0, 86_400), value)

    expected = "seconds from 0 to 86400, or words such as 5s"
    assert found == {"$": (show(value), expected)}
