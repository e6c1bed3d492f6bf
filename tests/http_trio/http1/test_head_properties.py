"""Any header that goes in comes out valid: nothing of the connection, nothing lost."""

from __future__ import annotations

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from http_trio.testing.peers import connected, proxying
from tests.http_trio.support.h11_peers import Judged, judge_response, judging_upstream
from tests.http_trio.support.strategies import Body, Field, bodies, fields, lines

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)
_OURS = frozenset(
    b"x-forwarded-for x-forwarded-proto x-forwarded-host forwarded".split()
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

_TIMES = 3  # a head that comes again is not parsed again, and means the same

any_fields = fields()


def end_to_end(sent: list[Field], also: frozenset[bytes] = frozenset()) -> list[Field]:
    """What of these a proxy passes on (RFC 9110 section 7.6.1), in order."""
    options = b",".join(value for name, value in sent if name.lower() == b"connection")
    named = {option.strip(b" \t") for option in options.lower().split(b",")}
    dropped = named | _HOP_BY_HOP | also
    return [
        (name.lower(), value) for name, value in sent if name.lower() not in dropped
    ]


@settings(max_examples=100)
@given(st.data(), any_fields, bodies())
async def test_of_a_request(data: st.DataObject, sent: list[Field], body: Body) -> None:
    raw = b"POST /a HTTP/1.1\r\nHost: test\r\n%b%b\r\n%b" % (
        data.draw(lines(sent)),
        body.field,
        body.framed,
    )
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        for _ in range(_TIMES):
            async with connected(proxy) as client:
                await client.send(raw)
                head, _ = await client.response()
                assert head.startswith(b"HTTP/1.1 200 "), head

    assert not judge.faults
    assert len(judge.asked) == _TIMES
    for asked in judge.asked:
        check_request(asked, sent, body)


def check_request(asked: Judged, sent: list[Field], body: Body) -> None:
    assert asked.body == body.content
    assert asked.values(b"host") == [b"test"]
    assert sum(name in _FRAMING for name, _ in asked.headers) == 1
    assert all(len(asked.values(name)) <= 1 for name in _OURS)
    assert asked.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert asked.values(b"via")[-1] == b"1.1 canary-trio"
    added = {b"host", *_OURS, *_FRAMING, *_HOP_BY_HOP}
    passed = [pair for pair in asked.headers if pair[0] not in added]
    assert passed[:-1] == end_to_end(sent, _OURS)


@settings(max_examples=100)
@given(
    st.data(),
    any_fields,
    bodies(),
    st.sampled_from([b"200 OK", b"404 ", b"301 Moved \xe9", b"599 ?!"]),
)
async def test_of_a_response(
    data: st.DataObject, sent: list[Field], body: Body, status: bytes
) -> None:
    response = b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (
        status,
        data.draw(lines(sent)),
        body.field or b"Content-Length: 0\r\n",
        body.framed,
    )
    async with judging_upstream(response) as judge, proxying(judge.upstream) as proxy:
        for _ in range(_TIMES):
            async with connected(proxy) as client:
                close = b"Connection: close\r\n\r\n"
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + close)
                check_response(await client.to_end(), status, sent, body)


def check_response(raw: bytes, status: bytes, sent: list[Field], body: Body) -> None:
    head, content = judge_response(raw)
    assert content == body.content
    assert raw.startswith(b"HTTP/1.1 " + status + b"\r\n")
    names = [name for name, _ in head.headers]
    assert sum(name in _FRAMING for name in names) == 1
    assert names.count(b"date") == 1
    assert names.count(b"connection") == 1
    added = {b"date", *_FRAMING, *_HOP_BY_HOP}
    passed = [pair for pair in head.headers if pair[0] not in added]
    assert passed == end_to_end(sent, frozenset({b"date"}))


def test_the_judge_sees_what_is_wrong() -> None:
    """So that the tests above could fail."""
    for raw in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 2\r\n\r\nok",
    ):
        try:
            judge_response(raw)
        except h11.RemoteProtocolError:
            continue
        raise AssertionError(raw)
