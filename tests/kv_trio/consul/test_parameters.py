"""Consul's parameters: what they ask for, and how nonsense is refused."""

from __future__ import annotations

import pytest

from kv_trio.consul.parameters import (
    MAX_WAIT_S,
    Read,
    parse_index,
    parse_parameters,
    parse_path,
    parse_read,
    parse_target,
    parse_unsigned,
    parse_wait_s,
)
from kv_trio.errors import BadQuery, Moved


@pytest.mark.parametrize(
    ("query", "wait_s"),
    [
        (b"", 300),
        (b"wait=0", 300),
        (b"wait=-5s", 300),
        (b"wait=2s", 2),
        (b"wait=2h", MAX_WAIT_S),
    ],
)
def test_how_long_a_query_waits(query: bytes, wait_s: float) -> None:
    assert parse_wait_s(parse_parameters(query)) == wait_s


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        (b"wait=5", 400, "Invalid wait time"),
        (b"index=abc", 400, "Invalid index"),
        (b"index=-1", 400, "Invalid index"),
        (b"cas=abc", 500, 'strconv.ParseUint: parsing "abc": invalid syntax'),
        (b"cas=18446744073709551616", 500, "value out of range"),
        (b"cas=", 500, 'parsing ""'),
        (b"stale&consistent", 400, "Cannot specify ?stale with ?consistent"),
    ],
)
def test_bad_parameters_are_refused_in_consuls_words(
    query: bytes, status: int, text: str
) -> None:
    def parse() -> None:
        parameters = parse_parameters(query)
        parse_unsigned(parameters, "cas")
        parse_index(parameters)
        parse_wait_s(parameters)
        parse_read(b"a", parameters)

    with pytest.raises(BadQuery) as caught:
        parse()

    assert caught.value.status == status
    assert text in str(caught.value)


def test_parameters_are_flags_and_the_first_counts() -> None:
    parameters = parse_parameters(b"recurse=false&wait=1s&wait=2s&RAW&x=%2F+y")

    assert parameters == {"recurse": "false", "wait": "1s", "RAW": "", "x": "/ y"}
    assert parse_read(b"a", parameters) == Read(b"a", recurse=True)


def test_keys_are_decoded_once() -> None:
    assert parse_path(b"/v1/kv/a%2Fb%252F+c") == b"/v1/kv/a/b%2F+c"
    for path in (b"/v1/kv/a%00b", b"/v1/kv/a%zz", b"/v1/kv/a%2", b"/v1/kv/%E2%80%8B"):
        with pytest.raises(BadQuery):
            parse_path(path)
    with pytest.raises(BadQuery):
        parse_read(b"", {})


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (b"/v1/kv", "/v1/kv/"),
        (b"/v1/kv/k//a", "/v1/kv/k/a"),
        (b"/v1/kv/k%2F%2Fa", "/v1/kv/k/a"),
        (b"/v1/kv/k/./a/", "/v1/kv/k/a/"),
        (b"/v1/kv/k/b/%2e%2e/a", "/v1/kv/k/a"),
        (b"/v1/kv//a%20b", "/v1/kv/a%20b"),
        (b"/../..", "/"),
    ],
)
def test_a_path_has_one_form(path: bytes, location: str) -> None:
    with pytest.raises(Moved) as caught:
        parse_path(path)
    assert caught.value.location == location


@pytest.mark.parametrize("query", [b"a&" * 64, b"&" * 100_000, b"a=1&b=2&" * 40_000])
def test_more_parameters_than_any_request_has_are_refused(query: bytes) -> None:
    with pytest.raises(BadQuery, match="parameters, expected 64 at most"):
        parse_target(b"/v1/kv/a?" + query)
