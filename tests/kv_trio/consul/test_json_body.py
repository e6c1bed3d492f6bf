"""The door for the JSON of bodies: what comes through, and with which words not."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.consul.json_body import kind_of, parse_json
from tests.kv_trio.support import odd_json


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected EOF"),
        (b'{"a": ', "unexpected EOF"),
        (b"{a}", "Expecting property name"),
        (b'"\xff"', "byte 1 is no UTF-8"),
        (b'"\xed\xa0\x80"', "no UTF-8"),
        (b"\xff\xfe1\x00", "no UTF-8"),
        (b'["a\\ud800"]', "\\ud800 is half a character"),
        (b'{"\\uDFFF": 1}', "\\udfff is half a character"),
        (b"[" * 100_000, "nested too deep"),
        (b"9" * 5000, "a number of 5000 digits is too large"),
        (b"-1e999", "the number -1e999 is too large"),
        (b"NaN", "NaN is no JSON"),
        (b"-Infinity", "-Infinity is no JSON"),
    ],
    ids=range(13),
)
def test_what_cannot_be_written_again_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("\\", "\\\\")):
        parse_json(body)


def test_a_whole_character_may_be_written_in_two_escapes() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@given(st.binary(max_size=100) | odd_json.texts(["a"]).map(str.encode))
def test_whatever_comes_through_can_be_written_again(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        value = parse_json(body)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        assert parse_json(written) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((None, "null"), (True, "bool"), (1, "number"), (math.pi, "number")),
        *(("", "string"), ([], "array"), ({}, "object")),
    ],
)
def test_a_kind_has_the_name_that_go_gives_it(value: object, kind: str) -> None:
    assert kind_of(value) == kind
