"""The value of a key in a head: the only one of its name, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.rules import Key, Source
from canary_trio.routing.access.limit_key import value_getter
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.limits import Limits

HEADER = Key(Source.HEADER, "X-Key")
COOKIE = Key(Source.COOKIE, "s")
QUERY = Key(Source.QUERY, "k y")


def head(*fields: str, target: str = "/") -> RequestHead:
    lines = [f"GET {target} HTTP/1.1", "Host: h", *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode(), Limits())


@pytest.mark.parametrize(
    ("key", "given_head", "found"),
    [
        (HEADER, head(), None),
        (HEADER, head("X-Key: a"), b"a"),
        (HEADER, head("x-KEY:\t a \t"), b"a"),
        (HEADER, head("X-Key:"), None),
        (HEADER, head("X-Key:  "), None),
        (HEADER, head("X-Key: a", "X-Key: a "), b"a"),
        (HEADER, head("X-Key: a", "X-Key: b"), None),
        (HEADER, head("X-Key: a", "x-key:"), None),
        (HEADER, head("X_Key: a"), b"a"),
        (HEADER, head("X-Key: a", "X_Key: b"), None),
        (HEADER, head("X-Keys: a", "My-X-Key: b", "X.Key: c"), None),
        (HEADER, head("X-Other: \tX-Key: a"), None),
        (HEADER, head("X-Key: a", "Connection: close, x-key"), None),
        (HEADER, head("X_Key: a", "Connection: x-key"), b"a"),
        (Key(Source.HEADER, "X-Forwarded-For"), head("X-Forwarded-For: a"), b"a"),
        (Key(Source.HEADER, "Host"), head(), b"h"),
        (COOKIE, head("Cookie: s=1", "Connection: cookie"), None),
        (COOKIE, head("Cookie: s=1"), b"1"),
        (COOKIE, head('Cookie: a=2; s="1"; b'), b"1"),
        (COOKIE, head("Cookie: as=2;s = 1"), b"1"),
        (COOKIE, head("Cookie: a=2", "cookie: s=1"), b"1"),
        (COOKIE, head("Cookie: s=1; s=1"), b"1"),
        (COOKIE, head("Cookie: s=1; s=2"), None),
        (COOKIE, head("Cookie: s=1", "Cookie: s=2"), None),
        (COOKIE, head("Cookie: S=1; s"), None),
        (COOKIE, head("X-Cookie: s=1", target="/?s=1"), None),
        (QUERY, head(target="/?k+y=a"), b"a"),
        (QUERY, head(target="/?x&k%20y=%61%2B"), b"a+"),
        (QUERY, head(target="/?k+y=a&k%20y=a"), b"a"),
        (QUERY, head(target="/?k+y=a&k%20y=b"), None),
        (QUERY, head(target="/?k+y="), None),
        (QUERY, head(target="/k+y=a"), None),
    ],
)
def test_a_value_counts_where_it_is_the_only_one(
    key: Key, given_head: RequestHead, found: bytes | None
) -> None:
    assert value_getter(key)(given_head) == found


NAMES = st.sampled_from(["X-Key", "x-key", "X-Key2", "Y-X-Key", "X_Key"])
VALUES = st.sampled_from(["", "a", "b", "a b", "x-key: a"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_nobody_hides_a_header_behind_another_one(lines: list[tuple[str, str]]) -> None:
    same = ("x-key", "x_key")
    mine = {value for name, value in lines if name.lower() in same}
    expected = mine.pop().encode() or None if len(mine) == 1 else None

    fields = [f"{name}: {value}" for name, value in lines]
    assert value_getter(HEADER)(head(*fields)) == expected
