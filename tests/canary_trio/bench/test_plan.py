"""URLs and requests as they are written, and what goes over the wire."""

from __future__ import annotations

import pytest

from canary_trio.bench.plan import BenchRequest, read_headers, read_target


@pytest.mark.parametrize(
    ("url", "host", "port", "secure"),
    [
        ("http://a", "a", 80, False),
        ("http://a/", "a", 80, False),
        ("https://a.example/x?y=1", "a.example", 443, True),
        ("http://127.0.0.1:9001/a", "127.0.0.1", 9001, False),
        ("https://[::1]:8443/", "[::1]", 8443, True),
        ("http://a?q=1", "a", 80, False),
    ],
)
def test_a_url_says_where(url: str, host: str, port: int, secure: bool) -> None:
    found = read_target(url)

    assert (found.host.host, found.host.port) == (host, port)
    assert found.secure is secure


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "127.0.0.1:80",
        "ftp://a/",
        "http://",
        "http://a:0/",
        "http://a:65536/",
        "http://u:p@a/",
        "http://a/#f",
        "http://a/ b",
        "http://a/ü",
        "http://[::1/",
        "http://a b/",
        "http://a/\n",
        "http:///x",
        "http://a..b/",
        "unix:/run/a",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"found .*expected"):
        read_target(url)


def test_a_request_is_written() -> None:
    request = BenchRequest("POST", (("X-A", "1"),), b"hello")

    raw = request.render(read_target("http://a:81/x?y"))

    head, _, body = raw.partition(b"\r\n\r\n")
    start, *fields = head.split(b"\r\n")
    assert start == b"POST /x?y HTTP/1.1"
    assert b"Host: a:81" in fields
    assert b"X-A: 1" in fields
    assert b"Content-Length: 5" in fields
    assert body == b"hello"


def test_its_own_fields_take_the_place_of_ours() -> None:
    headers = (("User-Agent", "mine"), ("Host", "other"), ("Accept", "a/b"))

    raw = BenchRequest(headers=headers).render(read_target("http://a/"))

    assert raw.count(b"User-Agent") == raw.count(b"Host:") == raw.count(b"Accept") == 1
    assert b"Host: other\r\n" in raw


@pytest.mark.parametrize(
    "request_",
    [
        BenchRequest("G T"),
        BenchRequest(""),
        BenchRequest(headers=(("a b", "1"),)),
        BenchRequest(headers=(("a", "1\r\nb: 2"),)),
        BenchRequest(headers=(("Content-Length", "5"),)),
        BenchRequest(headers=(("transfer-encoding", "chunked"),)),
        BenchRequest(headers=(("Connection", "close"),)),
        BenchRequest(headers=(("Host", "a"), ("Host", "b"))),
    ],
)
def test_what_cannot_be_sent_is_refused(request_: BenchRequest) -> None:
    with pytest.raises(ValueError, match=r"found|expected"):
        request_.render(read_target("http://a/"))


def test_headers_are_taken_apart() -> None:
    assert read_headers(["A: b:c", "D:"]) == (("A", "b:c"), ("D", ""))
    for wrong in ("A", "", ": b", " : b"):
        with pytest.raises(ValueError, match="expected 'NAME: VALUE'"):
            read_headers([wrong])
