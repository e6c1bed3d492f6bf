"""Our cookie does not reach servers, however the head was read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.fields.hidden_cookie import HiddenCookie
from http_trio import Limits
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.request_head import parse_request_head, shared_head

_LIMITS = Limits()


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        (b"canary=x", b""),
        (b"a=1; canary=x; b=2", b"a=1; b=2"),
        (b"xcanary=y; canary=x", b"xcanary=y"),
        (b"canaryx=y;canary=x", b"canaryx=y"),
        (b"canary=x; canary=y", b""),
        (b"a=canary=z", b"a=canary=z"),
        (b"", b""),
        (b"a", b"a"),
    ],
)
def test_a_cookie_is_taken_out(header: bytes, rest: bytes) -> None:
    assert HiddenCookie("canary").without(header) == rest


@given(
    st.lists(
        st.sampled_from(
            [b"canary=", b"canary", b"a=1", b";", b"; ", b" ", b"\t", b"x", b"="]
        ),
        max_size=9,
    ).map(b"".join)
)
def test_what_is_left_is_every_other_cookie(value: bytes) -> None:
    pairs = value.strip(b" \t").split(b";")
    kept = [pair for pair in pairs if not pair.lstrip(b" \t").startswith(b"canary=")]
    assert HiddenCookie("canary").without(value) == b";".join(kept).strip(b" \t;")


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (b"\r\nCookie: a=1; canary=x; b=2\r\nA: b", b"\r\nCookie: a=1; b=2\r\nA: b"),
        (b"\r\nA: canary=x\r\ncOOkie:canary=x", b"\r\nA: canary=x"),
        (b"\r\nCookie: canary=x\r\nCookie: c=1;canary=y", b"\r\nCookie: c=1"),
        (b"\r\nCookie: xcanary=x; a=canary=y", b"\r\nCookie: xcanary=x; a=canary=y"),
        (b"\r\nCookie: canary=x; canary=y; a\r\nB: c", b"\r\nCookie: a\r\nB: c"),
    ],
)
def test_our_cookie_is_between_us_and_the_user(kept: bytes, left: bytes) -> None:
    assert HiddenCookie("canary").hide_in(kept) == left


@pytest.mark.parametrize("name", [b"Cookie", b"cookie"])
@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"a=1; canary=%d; b=2", b"a=1; b=2"),
        (b"canary=%d", b""),
        (b"canary=%d; canary=z;  c=%d", b"c=%d"),
        (b"xcanary=%d", b"xcanary=%d"),
        (b" a=1 ;canary=%d ", b"a=1"),
        (b"a=%d", b"a=%d"),
    ],
)
def test_it_is_hidden_in_fields_that_are_known(
    name: bytes, value: bytes, left: bytes
) -> None:
    known = FieldCache(_LIMITS, shared_head)
    hidden = HiddenCookie("canary")
    for number in range(4):
        line, expected = (one.replace(b"%d", b"%d" % number) for one in (value, left))
        lines = b"Host: h\r\nA: 1\r\n%b: %b\r\nB: 2" % (name, line)
        raw = b"GET /%d HTTP/1.1\r\n%b\r\n\r\n" % (number, lines)
        head = known.head(raw, None)
        assert (head is None) == (number < 2)
        if head is None:
            head = parse_request_head(raw, _LIMITS)
            known.offer(raw, head)
        found = hidden.hide(head, head.kept)
        cookie = b"\r\nCookie: " + expected if expected else b""
        assert found.replace(b"cookie: ", b"Cookie: ") == (
            b"\r\nA: 1%b\r\nB: 2" % cookie
        )
        assert hidden.hide(head, head.kept + b"\r\nCookie: canary=1") == (
            hidden.hide_in(head.kept + b"\r\nCookie: canary=1")
        )
