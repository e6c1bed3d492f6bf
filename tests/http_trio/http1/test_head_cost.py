"""What a head costs: twice the bytes are twice the steps, and no byte is dear."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from http_trio.errors import BadRequest
from http_trio.hosts.host_field import HOST_SIZE
from http_trio.http1.request_head import check_unfinished_head, parse_request_head
from http_trio.http1.response_head import parse_response_head
from http_trio.limits import Limits

LIMITS = Limits()
WIDE = Limits(head=1 << 20, fields=1 << 20)


def _members(count: int) -> bytes:
    return b",".join(b"%x" % (at + 70_000) for at in range(count))


def _lines(name: bytes, count: int) -> bytes:
    return b"".join(b"\r\n%b%x: a" % (name, at) for at in range(count))


SHAPES: dict[str, Callable[[int], bytes]] = {
    "options": lambda n: b"\r\nConnection: " + _members(n),
    "options of many fields": lambda n: b"".join(
        b"\r\nConnection: %x" % (at + 90_000) for at in range(n)
    ),
    "options that are there": lambda n: (
        b"\r\nConnection: "
        + b",".join(b"x-%x" % at for at in range(n))
        + _lines(b"X-", n)
    ),
    "te": lambda n: b"\r\nTE: " + _members(n),
    "forwarded": lambda n: _lines(b"Forwarded-", n),
    "upgrades": lambda n: b"\r\nConnection: upgrade\r\nUpgrade: " + _members(n),
    "commas": lambda n: b"\r\nConnection: " + b"," * n,
    "spaces": lambda n: b"\r\nConnection: a" + b" " * n + b"b",
    "fields": lambda n: _lines(b"C", n),
}


def steps_of_parsing(lines: bytes, *, response: bool) -> int:
    """Count the calls that Python makes, in its own code and in C."""
    count = 0

    def profile(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    start = b"HTTP/1.1 200 OK" if response else b"GET / HTTP/1.1\r\nHost: h"
    raw = start + lines + b"\r\n\r\n"
    sys.setprofile(profile)
    try:
        if response:
            parse_response_head(raw, b"GET")
        else:
            parse_request_head(raw, WIDE)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("response", [False, True], ids=["request", "response"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_head_costs_what_its_bytes_do(shape: str, *, response: bool) -> None:
    small, large = SHAPES[shape](2000), SHAPES[shape](4000)
    steps = steps_of_parsing(small, response=response)
    twice = steps_of_parsing(large, response=response)

    assert twice <= 2 * steps + 100
    assert twice <= len(large) + 100  # one pass: no pattern is made for each name


class Counted(bytes):
    """Bytes that count how many of them were looked over for line ends."""

    looked = 0

    def count(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        Counted.looked += len(self) - start
        return super().count(sub, start)


def test_a_head_that_comes_byte_by_byte_is_read_over_once() -> None:
    raw = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000
    Counted.looked = 0
    for end in range(1, len(raw) + 1):
        check_unfinished_head(Counted(raw[:end]), LIMITS, end - 1)
    assert Counted.looked <= 3 * len(raw)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_bare_lf_is_seen_however_the_head_is_split(size: int) -> None:
    raw = b"GET / HTTP/1.1\r\nA: b\r\nB: c\nC: d"

    def check_all() -> None:
        for at in range(size, len(raw) + size, size):
            check_unfinished_head(raw[:at], LIMITS, at - size)

    with pytest.raises(BadRequest, match="bare LF"):
        check_all()


@pytest.mark.parametrize(
    "host", [b"a." * 15_000, b"a" * (HOST_SIZE + 1), b"[" + b":" * 9000 + b"]"]
)
def test_a_host_beyond_any_name_is_refused(host: bytes) -> None:
    for raw in (
        b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
        b"GET http://%b/ HTTP/1.1\r\nHost: a\r\n\r\n" % host,
    ):
        with pytest.raises(BadRequest) as caught:
            parse_request_head(raw, Limits(request_line=1 << 20, head=1 << 20))
        assert caught.value.status == 400


def test_the_longest_name_with_a_port_passes() -> None:
    host = b"a" * 255 + b":65535"
    raw = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host
    assert parse_request_head(raw, LIMITS).host == host
