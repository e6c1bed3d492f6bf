"""Documents in YAML and TOML hold what JSON can, and what else they hold is told."""

from __future__ import annotations

import contextlib
import json
import sys
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.control.changes.formats import parse_file, yaml_hint
from canary_trio.errors import InvalidConfig, MissingExtra

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_yaml_gives_what_was_written(document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document).encode()
    assert parse_file(text, "web.yaml") == document
    assert parse_file(json.dumps(document).encode(), "web.json") == document


def test_the_same_document_in_each_format() -> None:
    expected = {"ratio": 0.5, "arms": {"stable": {"servers": ["http://a"]}}}
    as_toml = b'ratio = 0.5\n[arms.stable]\nservers = ["http://a"]\n'
    as_yaml = b"# now\nratio: 0.5\narms:\n  stable: &s {servers: ['http://a']}\n"
    assert (
        parse_file(as_toml, "web.toml") == expected == tomllib.loads(as_toml.decode())
    )
    assert parse_file(as_yaml, "WEB.YML") == expected
    merged = as_yaml + b"  b:\n    <<: *s\n    x: 1\n"
    assert parse_file(merged, "a.yaml")["arms"]["b"] == {
        "servers": ["http://a"],
        "x": 1,
    }


LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 10))
    for n in range(ord("b"), ord("k"))
)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", b"ratio: 0.1\nratio: 0.2", "each key once at line 2, column 1"),
        (
            "a.yaml",
            b"on: 1",
            "$: found the key true, expected text; YAML takes on, off",
        ),
        ("a.yaml", b"1: 1", "$: found the key 1, expected text"),
        *(
            ("a.yaml", f'a: !!{tag} "{text}"'.encode(), "expected YAML")
            for tag in ("int", "float", "bool", "timestamp")
            for text in ("", "-", "0b", "x", "1:x", "2026-13-01", "9" * 5000)
            if (tag, text) != ("float", "9" * 5000)
        ),
        ("a.yaml", b"a: *" + b"x" * 5000, "expected YAML"),
        ("a.toml", b"a = " + b"9" * 5000, "has 5000 digits, expected TOML"),
        (
            "a.yaml",
            b"a: [2026-11-27]",
            "$.a[0]: found 2026-11-27, a date, expected text",
        ),
        ("a.yaml", b"a: !!binary aGk=", "$.a: found b'hi', a bytes"),
        ("a.yaml", b"a: !!set {x}", "$.a: found {'x'}, a set"),
        ("a.yaml", b"a: !!python/object/apply:os.system [x]", "could not determine a"),
        ("a.yaml", b"a: .nan", "a number that JSON knows"),
        ("a.yaml", b"a: [", "at line 1, column 5"),
        ("a.yaml", b"a: &a [*a]", "values beyond number, or depth"),
        ("a.yaml", b"a: &a {b: *a}", "values beyond number, or depth"),
        ("a.yaml", LAUGHS, "values beyond number, or depth"),
        ("a.yaml", b"[" * 20_000, "values nested too deeply"),
        ("a.yaml", b"? [a]\n: 1", "$: found"),
        ("a.yaml", b"a: 2026-13-45", "expected YAML"),
        ("a.yaml", b"\xff", "a bad byte at 0"),
        ("a.yaml", b"- 1", "an object"),
        ("a.yaml", b"", "found null"),
        ("a.toml", b"a = 1\na = 2", "expected TOML"),
        ("a.toml", b"a = 2026-11-27", "$.a: found 2026-11-27, a date"),
        ("a.toml", b"a = nan", "a number that JSON knows"),
        ("a.toml", b" " * 600_000, "600000 bytes"),
        ("a.json", b"a: 1", "expected JSON"),
        ("-", b"a: 1", "expected JSON"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_json_does_not_have_is_told(name: str, text: bytes, says: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_file(text, name)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000


@given(st.binary(max_size=40), st.sampled_from(["a.yaml", "a.toml"]))
def test_whatever_stands_in_a_file_is_read_or_told(text: bytes, name: str) -> None:
    with contextlib.suppress(InvalidConfig):
        parse_file(text, name)


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"pip install 'canary-trio\[yaml\]'"):
        parse_file(b"a: 1", "web.yaml")


def test_true_where_text_is_expected_is_explained_in_yaml_only() -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_file(b"on: 1", "a.yaml")
    problems = caught.value.problems
    assert yaml_hint(problems, "a.yaml") == ""
