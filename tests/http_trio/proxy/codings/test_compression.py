"""What may be compressed, and what its head says then."""

from __future__ import annotations

import re

import pytest

from http_trio import Limits
from http_trio.http1.fields import find_values
from http_trio.http1.request_head import parse_request_head
from http_trio.http1.response_head import ResponseHead, parse_response_head
from http_trio.proxy.codings.coders import CODINGS
from http_trio.proxy.codings.compression import Compression
from http_trio.proxy.codings.negotiation import ACCEPT_BYTES

TYPES = [b"text/*", b"application/json", b"application/*+json"]
RULE = Compression(TYPES, codings=(b"gzip",), least=10)
ACCEPT = b"Accept-Encoding: gzip"
JSON = b"Content-Type: application/json"


def response(
    *lines: bytes,
    status: bytes = b"200",
    length: bytes = b"Content-Length: 1000",
    asked: tuple[bytes, ...] = (ACCEPT,),
    method: bytes = b"GET",
    version: bytes = b"1.1",
    rule: Compression = RULE,
) -> tuple[ResponseHead, bool]:
    """Give a response's head after the rule was asked, and whether it is encoded."""
    request = b"\r\n".join([b"%b / HTTP/%b" % (method, version), b"Host: a", *asked])
    fields = [line for line in (*lines, length) if line]
    raw = b"\r\n".join([b"HTTP/1.1 %b X" % status, *fields, b"", b""])
    head = parse_response_head(raw, method)
    found = rule.begin(parse_request_head(request + b"\r\n\r\n", Limits()), head)
    return head, found is not None


def values(head: ResponseHead, name: bytes) -> list[bytes]:
    return find_values(head.kept, name)


def test_what_is_encoded_says_so() -> None:
    head, encoded = response(
        JSON, b'ETag: "a"', b"Accept-Ranges: bytes", b"Vary: Origin", b"X: y"
    )
    assert encoded
    assert values(head, b"content-encoding") == [b"gzip"]
    assert values(head, b"etag") == [b'W/"a"']
    assert values(head, b"vary") == [b"Origin", b"Accept-Encoding"]
    assert values(head, b"accept-ranges") == []
    assert values(head, b"x") == [b"y"]
    assert head.length is None


@pytest.mark.parametrize(
    "media",
    [
        b"application/json; charset=utf-8",
        b"Application/JSON",
        b"application/json ;a=b",
        b"text/html",
        b"application/ld+json",
    ],
)
def test_types_are_known_however_they_are_written(media: bytes) -> None:
    assert response(b"Content-Type: " + media)[1]


@pytest.mark.parametrize("status", [b"200", b"201", b"203", b"404", b"500", b"503"])
def test_errors_are_encoded_too(status: bytes) -> None:
    assert response(JSON, status=status)[1]


@pytest.mark.parametrize("length", [b"", b"Transfer-Encoding: chunked"])
def test_what_has_no_length_is_encoded(length: bytes) -> None:
    assert response(JSON, length=length)[1]


UNTOUCHED: list[tuple[bytes, ...]] = [
    (b"Content-Type: image/png",),
    (b"Content-Type: text/event-stream",),
    (b"Content-Type: application/grpc+json",),
    (b"Content-Type: application/octet-stream",),
    (JSON, b"Content-Encoding: br"),
    (JSON, b"Content-Encoding: identity"),
    (JSON, b"Content-Range: bytes 0-1/10"),
    (JSON, b"Cache-Control: no-transform"),
    (JSON, b"Cache-Control: max-age=3,NO-TRANSFORM , private"),
    (JSON, b"Cache-Control: private", b"cache-control: no-transform"),
    (JSON, JSON),
    (),
]


@pytest.mark.parametrize("lines", UNTOUCHED, ids=str)
def test_what_may_not_be_encoded_goes_as_it_came(lines: tuple[bytes, ...]) -> None:
    head, encoded = response(*lines, b'ETag: "a"', b"Accept-Ranges: bytes")
    assert not encoded
    assert values(head, b"vary") == []
    assert values(head, b"etag") == [b'"a"']
    assert values(head, b"accept-ranges") == [b"bytes"]
    assert head.length == b"1000"


@pytest.mark.parametrize("status", [b"204", b"205", b"206"])
def test_no_body_and_a_part_of_one_stay(status: bytes) -> None:
    head, encoded = response(JSON, b'ETag: "a"', status=status)
    assert not encoded
    assert values(head, b"etag") == [b'"a"']


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (b"Accept-Encoding:",),
        (b"Accept-Encoding: br",),
        (b"Accept-Encoding: gzip" + b",x" * ACCEPT_BYTES,),
        (b"Accept-Encoding: gzip;q=0",),
        (b"Accept-Encoding: identity;q=0",),
        (ACCEPT, b"Cache-Control: no-transform"),
    ],
    ids=lambda asked: str(asked)[:40],
)
def test_who_does_not_ask_is_told_that_others_get_another(
    asked: tuple[bytes, ...],
) -> None:
    head, encoded = response(JSON, b'ETag: "a"', asked=asked)
    assert not encoded
    assert values(head, b"vary") == [b"Accept-Encoding"]
    assert values(head, b"etag") == [b'"a"']
    assert head.length == b"1000"


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Digest: sha-256=:a:",),
        (b"repr-digest: sha-256=:a:",),
        (b"Digest: a",),
        (b"Content-MD5: a",),
        (b"Signature: a=:b:",),
    ],
)
def test_what_vouches_for_its_bytes_stays(lines: tuple[bytes, ...]) -> None:
    head, encoded = response(JSON, *lines)
    assert not encoded
    assert values(head, b"vary") == [b"Accept-Encoding"]


def test_small_ones_and_clients_of_http10_are_told_vary_only() -> None:
    for head, encoded in (
        response(JSON, length=b"Content-Length: 9"),
        response(JSON, length=b"Content-Length: 0"),
        response(JSON, version=b"1.0"),
    ):
        assert not encoded
        assert values(head, b"vary") == [b"Accept-Encoding"]
        assert head.length is not None


@pytest.mark.parametrize("refused", [b"identity;q=0", b"*;q=0"])
def test_small_ones_are_encoded_for_who_takes_nothing_else(refused: bytes) -> None:
    asked = (b"Accept-Encoding: gzip, " + refused,)
    assert response(JSON, length=b"Content-Length: 1", asked=asked)[1]
    assert not response(JSON, length=b"Content-Length: 0", asked=asked)[1]


def test_several_fields_of_accept_encoding_are_one_list() -> None:
    asked = (b"Accept-Encoding: br", b"accept-encoding: gzip;q=0.1")
    assert response(JSON, asked=asked)[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((b"Vary: *",), [b"*"]),
        ((b"Vary: accept-encoding",), [b"accept-encoding"]),
        ((b"Vary: A, Accept-Encoding",), [b"A, Accept-Encoding"]),
        (
            (b"Vary: X-Accept-Encoding",),
            [b"X-Accept-Encoding", b"Accept-Encoding"],
        ),
        ((b"Vary: A", b"Vary: B"), [b"A", b"B", b"Accept-Encoding"]),
    ],
)
def test_vary_is_added_where_it_is_not_said(
    before: tuple[bytes, ...], after: list[bytes]
) -> None:
    assert values(response(JSON, *before)[0], b"vary") == after


def test_a_weak_etag_stays_weak() -> None:
    assert values(response(JSON, b'ETag: W/"a"')[0], b"etag") == [b'W/"a"']


def test_head_is_answered_as_get_but_not_encoded() -> None:
    head, encoded = response(JSON, b'ETag: "a"', method=b"HEAD")
    assert not encoded
    assert head.length is None  # it is not that of the response to GET
    assert values(head, b"etag") == [b'W/"a"']
    assert values(head, b"content-encoding") == []
    small, _ = response(JSON, method=b"HEAD", length=b"Content-Length: 9")
    assert small.length == b"9"


@pytest.mark.parametrize(
    ("known", "etag"),
    [
        (b'W/"a"', b'W/"a"'),
        (b'"x", W/"a"', b'W/"a"'),
        (b'"a"', b'"a"'),
        (b'"a", W/"a"', b'"a"'),
        (b"*", b'"a"'),
    ],
)
def test_304_names_what_the_client_has(known: bytes, etag: bytes) -> None:
    asked = (ACCEPT, b"If-None-Match: " + known)
    head, encoded = response(b'ETag: "a"', status=b"304", length=b"", asked=asked)
    assert not encoded
    assert values(head, b"etag") == [etag]
    assert values(head, b"vary") == [b"Accept-Encoding"]


def test_event_streams_are_encoded_where_they_are_named() -> None:
    rule = Compression([b"text/event-stream"], codings=(b"gzip",))
    media = b"Content-Type: text/event-stream"
    assert response(media, length=b"", rule=rule)[1]
    assert not response(JSON, rule=rule)[1]


def test_no_more_at_a_time_than_are_allowed() -> None:
    rule = Compression(TYPES, codings=(b"gzip",), at_once=1)
    asked = parse_request_head(
        b"GET / HTTP/1.1\r\nHost: a\r\n" + ACCEPT + b"\r\n\r\n", Limits()
    )

    def begin() -> object:
        raw = b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\nContent-Length: 5000\r\n\r\n"
        return rule.begin(asked, parse_response_head(raw, b"GET"))

    first = begin()
    assert (first is not None, rule.in_progress) == (True, 1)
    assert begin() is None
    del first
    assert begin() is not None


def test_a_coding_that_there_is_not_is_passed_over() -> None:
    rule = Compression(TYPES, codings=(b"br", b"gzip"), least=10)
    head, _ = response(JSON, asked=(b"Accept-Encoding: br, gzip",), rule=rule)
    assert values(head, b"content-encoding") == [b"gzip"]
    assert re.fullmatch(rb"(zstd )?gzip", b" ".join(CODINGS))
