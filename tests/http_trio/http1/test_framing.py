"""Where a body ends, and which messages leave that in doubt."""

from __future__ import annotations

import pytest

from http_trio.errors import BadRequest, BadResponse
from http_trio.http1.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    request_framing,
    response_framing,
)


@pytest.mark.parametrize(
    ("lengths", "codings", "framing"),
    [
        ([], [], 0),
        ([b"0"], [], 0),
        ([b"17"], [], 17),
        ([b"007"], [], 7),
        ([], [b"chunked"], CHUNKED),
        ([], [b"Chunked"], CHUNKED),
        ([], [b" chunked\t"], CHUNKED),
    ],
)
def test_a_request_with_one_framing(
    lengths: list[bytes], codings: list[bytes], framing: int
) -> None:
    assert request_framing(lengths, codings, http10=False) == framing


@pytest.mark.parametrize(
    ("lengths", "codings", "status"),
    [
        ([b"3"], [b"chunked"], 400),
        ([b"3", b"3"], [], 400),
        ([b"3", b"5"], [], 400),
        ([b"3,3"], [], 400),
        ([b"+3"], [], 400),
        ([b"-1"], [], 400),
        ([b""], [], 400),
        ([b"0x3"], [], 400),
        ([b"1_0"], [], 400),
        ([b"\xb2"], [], 400),
        ([b"9" * 19], [], 400),
        ([], [b"chunked, identity"], 400),
        ([], [b"chunked, chunked"], 400),
        ([], [b"chunked", b"chunked"], 400),
        ([], [b""], 400),
        ([], [b"gzip"], 400),
        ([], [b"gzip, chunked"], 501),
        ([], [b"gzip", b"chunked"], 501),
        ([], [b"xchunked"], 400),
    ],
)
def test_a_request_of_doubtful_framing_is_refused(
    lengths: list[bytes], codings: list[bytes], status: int
) -> None:
    with pytest.raises(BadRequest) as caught:
        request_framing(lengths, codings, http10=False)

    assert caught.value.status == status


def test_http10_knows_no_chunks() -> None:
    with pytest.raises(BadRequest):
        request_framing([], [b"chunked"], http10=True)
    with pytest.raises(BadResponse):
        response_framing(200, b"GET", [], [b"chunked"], http10=True)


@pytest.mark.parametrize(
    ("status", "method", "lengths", "codings", "framing"),
    [
        (200, b"GET", [b"5"], [], 5),
        (200, b"GET", [], [b"chunked"], CHUNKED),
        (200, b"GET", [], [], UNTIL_CLOSE),
        (200, b"HEAD", [b"5"], [], 0),
        (200, b"HEAD", [], [b"chunked"], 0),
        (204, b"GET", [], [], 0),
        (304, b"GET", [b"77"], [], 0),
        (103, b"GET", [], [], 0),
        (404, b"POST", [b"0"], [], 0),
    ],
)
def test_where_a_response_ends(
    status: int, method: bytes, lengths: list[bytes], codings: list[bytes], framing: int
) -> None:
    found = response_framing(status, method, lengths, codings, http10=False)

    assert found == framing


@pytest.mark.parametrize(
    ("lengths", "codings"),
    [
        ([b"3"], [b"chunked"]),
        ([b"3", b"4"], []),
        ([b"x"], []),
        ([], [b"gzip, chunked"]),
        ([], [b"gzip"]),
    ],
)
def test_a_response_of_doubtful_framing_is_refused(
    lengths: list[bytes], codings: list[bytes]
) -> None:
    for method in (b"GET", b"HEAD"):
        with pytest.raises(BadResponse):
            response_framing(200, method, lengths, codings, http10=False)
