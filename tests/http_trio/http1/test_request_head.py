"""Requests' heads: what is refused, what is understood, and what goes on."""

from __future__ import annotations

import attrs
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.errors import BadRequest
from http_trio.http1.fields import find_value, find_values
from http_trio.http1.framing import CHUNKED
from http_trio.http1.request_head import (
    RequestHead,
    parse_request_head,
    render_request,
)
from http_trio.limits import Limits

LIMITS = Limits()


def request(
    *lines: bytes, line: bytes = b"GET /a HTTP/1.1", host: bytes = b"h"
) -> bytes:
    rows = [line, *([b"Host: " + host] if host else []), *lines]
    return b"\r\n".join(rows) + b"\r\n\r\n"


def status_of(raw: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse_request_head(raw, LIMITS)
    return caught.value.status


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(line=b"GE{T / HTTP/1.1"), 501),
        (request(line=b"G\x80T / HTTP/1.1"), 501),
        (request(line=b"CONNECT h:1 HTTP/1.1"), 501),
        (request(line=b"connect h:1 HTTP/1.1"), 501),
        (request(line=b"PRI * HTTP/2.0"), 505),
        (request(line=b"PRI / HTTP/1.1"), 400),
        (request(b"X A: b", line=b"NEWLY / HTTP/1.1"), 400),
        (request(b"X-A: b\nX-B: c", line=b"NEWLY / HTTP/1.1"), 400),
        (request(line=b"NEWLY / HTTP/2.0"), 505),
        (request(line=b" / HTTP/1.1"), 501),
        (request(line=b"GET  / HTTP/1.1"), 400),
        (request(line=b"GET / HTTP/1.1 "), 400),
        (request(line=b"GET /a b HTTP/1.1"), 400),
        (request(line=b"GET / HTTP/2.0"), 505),
        (request(line=b"GET / HTTP/0.9"), 505),
        (request(line=b"GET / ICE/1.0"), 400),
        (request(line=b"\rGET / HTTP/1.1"), 400),
        (request(line=b"GET /\nX-A: HTTP/1.1"), 400),
        (request(line=b"GET /\rX-A: HTTP/1.1"), 400),
        (request(line=b"GET a HTTP/1.1"), 400),
        (request(line=b"GET * HTTP/1.1"), 400),
        (request(line=b"GET /a#b HTTP/1.1"), 400),
        (request(line=b"GET ftp://h/ HTTP/1.1"), 400),
        (request(line=b"GET http:///a HTTP/1.1"), 400),
        (request(line=b"GET http://u:p@h/ HTTP/1.1"), 400),
        (request(host=b""), 400),
        (request(b"Host: h"), 400),
        (request(host=b"a b"), 400),
        (request(host=b"a/b"), 400),
        (request(host=b"a@b"), 400),
        (request(host=b"[::1"), 400),
        (request(b"X-A : b"), 400),
        (request(b": b"), 400),
        (request(b"X A: b"), 400),
        (request(b"X-A: b", b" c"), 400),
        (request(b"X-A: b\rX-B: c"), 400),
        (request(b"X-A: b\nX-B: c"), 400),
        (request(b"X-A: \x00"), 400),
        (request(b"X-A: \x7f"), 400),
        (request(b"Expect: magic"), 417),
        (request(*[b"X: y"] * 101), 431),
        (request(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_head_is_refused(raw: bytes, status: int) -> None:
    found = status_of(raw)

    assert found == status or {found, status} == {400, 505}


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://t/a?q=1", b"t", b"/a?q=1"),
        (b"http://t:81", b"t:81", b"/"),
        (b"HTTP://t?q", b"t", b"/?q"),
        (b"https://[::1]:8443/x", b"[::1]:8443", b"/x"),
    ],
)
def test_an_absolute_target_rules_the_host(
    target: bytes, host: bytes, path: bytes
) -> None:
    head = parse_request_head(request(line=b"GET " + target + b" HTTP/1.1"), LIMITS)

    assert (head.host, head.target) == (host, path)


@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (request(), True),
        (request(b"Connection: close"), False),
        (request(b"Connection: x, Close"), False),
        (request(b"Connection: keep-alive"), True),
        (request(line=b"GET / HTTP/1.0"), False),
        (request(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"), True),
    ],
)
def test_who_keeps_the_connection(raw: bytes, keeps: bool) -> None:
    assert parse_request_head(raw, LIMITS).keep_alive is keeps


def test_hop_by_hop_fields_stay_here() -> None:
    raw = request(
        b"Connection: keep-alive, X-Hop",
        b"x-hop: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: close",
        b"TE: gzip",
        b"Upgrade: h2c",
        b"X-Forwarded-For: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
        b"X-Stay: 1",
    )
    head = parse_request_head(raw, LIMITS)
    sent = render_request(head, b"u", b"\r\nVia: 1.1 us", None)

    assert sent == (b"GET /a HTTP/1.1\r\nHost: h\r\nX-Stay: 1\r\nVia: 1.1 us\r\n\r\n")


def test_a_websocket_may_ask_to_change_the_protocol() -> None:
    head = parse_request_head(
        request(b"Connection: Upgrade", b"Upgrade: WebSocket"), LIMITS
    )
    sent = render_request(head, b"u", b"", None)

    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in sent


def test_a_body_that_is_held_gets_a_length() -> None:
    head = parse_request_head(
        request(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1"), LIMITS
    )

    assert head.framing == CHUNKED
    assert b"\r\nContent-Length: 5\r\n" in render_request(head, b"u", b"", 5)
    assert b"\r\nContent-Length: 0\r\n" in render_request(head, b"u", b"", 0)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in render_request(
        head, b"u", b"", None
    )


NAME = st.text("abcXYZ-_!#9", min_size=1, max_size=8).map(str.encode)
VALUE = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"),
    max_size=12,
).map(lambda text: text.encode("latin-1").strip(b" \t\xa0\x85"))


class _Seen:
    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.heads = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.heads += 1


@given(st.lists(st.tuples(NAME, VALUE), max_size=10))
def test_whatever_goes_on_is_valid_and_in_order(
    fields: list[tuple[bytes, bytes]],
) -> None:
    named = [(b"X-" + name, value.strip()) for name, value in fields]
    raw = request(*[name + b": " + value for name, value in named])
    try:
        head = parse_request_head(raw, LIMITS)
    except BadRequest:
        return
    seen = _Seen()
    httptools.HttpRequestParser(seen).feed_data(render_request(head, b"u", b"", None))

    assert seen.heads == 1
    assert seen.fields == [(b"Host", b"h"), *named]
    for name, _ in named:
        assert find_values(raw, name) == [
            value for other, value in named if other.lower() == name.lower()
        ]
        assert find_value(raw, name) == find_values(raw, name)[0]


TOKEN = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=40).map(str.encode)
REGISTERED = (
    b"ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY DELETE GET HEAD LABEL LINK LOCK"
    b" MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS"
    b" ORDERPATCH PATCH POST PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE"
    b" UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL"
    b" DESCRIBE PLAY SETUP SOURCE get GETX PUTS CONNECTED"
).split()
"""The registry's methods (RFC 9110 section 16.1.1), and some that only look like one."""


@given(st.sampled_from(REGISTERED) | TOKEN)
def test_every_token_is_a_method(method: bytes) -> None:
    raw = request(b"Content-Length: 3", line=method + b" /a HTTP/1.1")

    head = parse_request_head(raw, LIMITS)

    assert (head.method, head.target, head.framing) == (method, b"/a", 3)
    assert render_request(head, b"", b"", None).startswith(method + b" /a HTTP/1.1")


def test_what_a_handler_never_passes_on_is_looked_for_once() -> None:
    seen: list[bytes] = []

    def strip(kept: bytes) -> bytes:
        seen.append(kept)
        return kept.replace(b"\r\nX-B: 2", b"")

    head = parse_request_head(request(b"X-A: 1", b"X-B: 2"), LIMITS)
    assert head.passed is None
    assert head.pass_on(strip) == head.passed == b"\r\nX-A: 1"
    assert seen == [head.kept]


def test_fields_that_all_pass_are_the_same_object() -> None:
    head = parse_request_head(request(b"X-A: 1"), LIMITS)
    assert head.pass_on(lambda kept: kept) is head.kept


_NAMES = st.sampled_from(["Accept", "Cookie", "X-Forwarded-By", "Hosts", "Connections"])
_VALUES = st.text("aA:; =", max_size=6).map(str.strip)


@given(
    st.sampled_from(
        [b"GET /a?b", b"HEAD /", b"POST /x", b"GET http://o/", b"OPTIONS *"]
    ),
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
    st.sampled_from([(), (b"Connection: keep-alive",), (b"connection: Keep-Alive",)]),
)
def test_a_head_of_host_alone_is_read_as_any_other(
    line: bytes, fields: list[tuple[str, str]], said: tuple[bytes, ...]
) -> None:
    lines = [f"{name}: {value}".encode() for name, value in fields]
    shorter = request(*lines, *said, line=line + b" HTTP/1.1")
    longer = request(*lines, *said, b"Keep-Alive: 5", line=line + b" HTTP/1.1")

    one, two = (parse_request_head(raw, LIMITS) for raw in (shorter, longer))

    assert _facts(one) == _facts(two)


def _facts(head: RequestHead) -> dict[str, object]:
    return attrs.asdict(head, filter=lambda field, _: field.name != "raw") | {
        "start": head.start
    }
