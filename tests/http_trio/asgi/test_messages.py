"""What an ASGI server tells of a request, as a head of HTTP/1.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.asgi.messages import read_request, read_websocket
from http_trio.errors import BadRequest
from http_trio.http1.framing import CHUNKED
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits


def scope(*fields: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"",
        "headers": [(b"host", b"example.org"), *fields],
        "server": ("127.0.0.1", 8443),
        "extensions": {},
        **more,
    }


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_the_target_is_as_sent() -> None:
    asked = read_request(scope(query_string=b"x=%31"))
    assert asked.lines[0] == b"GET /a%20b?x=%31 HTTP/1.1"


def test_a_server_that_keeps_no_raw_path_gets_it_quoted() -> None:
    asked = read_request(scope(raw_path=None, path="/a b/\u00e9?"))
    assert asked.lines[0] == b"GET /a%20b/%C3%A9%3F HTTP/1.1"


def test_what_concerns_the_connection_ends_here() -> None:
    asked = read_request(
        scope(
            (b"Connection", b"close, X-Hop, Content-Length"),
            (b"x-hop", b"1"),
            (b"keep-alive", b"3"),
            (b"te", b"trailers"),
            (b"expect", b"100-continue"),
            (b"upgrade", b"h2c"),
            (b"content-length", b"5"),
            (b"x-end", b"2"),
        )
    )
    assert lines(asked.head(5)) == [
        b"GET /a%20b HTTP/1.1",
        b"host: example.org",
        b"content-length: 5",
        b"x-end: 2",
    ]


def test_trailers_are_asked_for_where_the_server_has_them() -> None:
    extensions: dict[str, Any] = {"http.response.trailers": {}}
    asked = read_request(scope((b"te", b"trailers"), extensions=extensions))
    assert asked.lines[-2:] == (b"Connection: TE", b"TE: trailers")


def test_the_pieces_of_a_cookie_are_joined() -> None:
    asked = read_request(scope((b"cookie", b"a=1"), (b"cookie", b"b=2")))
    assert asked.lines[-1] == b"cookie: a=1; b=2"


@pytest.mark.parametrize(
    ("version", "fields", "framing"),
    [
        ("1.1", [], 0),
        ("1.1", [(b"content-length", b"7")], 7),
        ("1.1", [(b"transfer-encoding", b"chunked")], CHUNKED),
        ("2", [], None),
        ("2", [(b"content-length", b"7")], 7),
    ],
)
def test_framing(version: str, fields: Any, framing: int | None) -> None:
    assert read_request(scope(*fields, http_version=version)).framing == framing


def test_a_body_that_is_whole_gets_its_length() -> None:
    asked = read_request(scope(http_version="2", method="POST"))
    assert lines(asked.head(3))[-1] == b"Content-Length: 3"
    assert lines(asked.head(CHUNKED))[-1] == b"Transfer-Encoding: chunked"


def test_a_client_without_a_host_means_the_address_that_it_reached() -> None:
    asked = read_request(scope(headers=[], http_version="1.0", server=("::1", 80)))
    assert asked.lines[1] == b"host: [::1]:80"


@pytest.mark.parametrize(
    "bad",
    [
        scope((b"x", b"1\r\nevil: 1")),
        scope((b"x\r\ny", b"1")),
        scope((b"", b"1")),
        scope((b"x", b"\0")),
        scope(raw_path=b"/ HTTP/1.1\r\nevil: 1\r\n"),
        scope(query_string=b"a b"),
        scope(method="GET /x"),
        scope((b"content-length", b"1"), (b"content-length", b"1")),
        scope((b"content-length", b"1"), (b"transfer-encoding", b"chunked")),
    ],
)
def test_what_could_become_another_request_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_request(bad)


pairs = st.tuples(st.binary(max_size=8), st.binary(max_size=12))


@given(
    st.lists(pairs, max_size=4),
    st.binary(max_size=12),
    st.sampled_from(["1.0", "1.1", "2"]),
)
def test_whatever_leaves_is_one_request(
    fields: list[tuple[bytes, bytes]], path: bytes, version: str
) -> None:
    try:
        asked = read_request(scope(*fields, raw_path=b"/" + path, http_version=version))
    except BadRequest:
        return
    head = asked.head(0 if asked.framing is None else asked.framing)
    assert head.count(b"\r\n\r\n") == 1
    try:
        parsed = parse_request_head(head, Limits())
    except BadRequest:
        return
    assert parsed.framing == (asked.framing or 0)


def test_a_websocket_is_opened_anew() -> None:
    head = read_websocket(
        scope(
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-key", b"theirs"),
            (b"sec-websocket-extensions", b"permessage-deflate"),
            (b"sec-websocket-version", b"13"),
            (b"origin", b"https://example.org"),
            subprotocols=["a", "b"],
        ),
        b"ours",
    )
    assert lines(head)[1:] == [
        b"host: example.org",
        b"origin: https://example.org",
        b"Sec-WebSocket-Protocol: a, b",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: ours",
    ]
