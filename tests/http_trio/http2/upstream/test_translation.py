"""What a request becomes in HTTP/2, and a response in HTTP/1.1."""

from __future__ import annotations

import pytest

from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http1.response_head import parse_response_head
from http_trio.http2.messages.heads import Field, Malformed
from http_trio.http2.upstream.translation import (
    interim_head,
    request_fields,
    response_head,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def request(*lines: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" /a?b HTTP/1.1", b"Host: a.example", *lines])


def test_pseudo_fields_come_first_and_names_are_lower_case() -> None:
    made = request_fields(request(b"X-A: 1", b"Cookie: b=c"), b"https")
    assert made.fields == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/a?b"),
        (b":authority", b"a.example"),
        (b"x-a", b"1"),
        (b"cookie", b"b=c"),
    ]
    assert (made.framing, made.is_head, made.websocket_key) == (0, False, b"")


@pytest.mark.parametrize(
    ("line", "framing"),
    [
        (b"Content-Length: 12", 12),
        (b"Content-Length: 0", 0),
        (b"Transfer-Encoding: chunked", CHUNKED),
    ],
)
def test_the_framing_is_kept(line: bytes, framing: int) -> None:
    made = request_fields(request(line, method=b"POST"), b"http")
    assert made.framing == framing
    assert (b"content-length" in dict(made.fields)) is (framing != CHUNKED)
    assert b"transfer-encoding" not in dict(made.fields)


def test_what_speaks_of_the_connection_stays_here() -> None:
    made = request_fields(request(b"Connection: TE", b"TE: trailers"), b"http")
    assert made.fields[4:] == [(b"te", b"trailers")]


def test_a_handshake_becomes_an_extended_connect() -> None:
    head = request(
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
    )
    made = request_fields(head, b"http")
    fields = dict(made.fields)
    assert fields[b":method"] == b"CONNECT"
    assert fields[b":protocol"] == b"websocket"
    assert fields[b"sec-websocket-version"] == b"13"
    assert b"sec-websocket-key" not in fields
    assert (made.framing, made.websocket_key) == (UNTIL_CLOSE, KEY)


def test_a_key_without_a_handshake_is_a_field() -> None:
    made = request_fields(request(b"Sec-WebSocket-Key: x"), b"http")
    assert made.fields[4:] == [(b"sec-websocket-key", b"x")]
    assert not made.websocket_key


@pytest.mark.parametrize(
    ("fields", "is_head", "framing"),
    [
        ([(b":status", b"200"), (b"content-length", b"3")], False, 3),
        ([(b":status", b"200")], False, CHUNKED),
        ([(b":status", b"200")], True, 0),
        ([(b":status", b"200"), (b"content-length", b"3")], True, 0),
        ([(b":status", b"204")], False, 0),
        ([(b":status", b"304"), (b"content-length", b"3")], False, 0),
        (
            [(b":status", b"599"), (b"set-cookie", b"a"), (b"set-cookie", b"b")],
            False,
            -1,
        ),
    ],
)
def test_a_response_reads_as_it_is_framed(
    fields: list[Field], is_head: bool, framing: int
) -> None:
    raw, said = response_head(tuple(fields), is_head=is_head)
    head = parse_response_head(raw, b"HEAD" if is_head else b"GET")
    assert said == framing == head.framing
    assert head.status == int(fields[0][1])
    assert head.keep_alive
    assert raw.count(b"set-cookie: ") == [name for name, _ in fields].count(
        b"set-cookie"
    )


def test_a_websocket_that_is_accepted_switches() -> None:
    fields = ((b":status", b"200"), (b"sec-websocket-protocol", b"chat"))
    raw, framing = response_head(fields, is_head=False, websocket_key=KEY)
    assert raw.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in raw
    assert framing == UNTIL_CLOSE


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nx: y"),
        (b"a", b"b\nx"),
        (b"a", b"b\rx"),
        (b"a\r\nb", b"c"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"1"),
        (b"upgrade", b"h2c"),
        (b"content-length", b"1x"),
        (b"content-length", b"-1"),
    ],
)
def test_what_would_read_otherwise_is_refused(field: Field) -> None:
    with pytest.raises(Malformed):
        response_head(((b":status", b"200"), field), is_head=False)


def test_two_lengths_are_refused() -> None:
    length = (b"content-length", b"3")
    with pytest.raises(Malformed):
        response_head(((b":status", b"200"), length, length), is_head=False)


def test_an_interim_response_is_a_head_of_its_own() -> None:
    fields = ((b":status", b"103"), (b"link", b"</a>"))
    assert interim_head(fields) == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    with pytest.raises(Malformed):
        interim_head(((b":status", b"101"),))
