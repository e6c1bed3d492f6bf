"""Responses' heads: what is refused, and what goes on to which client."""

from __future__ import annotations

import pytest

from http_trio.errors import BadResponse
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http1.response_head import parse_response_head, render_response


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
def test_a_bad_response_is_refused(raw: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_response_head(raw, b"GET")


def test_a_response_goes_on_with_its_fields_apart() -> None:
    head = parse_response_head(
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Set-Cookie: b=2\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n"
        b"Date: then\r\n\r\n",
        b"GET",
    )
    sent, framing = render_response(
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
def test_a_response_until_close_is_chunked_for_who_knows_chunks(
    to_http10: bool, framing: int
) -> None:
    head = parse_response_head(b"HTTP/1.1 200 OK\r\n\r\n", b"GET")

    sent, found = render_response(head, to_http10=to_http10, connection=b"", added=b"")

    assert found == framing
    assert (b"Connection: close" in sent) is to_http10
    assert (b"Transfer-Encoding: chunked" in sent) is not to_http10
