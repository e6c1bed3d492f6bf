"""The paths of requests: a key is named by its path, or refused, and never walks."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import BadKey, BadQuery, Client, TxnOperation
from kv_trio.client.paths import encode_query, key_path, missing_right, session_path
from kv_trio.consul.parameters import parse_parameters, parse_path, parse_target
from tests.kv_trio.support.odd_stores import client_over

SEGMENTS = [
    *("a", "b", ".", "..", "...", "", "%2e%2e", "%2F", "%", "?", "#", "//", "\\", ".a"),
    *(";", "&", "+", " ", "é", "\u2215", "session", "\0", "\ud800", "~"),
]
KEYS = st.text() | st.lists(st.sampled_from(SEGMENTS), max_size=6).map("/".join)


def sent_path(key: str) -> bytes:
    """Give the path that goes out for a key, behind all libraries."""
    seen: list[bytes] = []

    def send(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(404, headers={"X-Consul-Index": "1"})

    async def get() -> None:
        async with client_over(httpx.MockTransport(send)) as client:
            await client.get(key)

    trio.run(get)
    return seen[0]


@given(KEYS)
def test_the_server_reads_the_key_that_was_meant(key: str) -> None:
    try:
        path = sent_path(key)
    except BadKey as exc:
        assert repr(key) in str(exc)
        return
    try:
        target = parse_target(path)
    except BadQuery:  # it has a character that no server prints
        assert not key.isprintable()
        return
    assert target.path == b"/v1/kv/" + key.encode()
    assert target.key == key.encode()
    assert target.parameters.keys() <= {"consistent"}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("", "/v1/kv/"),
        ("a/b", "/v1/kv/a/b"),
        ("a/", "/v1/kv/a/"),
        ("a?b#c%2e", "/v1/kv/a%3Fb%23c%252e"),
        ("a.b/..c/...", "/v1/kv/a.b/..c/..."),
        ("é +", "/v1/kv/%C3%A9%20%2B"),
    ],
)
def test_the_path_of_a_key(key: str, path: str) -> None:
    assert key_path(key) == path
    assert parse_path(path.encode()) == b"/v1/kv/" + key.encode()


@pytest.mark.parametrize(
    "key",
    [
        *("users/../admin", "../session/destroy/5", "..", ".", "a/.", "a/..", "./a"),
        *("/a", "a//b", "/", "//", "a/./b", "\ud800"),
    ],
)
@pytest.mark.parametrize(
    "verb", ["get", "put", "delete", "list", "keys", "history", "get_at"]
)
async def test_what_would_walk_is_refused(key: str, verb: str) -> None:
    more = {"put": (b"",), "get_at": (5,)}.get(verb, ())
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(BadKey, match="cannot be"):
            await getattr(client, verb)(key, *more)


@pytest.mark.parametrize(
    "id_",
    ["", ".", "..", "a/b", "../destroy/a", "a?", "a#", "%2e", "a\n", "\ud800", "é"],
)
async def test_what_is_no_id_is_refused(id_: str) -> None:
    async with Client("http://127.0.0.1:1") as client:
        for change in (client.renew_session, client.destroy_session):
            with pytest.raises(BadKey, match="no id of a session"):
                await change(id_)


def test_the_path_of_a_session() -> None:
    assert session_path("renew", "ADF4-5") == "/v1/session/renew/ADF4-5"


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_the_server_reads_the_parameters_that_were_meant(found: dict[str, str]) -> None:
    try:
        query = encode_query(found)
    except BadKey:
        with pytest.raises(UnicodeEncodeError):
            urlencode(found)
        return
    assert parse_parameters(query.encode()) == found


async def test_half_a_character_is_refused_in_parameters_and_transactions() -> None:
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(BadKey):
            await client.keys("a", separator="\ud800")
        with pytest.raises(BadKey):
            await client.transact([TxnOperation("get", b"\xff")])


@pytest.mark.parametrize(
    ("method", "target", "key", "right"),
    [
        ("GET", "/v1/kv/canary/web/config?index=7", "canary/web/config", "key:read"),
        ("PUT", "/v1/kv/a%2Fb%20c", "a/b c", "key:write"),
        ("DELETE", "/v1/kv/a", "a", "key:write"),
        ("PUT", "/v1/txn", "", "key:write"),
        ("PUT", "/v1/session/create", "", "session:write"),
        ("GET", "/v1/kv/v1/session/x", "v1/session/x", "key:read"),
    ],
)
def test_a_refusal_says_what_is_missing(
    method: str, target: str, key: str, right: str
) -> None:
    told, *missing = missing_right(method, target)
    assert missing == [key, right]
    assert "must have the right to" in told
