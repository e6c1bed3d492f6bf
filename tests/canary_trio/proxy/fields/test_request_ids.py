"""Which names of requests and traces are kept, and what others are given."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.fields.request_ids import (
    RandomHex,
    RequestIds,
    Traces,
    is_traceparent,
)

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def hexes() -> RandomHex:
    return RandomHex(random.Random(1).randbytes)


def ids() -> RequestIds:
    return RequestIds("X-Request-Id", hexes())


@pytest.mark.parametrize(
    "name", [b"X-Request-Id", b"x-request-id", b"X-REQUEST-ID", b"X-Request-ID"]
)
@pytest.mark.parametrize("value", [b"a", b"f058ebd6-02f7-4d3f-942e", b"A" * 128])
def test_a_harmless_name_is_kept(name: bytes, value: bytes) -> None:
    kept = b"\r\nA: b\r\n%b:  %b \r\nC: d" % (name, value)

    assert ids().name(kept) == (value, kept, b"")


@pytest.mark.parametrize(
    "value", [b"", b"A" * 129, b"a b", b'"x"', b"<script>", b"a\xe9", b"a,b", b"a;b"]
)
def test_another_is_replaced(value: bytes) -> None:
    name, kept, line = ids().name(b"\r\nA: b\r\nX-Request-ID: %b\r\nC: d" % value)

    assert re.fullmatch(rb"[0-9a-f]{32}", name)
    assert kept == b"\r\nA: b\r\nC: d"
    assert line == b"\r\nX-Request-Id: " + name


def test_two_names_are_none() -> None:
    name, kept, line = ids().name(b"\r\nX-Request-Id: a\r\nA: b\r\nx-request-id: c")

    assert kept == b"\r\nA: b"
    assert line.endswith(name)
    assert name not in (b"a", b"c")


def test_a_name_at_another_place_is_none() -> None:
    kept = b"\r\nNot-X-Request-Id: a\r\nB: X-Request-Id: c"

    assert ids().name(kept)[1] == kept


def test_names_differ() -> None:
    made = ids()

    assert len({made.name(b"")[0] for _ in range(2000)}) == 2000


def test_chance_is_asked_rarely() -> None:
    asked: list[int] = []

    def draw(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    digits = RandomHex(draw)
    for _ in range(1000):
        assert len(digits.take(32)) == 32
    assert len(asked) == 4


def traces(sampled: float = 0.0) -> Traces:
    return Traces(sampled, hexes(), lambda: 0.5)


@pytest.mark.parametrize("name", [b"traceparent", b"Traceparent", b"TRACEPARENT"])
def test_a_valid_trace_goes_on_as_it_came(name: bytes) -> None:
    kept = b"\r\n%b: %b \r\ntracestate: a=1" % (name, TRACE)

    assert traces().start(kept) == (kept, b"")


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\r\ntracestate: a=1",
        b"\r\ntraceparent: \r\ntracestate: a=1",
        b"\r\ntraceparent: " + TRACE.upper() + b"\r\ntracestate: a=1",
        b"\r\ntraceparent: " + TRACE + b"\r\ntraceparent: " + TRACE,
    ],
)
def test_without_a_valid_one_a_trace_is_started(kept: bytes) -> None:
    left, line = traces().start(kept)

    assert left == b""
    assert line.startswith(b"\r\ntraceparent: 00-")
    value = line.partition(b": ")[2]
    assert is_traceparent(value)
    assert value.endswith(b"-00")


def test_a_share_of_them_is_to_be_recorded() -> None:
    assert traces(sampled=0.6).start(b"")[1].endswith(b"-01")
    assert traces(sampled=0.5).start(b"")[1].endswith(b"-00")


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (TRACE, True),
        (TRACE + b"-extra", False),
        (b"01" + TRACE[2:], True),
        (b"01" + TRACE[2:] + b"-extra", True),
        (b"01" + TRACE[2:] + b"extra", False),
        (b"ff" + TRACE[2:], False),
        (b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01", False),
        (TRACE[:-1], False),
        (TRACE[:-1] + b"g", False),
    ],
)
def test_which_traceparents_are_valid(value: bytes, valid: bool) -> None:
    assert is_traceparent(value) is valid


@given(st.binary(max_size=80))
def test_any_bytes_can_be_judged(value: bytes) -> None:
    is_traceparent(value)
