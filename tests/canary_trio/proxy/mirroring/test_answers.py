"""Where two answers differ: by values, not by bytes, and bounded whatever they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.mirroring.answers import (
    MOST_DIFFERENCES,
    NO_RESPONSE,
    Comparer,
    CopyResponse,
    differing,
    paths_of,
)

ALL = Comparer(("Content-Type",), body=True)


def answer(
    body: Any = b"", status: int = 200, kind: bytes = b"text/plain"
) -> CopyResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CopyResponse(status, ((kind,),), raw, not isinstance(body, bytes))


@pytest.mark.parametrize(
    ("one", "other", "ignored", "places"),
    [
        ({"a": 1}, {"a": 1}, [], set()),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [], set()),
        ({"a": 1}, {"a": 2}, [], {"body.a"}),
        ({"a": 1}, {}, [], {"body.a"}),
        ({"a": None}, {}, [], {"body.a"}),
        ({"a": 1}, {"a": True}, [], {"body.a"}),
        ({"a": 0}, {"a": False}, [], {"body.a"}),
        ({"a": "1"}, {"a": 1}, [], {"body.a"}),
        ({"a": {"b": 1}}, {"a": [1]}, [], {"body.a"}),
        ({"a": [1, 2]}, {"a": [2, 1]}, [], {"body.a.*"}),
        ({"a": [1, 2]}, {"a": [1]}, [], {"body.a"}),
        ([{"id": 1, "n": 1}], [{"id": 2, "n": 1}], ["*.id"], set()),
        ([{"id": 1, "n": 1}], [{"id": 2, "n": 2}], ["*.id"], {"body.*.n"}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a"], set()),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.c", "b"], {"body.a.b"}),
        ({"a": [1, 2]}, {"a": [3, 4]}, ["a.0"], {"body.a.*"}),
        ({"a": [1, 2]}, {"a": [3, 2]}, ["a.0"], set()),
        (5, 6, ["a"], {"body"}),
        (b"a", b"b", [], {"body"}),
        (b"a", b"a", [], set()),
        (b"1", b"1.0", [], {"body"}),
    ],
)
def test_bodies_differ_in_places(
    one: Any, other: Any, ignored: list[str], places: set[str]
) -> None:
    comparer = Comparer((), body=True, ignored=paths_of(ignored))
    found = comparer.differences(answer(one), answer(other))
    assert found.places == places
    assert found.weight == (0, 0, len(places))
    assert comparer.differences(answer(other), answer(one)) == found


@pytest.mark.parametrize(
    ("one", "other", "places", "weight"),
    [
        (answer(), answer(status=500), {"status"}, (1, 0, 0)),
        (answer(b"a"), answer(b"b", status=404), {"status"}, (1, 0, 0)),
        (answer(), answer(kind=b"a/b"), {"header content-type"}, (0, 1, 0)),
        (answer(), NO_RESPONSE, {"status"}, (1, 0, 0)),
        (NO_RESPONSE, NO_RESPONSE, set(), (0, 0, 0)),
        (
            answer(b"a"),
            CopyResponse(200, ((b"text/plain",),), None),
            {"body"},
            (0, 0, 1),
        ),
    ],
    ids=["status", "status alone", "field", "none", "both none", "too long"],
)
def test_answers_differ(
    one: CopyResponse,
    other: CopyResponse,
    places: set[str],
    weight: tuple[int, int, int],
) -> None:
    found = ALL.differences(one, other)
    assert found.places == places
    assert found.weight == weight


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"{", b"["),
        (b"[" * 50_000, b"[" * 50_001),
        (b"1" * 5000, b"2" * 5000),
        (b"\xff", b"\xfe"),
        (b"", b"{}"),
    ],
    ids=["broken", "deep", "long number", "no text", "empty"],
)
def test_what_is_called_json_and_is_none_is_compared_as_bytes(
    one: bytes, other: bytes
) -> None:
    pair = [CopyResponse(200, (), body, is_json=True) for body in (one, other)]
    assert Comparer((), body=True).differences(*pair).places == {"body"}
    assert not Comparer((), body=True).differences(pair[0], pair[0]).places


def test_numbers_of_any_size_are_values_too() -> None:
    pair = [CopyResponse(200, (), b"[%b]" % n, is_json=True) for n in (b"NaN", b"NaN ")]
    assert not Comparer((), body=True).differences(*pair).places


def test_differences_are_bounded() -> None:
    one, other = ({str(n): side for n in range(5000)} for side in (1, 2))
    assert len(differing(one, other)) == MOST_DIFFERENCES


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab*.", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_JSON, _JSON)
def test_two_values_differ_somewhere_unless_they_are_the_same(
    one: Any, other: Any
) -> None:
    assert bool(differing(one, other)) == (json.dumps(one) != json.dumps(other)) or (
        json.loads(json.dumps(one, sort_keys=True))
        == json.loads(json.dumps(other, sort_keys=True))
    )
    assert differing(one, other) == differing(other, one)
    assert not differing(one, one)
