"""Requests that are taken without the parser are what the parser would give."""

from __future__ import annotations

import random
import re

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from http_trio import Limits
from http_trio.errors import BadRequest, ProtocolError
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.http2.messages.heads import Field, request_head
from http_trio.http2.messages.plain_requests import PlainRequests

NAMES = st.one_of(
    st.sampled_from(
        b"accept cookie user-agent x-a te trailer expect host forwarded content-length"
        b" x-forwarded-for x-forwarded-host connection upgrade keep-alive referer"
        b" sec-websocket-key x-forwarded-port forwardedx cookies".split()
    ),
    st.from_regex(rb"[a-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True),
)
# As the session lets them through: no control bytes, and no space around them.
VALUES = st.from_regex(
    rb"([!-~\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
PSEUDO = st.fixed_dictionaries(
    {
        b":method": st.one_of(
            st.sampled_from([b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"]),
            st.from_regex(rb"[A-Za-z!#$%&'*+.^_`|~-]{1,8}", fullmatch=True),
        ),
        b":scheme": st.sampled_from([b"https", b"http"]),
        b":authority": st.one_of(
            st.sampled_from([b"a.example", b"a.example:443", b"[::1]:80", b"a_b", b""]),
            st.from_regex(rb"[!-~]{0,12}", fullmatch=True),
        ),
        b":path": st.one_of(
            st.from_regex(rb"/[!-~]{0,20}", fullmatch=True),
            st.sampled_from([b"*", b"/", b"/a?b=c&d", b"/%2e%2e/a", b"/#f", b"//a"]),
        ),
    }
)


def plain_request(fields: tuple[Field, ...], limits: Limits) -> RequestHead | None:
    return PlainRequests().head(fields, limits)


def by_the_parser(fields: tuple[Field, ...], limits: Limits) -> RequestHead | None:
    try:
        raw, _ = request_head(fields, ended=True, draw=bytes)
        if len(raw) > limits.head:
            return None
        return parse_request_head(raw, limits)
    except (ProtocolError, BadRequest):
        return None


def told(head: RequestHead) -> dict[str, object]:
    return {
        one.name: getattr(head, one.name)
        for one in attrs.fields(RequestHead)
        if one.init
    } | {"start": head.start}


def fields_of(pseudo: dict[bytes, bytes], more: list[Field]) -> tuple[Field, ...]:
    return (*pseudo.items(), *more)


PATHS = st.from_regex(rb"/[!-~]{0,8}", fullmatch=True)


@given(PSEUDO, FIELDS, st.lists(st.tuples(PATHS, VALUES), max_size=3), st.randoms())
@example(
    {b":method": b"GET", b":scheme": b"https", b":authority": b"a", b":path": b"/"},
    [(b"cookie", b"a=1"), (b"x", b""), (b"cookie", b"b=2")],
    [(b"/b", b"c=3")],
    random.Random(1),
)
def test_what_is_given_is_what_the_parser_gives(
    pseudo: dict[bytes, bytes],
    more: list[Field],
    others: list[tuple[bytes, bytes]],
    chance: random.Random,
) -> None:
    """Also for those that follow it with another path and other cookies."""
    plain = PlainRequests()
    order = list(pseudo)
    for path, cookie in [(pseudo[b":path"], None), *others]:
        chance.shuffle(order)
        rest = [
            (name, cookie if name == b"cookie" and cookie is not None else value)
            for name, value in more
        ]
        named = pseudo | {b":path": path}
        fields = fields_of({name: named[name] for name in order}, rest)
        head = plain.head(fields, Limits())
        if head is not None:
            parsed = by_the_parser(fields, Limits())
            assert parsed is not None
            assert told(head) == told(parsed)
            assert type(head) is type(parsed)


MORE = [(b"accept", b"*/*"), (b"user-agent", b"a")]
PLAIN: dict[bytes, bytes] = {
    b":method": b"GET",
    b":scheme": b"https",
    b":authority": b"a.example",
    b":path": b"/a?b",
}


def test_what_a_browser_sends_is_plain() -> None:
    more = [(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    head = plain_request(fields_of(PLAIN, more), Limits())
    assert head is not None
    assert head.kept == b"\r\naccept: */*\r\ncookie: a=1; b=2"


@pytest.mark.parametrize("last", [[], [(b"priority", b"u=1")]], ids=str)
@pytest.mark.parametrize("cookies", [0, 1, 3])
def test_what_differs_in_path_and_cookies_is_looked_at_once(
    cookies: int, last: list[Field]
) -> None:
    plain = PlainRequests()
    seen: list[bytes] = []
    for number in range(5):
        each = [(b"cookie", b"c%d=%d" % (one, number)) for one in range(cookies)]
        fields = fields_of(PLAIN | {b":path": b"/%d" % number}, [*MORE, *each, *last])
        head = plain.head(fields, Limits())
        assert head is not None
        if head.passed is None:
            head.pass_on(seen.append)
        assert head.is_quiet
        assert head.passed is head.kept
    assert len(seen) == 2  # once when it is new, and once when it is kept


def test_what_differs_in_another_field_is_looked_at_again() -> None:
    plain = PlainRequests()
    for value in (b"1", b"1", b"2"):
        head = plain.head(fields_of(PLAIN, [*MORE, (b"x-a", value)]), Limits())
        assert head is not None
        assert head.passed is None
        head.pass_on(lambda _: None)


def test_what_a_handler_takes_out_is_looked_for_in_each() -> None:
    plain = PlainRequests()
    for _ in range(4):
        head = plain.head(fields_of(PLAIN, MORE), Limits())
        assert head is not None
        assert head.passed is None
        assert head.pass_on(lambda _: b"") == b""


def test_what_is_kept_is_bounded() -> None:
    plain = PlainRequests()
    for number in [*range(1000), *range(1000)]:
        plain.head(fields_of(PLAIN, [(b"x-a", b"%d" % number)]), Limits())
        plain.head(
            fields_of(PLAIN, [(b"cookie", b"%d" % number), (b"x", b"y"), *MORE]),
            Limits(),
        )
    plain.head(fields_of(PLAIN, [(b"x-a", b"a" * 4000)]), Limits())
    known = re.search("heads=([0-9]+)", repr(plain))
    assert known is not None
    assert 0 < int(known[1]) <= 512


@pytest.mark.parametrize(
    "limits",
    [
        Limits(request_line=16),
        Limits(head=60),
        Limits(fields=3),
    ],
    ids=str,
)
def test_the_limits_are_the_parsers(limits: Limits) -> None:
    for size in range(30):
        path = {b":path": b"/" + b"a" * size}
        for count in range(5):
            fields = fields_of(PLAIN | path, [(b"x", b"y")] * count)
            if plain_request(fields, limits) is not None:
                assert by_the_parser(fields, limits) is not None


@pytest.mark.parametrize(
    "change",
    [
        {b":path": b"*"},
        {b":path": b"/a#b"},
        {b":path": b"/\xc3\xa9"},
        {b":path": b"/a b"},
        {b":authority": b""},
        {b":authority": b"a/b"},
        {b":authority": b"user@a"},
        {b":method": b"POST"},
        {b":method": b"CONNECT"},
    ],
    ids=str,
)
def test_what_is_not_plain_is_parsed(change: dict[bytes, bytes]) -> None:
    assert plain_request(fields_of(PLAIN | change, []), Limits()) is None


@pytest.mark.parametrize("name", [b"te", b"expect", b"host", b"x-forwarded-for"])
def test_a_special_field_is_for_the_parser(name: bytes) -> None:
    assert plain_request(fields_of(PLAIN, [(name, b"a")]), Limits()) is None


def test_an_extended_connect_is_for_the_parser() -> None:
    fields = fields_of(PLAIN, [(b":protocol", b"websocket")])
    assert plain_request(fields, Limits()) is None
