"""Heads whose fields are known: they are what the parser would give, and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice, product

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.errors import BadRequest
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import RequestHead, parse_request_head, shared_head
from http_trio.limits import Limits
from http_trio.testing.peers import (
    ReceivedRequest,
    connected,
    fake_upstream,
    proxying,
)

LIMITS = Limits(request_line=200, head=2000, fields=12)
_OWN = {"shared", "cookie", "passed", "is_quiet", "_start"}  # how it is found, or later

_COOKIE_LINES = [
    b"Cookie: %b",
    b"cookie: %b",
    b"COOKIE: %b",
    b"Cookie:%b",
    b"Cookie:  %b ",
]
_LINES = [
    b"Host: h.test",
    b"host: h.test:80",
    b"Accept: */*",
    b"X-Cookie: a=b",
    b"X-Long: " + b"x" * 60,
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: cookie, accept",
    b"Content-Length: 0",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"TE: trailers",
    b"Trailer: x-sum",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"X-Forwarded-For: 192.0.2.1",
    b"Referer: http://h.test/?ookie: a",
    b"Bad Name: x",
    b" folded",
]
_METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"BREW", b"CONNECT", b"get"]
_TARGETS = [
    b"/",
    b"/a?b=c",
    b"/a#b",
    b"*",
    b"http://o.test/x",
    b"/\xc3\xa4",
    b"/%",
    b"",
]
_VALUES = [
    b"a=1",
    b"",
    b"a=1; b=2",
    b"a=\x01",
    b"a=\xe4",
    b"a\tb",
    b"a\rb",
    b" ",
    b"ookie: x",
]


def head_of(
    raw: bytes, known: FieldCache[RequestHead], last: SharedFields | None
) -> RequestHead:
    """Read a head as a connection does."""
    head = known.head(raw, last)
    if head is None:
        head = parse_request_head(raw, LIMITS)
        head = known.offer(raw, head) or head
    return head


def facts(head: RequestHead) -> dict[str, object]:
    names = (field.name for field in attrs.fields(RequestHead))
    return {name: getattr(head, name) for name in names if name not in _OWN}


def browser(target: bytes, cookie: bytes = b"a=1", method: bytes = b"GET") -> bytes:
    lines = b"Host: h\r\nUser-Agent: Mozilla/5.0\r\nCookie: %b\r\nAccept: */*" % cookie
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, target, lines)


def same_as_parsed(
    lines: Sequence[bytes],
    cookies: Sequence[bytes],
    asked: Iterable[tuple[bytes, bytes, bytes, bytes]],
) -> None:
    """Hold heads of the same fields against what the parser gives for each.

    Args:
        lines: that all have.
        cookies: two at most, behind the first of these, with `%b` for a value.
        asked: method, target, version and value of each.
    """
    known, last = FieldCache(LIMITS, shared_head), None
    for number in range(3):
        last = same(
            known, last, lines, cookies, (b"GET", b"/", b"1.1", b"c=%d" % number)
        )
    for one in asked:
        last = same(known, last, lines, cookies, one)


def same(
    known: FieldCache[RequestHead],
    last: SharedFields | None,
    lines: Sequence[bytes],
    cookies: Sequence[bytes],
    asked: tuple[bytes, bytes, bytes, bytes],
) -> SharedFields | None:
    method, target, version, value = asked
    given = [line % one for line, one in zip(cookies, (value, b"z=2"), strict=False)]
    start = b"%b %b HTTP/%b" % (method, target, version)
    raw = b"\r\n".join([start, *lines[:1], *given, *lines[1:], b"", b""])
    try:
        parsed = parse_request_head(raw, LIMITS)
    except BadRequest as exc:
        with pytest.raises(BadRequest) as found:
            head_of(raw, known, last)
        assert found.value.status == exc.status
        return last
    head = head_of(raw, known, last)
    assert facts(head) == facts(parsed)
    assert head.start == parsed.start
    if head.shared is not None:
        sent = re.findall(rb"(?i)\ncookie:([^\r]*)", raw)
        assert [one.strip(b" \t") for one in sent] == (
            [head.cookie.strip(b" \t")] if head.shared.rest else []
        )
    return head.shared


@pytest.mark.parametrize("line", _LINES)
def test_each_field_means_the_same_as_when_it_is_parsed(line: bytes) -> None:
    every = product(_METHODS[:4], _TARGETS, [b"1.1", b"1.0"], _VALUES)
    some = list(islice(every, 0, None, 7))
    for count in range(3):
        for cookies in product(_COOKIE_LINES, repeat=count):
            same_as_parsed(
                [b"Host: h.test", line, b"Accept: */*"], cookies, some[:: count + 1]
            )


@given(
    st.lists(st.sampled_from(_LINES), max_size=5),
    st.lists(st.sampled_from(_COOKIE_LINES), max_size=2),
    st.lists(
        st.tuples(
            *map(st.sampled_from, (_METHODS, _TARGETS, [b"1.1", b"1.0"], _VALUES))
        ),
        min_size=4,
        max_size=6,
    ),
)
def test_what_is_known_is_what_would_be_parsed(
    lines: list[bytes],
    cookies: list[bytes],
    asked: list[tuple[bytes, bytes, bytes, bytes]],
) -> None:
    same_as_parsed([*lines, b"Host: h.test"], cookies, asked)


def test_fields_are_known_from_the_second_request_on() -> None:
    known = FieldCache(LIMITS, shared_head)
    heads = [head_of(browser(b"/%d" % n, b"a=%d" % n), known, None) for n in range(4)]
    assert [head.shared is not None for head in heads] == [False, True, True, True]
    assert heads[1].shared is heads[3].shared
    assert heads[3].cookie == b"a=3"
    assert b"\r\nCookie: a=3\r\n" in heads[3].kept


@pytest.mark.parametrize(
    "raw",
    [
        browser(b"/" + b"x" * 200),
        browser(b"/a#b"),
        browser(b"/a\xe4"),
        browser(b"/a", b"a=\x01"),
        browser(b"/a", b"a=\xe4"),
        browser(b"/a", method=b"BREW"),
        browser(b"/a")[:-2] + b"X: 1\r\n\r\n",
        browser(b"/a")[:-4] + b"\r\nCookie: b=2\r\n\r\n",
        browser(b"/a") * 2,
        browser(b"/a") + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\n" + browser(b"/a"),
        browser(b"/" + b"x" * 100, b"a" * 1900),
    ],
)
def test_what_is_not_ordinary_is_for_the_parser(raw: bytes) -> None:
    known = FieldCache(LIMITS, shared_head)
    last = [head_of(browser(b"/%d" % n), known, None) for n in range(3)][-1].shared
    assert last is not None
    assert known.head(browser(b"/a"), last) is not None
    assert known.head(raw, last) is None


def test_several_heads_without_cookies_are_not_one() -> None:
    known = FieldCache(LIMITS, shared_head)
    raw = b"GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
    last = [head_of(raw, known, None) for _ in range(3)][-1].shared
    assert last is not None
    assert known.head(raw, last) is not None
    for more in (raw, b"X: 1\r\n\r\n", b"\r\n\r\n"):
        assert known.head(raw + more, last) is None
        assert known.head(raw + more, None) is None


def test_what_one_strip_found_quiet_is_not_looked_at_again() -> None:
    known, looked = FieldCache(LIMITS, shared_head), []

    def strip(kept: bytes) -> bytes | None:
        looked.append(kept)
        return None

    for number in range(5):
        head = head_of(browser(b"/%d" % number), known, None)
        if head.passed is None:
            head.pass_on(strip)
        assert head.passed == head.kept
        assert head.is_quiet
    assert len(looked) == 2


def test_it_rests_where_each_request_says_something_new_and_looks_again_later() -> None:
    known = FieldCache(LIMITS, shared_head)

    def traced(number: int) -> bytes:
        return browser(b"/%d" % number)[:-2] + b"Traceparent: %d\r\n\r\n" % number

    for number in range(257):
        assert head_of(traced(number), known, None).shared is None
    for number in range(4096):  # what would be known is not looked for
        assert head_of(browser(b"/%d" % number), known, None).shared is None
    found = [head_of(browser(b"/%d" % n), known, None).shared for n in range(3)]
    assert found[-1] is not None


def test_memory_is_bounded() -> None:
    known = FieldCache(LIMITS, shared_head)
    for number in range(3000):
        raw = browser(b"/")[:-2] + b"X-User: %d\r\n\r\n" % (number // 2)
        head_of(raw, known, None)
        assert len(known._known._heads) <= 512
        assert len(known._known._seen) <= 8192
    shared = SharedFields(b"", b"", b"h", b"", b"")
    for number in range(100):
        shared.keep(number, {})
        assert len(shared.found) <= 8


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(asked.head)


async def test_requests_that_differ_in_target_and_cookie_go_on_as_they_came() -> None:
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as one, connected(proxy) as two:
            for number in range(6):
                for client in (one, two):
                    name = b"Cookie" if number % 2 else b"cookie"
                    path, cookie = b"/%d" % number, b"%b: a=%d" % (name, number)
                    sent = (await client.ask(path, b"A: 1", cookie, b"B: 2"))[1]
                    assert sent.startswith(b"GET %b HTTP/1.1\r\nHost: " % path)
                    assert b"\r\nA: 1\r\n%b\r\nB: 2\r\n" % cookie in sent
                    assert sent.lower().count(b"cookie:") == 1
