from __future__ import annotations

import ipaddress

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.errors import BadAnswer, BadRequest
from http_trio.http1.forwarded import Forwarding, forwarding_fields
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http1.request_head import (
    find_value,
    find_values,
    parse_answer_head,
    parse_request_head,
    render_answer,
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


@pytest.mark.parametrize(
    "raw",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=repr,
)
def test_a_bad_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_answer_head(raw, b"GET")


def test_an_answer_goes_on_with_its_fields_apart() -> None:
    head = parse_answer_head(
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Set-Cookie: b=2\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n"
        b"Date: then\r\n\r\n",
        b"GET",
    )
    sent, framing = render_answer(
        head, to_http10=False, connection=b"", added=b"\r\nX-Added: 1"
    )

    assert framing == 2
    assert sent == (
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: then"
        b"\r\nContent-Length: 2\r\nX-Added: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("to_http10", "framing"), [(False, CHUNKED), (True, UNTIL_CLOSE)]
)
def test_an_answer_until_close_is_chunked_for_who_knows_chunks(
    to_http10: bool, framing: int
) -> None:
    head = parse_answer_head(b"HTTP/1.1 200 OK\r\n\r\n", b"GET")

    sent, found = render_answer(head, to_http10=to_http10, connection=b"", added=b"")

    assert found == framing
    assert (b"Connection: close" in sent) is to_http10
    assert (b"Transfer-Encoding: chunked" in sent) is not to_http10


def forwarded(*lines: bytes, peer: str = "10.0.0.1", trusted: str = "") -> list[bytes]:
    rules = Forwarding(
        via=b"us", trusted=(ipaddress.ip_network(trusted),) if trusted else ()
    )
    head = parse_request_head(request(*lines), LIMITS)
    fields = forwarding_fields(rules, peer, head, trusted=rules.trusts(peer))
    return fields.split(b"\r\n")[1:]


def test_a_client_is_named_and_its_own_word_dropped() -> None:
    assert forwarded(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Proto: https") == [
        b"X-Forwarded-For: 10.0.0.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: h",
        b'Forwarded: for=10.0.0.1;host="h";proto=http',
        b"Via: 1.1 us",
    ]


def test_a_trusted_peer_is_believed_and_added() -> None:
    fields = forwarded(
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: public",
        b"Forwarded: for=6.6.6.6",
        trusted="10.0.0.0/8",
    )

    assert fields == [
        b"X-Forwarded-For: 6.6.6.6, 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: public",
        b'Forwarded: for=6.6.6.6, for=10.0.0.1;host="h";proto=http',
        b"Via: 1.1 us",
    ]


def test_an_ipv6_client_is_quoted_in_forwarded() -> None:
    fields = forwarded(peer="2001:db8::1")

    assert fields[0] == b"X-Forwarded-For: 2001:db8::1"
    assert fields[3] == b'Forwarded: for="[2001:db8::1]";host="h";proto=http'
