"""What rules and keys read of a request is the same, however its head was read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.rules import Key, Source
from canary_trio.routing.request.request_view import RequestReader, key_getter
from http_trio import Limits
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.request_head import RequestHead, parse_request_head, shared_head
from http_trio.http2.messages.plain_requests import PlainRequests

_LINES = [
    b"Accept: */*",
    b"X-Beta: yes ",
    b"x-beta:no",
    b"X-Empty:",
    b"Connection: keep-alive",
    b"X-Cookie: a=no",
    b"Referer: ookie: a=no",
]
_COOKIES = [b"Cookie: a=%d; b=2", b"cookie:  a=%d ", b"Cookie: ", b"COOKIE: a=%d"]
_KEYS = [
    Key(Source.HEADER, "X-Beta"),
    Key(Source.HEADER, "Accept"),
    Key(Source.HEADER, "Host"),
    Key(Source.HEADER, "Connection"),
    Key(Source.HEADER, "Cookie"),
    Key(Source.COOKIE, "a"),
    Key(Source.COOKIE, "b"),
    Key(Source.QUERY, "page"),
]
_MANY = [Key(Source.HEADER, f"X-{number}") for number in range(12)]
_LIMITS = Limits()


def heads(
    known: FieldCache[RequestHead], raw: bytes
) -> tuple[RequestHead, RequestHead]:
    """Give a head as it is parsed, and as a connection gives it."""
    parsed = parse_request_head(raw, _LIMITS)
    found = known.head(raw, None)
    if found is None:
        known.offer(raw, parsed)
    return parsed, found or parsed


@given(
    st.lists(st.sampled_from(_LINES), max_size=4),
    st.lists(st.sampled_from(_COOKIES), max_size=2),
    st.lists(
        st.lists(st.sampled_from(_KEYS + _MANY), max_size=4), min_size=1, max_size=3
    ),
)
def test_shared_fields_read_as_others(
    lines: list[bytes], cookies: list[bytes], asked: list[list[Key]]
) -> None:
    known = FieldCache(_LIMITS, shared_head)
    asked = [*asked, [*asked[0], *_MANY]]
    readers = [(keys, RequestReader(keys)) for keys in asked]
    for number in range(5):
        sent = [line % number if b"%d" in line else line for line in cookies[:1]]
        all_lines = [b"Host: h.test", *lines[:2], *sent, *lines[2:], *cookies[1:]]
        start = b"GET /%d?page=%d HTTP/1.1" % (number, number)
        parsed, found = heads(known, b"\r\n".join([start, *all_lines, b"", b""]))
        for keys, reader in readers:
            one, other = (reader.read(head, "192.0.2.1") for head in (parsed, found))
            for key in keys:
                assert key_getter(key)(one) == key_getter(key)(other)
                if key.source is Source.COOKIE:
                    assert one.cookies_named(b"a") == other.cookies_named(b"a")


_FIELDS = [(b"accept", b"*/*"), (b"x-beta", b"yes"), (b"x-beta", b"no"), (b"x-a", b"")]
_CRUMBS = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"a\x80=\xff; a=3")]


@given(
    st.lists(st.sampled_from(_FIELDS + _CRUMBS), max_size=5),
    st.lists(st.sampled_from(_CRUMBS), max_size=3),
    st.lists(st.sampled_from(_KEYS), max_size=4),
)
def test_heads_of_http2_read_as_others(
    fields: list[tuple[bytes, bytes]],
    crumbs: list[tuple[bytes, bytes]],
    keys: list[Key],
) -> None:
    plain, reader = PlainRequests(), RequestReader(keys)
    begin = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h.test"))
    for number in range(6):
        path = (b":path", b"/?page=%d" % number)
        head = plain.head((*begin, path, *fields, *crumbs[number // 2 :]), _LIMITS)
        assert head is not None
        assert head.shared is not None or number % 2 == 0
        parsed = parse_request_head(head.raw, _LIMITS)
        one, other = (reader.read(each, "192.0.2.1") for each in (parsed, head))
        for key in keys:
            assert key_getter(key)(one) == key_getter(key)(other)
        assert one.cookies_named(b"a") == other.cookies_named(b"a")


@pytest.mark.parametrize("cookie", [b"", b"Cookie: a=1\r\n"])
def test_each_reader_looks_once_at_what_is_shared(cookie: bytes) -> None:
    known = FieldCache(_LIMITS, shared_head)
    raw = b"GET /%d HTTP/1.1\r\nHost: h\r\nX-Beta: yes\r\n%b\r\n"
    for number in range(2):
        heads(known, raw % (number, cookie))
    readers = [RequestReader([key]) for key in _KEYS[:3]]
    for number in range(3):
        _, head = heads(known, raw % (number + 2, cookie))
        assert head.shared is not None
        for reader in readers:
            reader.read(head, "unix")
        assert set(head.shared.found) == set(readers)
