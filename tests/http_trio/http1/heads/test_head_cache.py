"""Heads that come again: kept, bounded, and never told apart from others."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.http1.heads.head_cache import HeadCache
from http_trio.http1.request_head import RequestHead, parse_request_head, render_request
from http_trio.limits import Limits
from http_trio.testing.peers import (
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
)

LIMITS = Limits()


def test_a_head_is_kept_at_its_second_coming() -> None:
    known = HeadCache[str]()
    known.offer(b"a", "first")
    assert known.get(b"a") is None
    known.offer(b"a", "second")
    assert known.get(b"a") == "second"
    assert known.get(b"b") is None


def test_memory_is_bounded() -> None:
    known = HeadCache[int]()
    for turn in range(2):
        for number in range(20_000):
            known.offer(b"%d" % number, number)
            assert len(known._heads) <= 512, turn
            assert len(known._seen) <= 8192
    large = b"x" * 3000
    for _ in range(3):
        known.offer(large, 1)
    assert known.get(large) is None


def test_it_rests_where_each_head_is_another_and_looks_again_later() -> None:
    known = HeadCache[int]()
    for number in range(1025):
        known.offer(b"new %d" % number, number)
    for number in range(16_384):
        known.offer(b"again", number)
    assert known.get(b"again") is None
    for number in range(2):
        known.offer(b"again", number)
    assert known.get(b"again") == 1


def test_as_many_as_can_be_kept_are_noticed_however_they_come() -> None:
    known = HeadCache[int]()
    for turn in range(4):
        for number in range(512):
            known.offer(b"%d" % (number * 7 % 512), turn)
    assert all(known.get(b"%d" % number) for number in range(512))


def test_a_shared_head_cannot_be_changed() -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", LIMITS)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        head.kept = b"\r\nX: 1"


@given(
    st.sampled_from([b"h", b"g:80", None]),
    st.sampled_from([b"", b"\r\nX-A: 1", b"\r\nConnection: X-A\r\nX-A: 1"]),
    st.sampled_from([b"", b"\r\nContent-Length: 3", b"\r\nTransfer-Encoding: chunked"]),
    st.sampled_from([None, 0, 3, 5]),
    st.sampled_from([b"", b"/base"]),
)
def test_what_was_rendered_before_is_what_would_be_rendered(
    host: bytes | None, lines: bytes, frame: bytes, length: int | None, prefix: bytes
) -> None:
    version = b"1.0" if host is None else b"1.1\r\nHost: " + host
    if host is None and b"chunked" in frame:
        frame = b""
    raw = b"POST /p HTTP/%b%b%b\r\n\r\n" % (version, lines, frame)
    once, again = (parse_request_head(raw, LIMITS) for _ in range(2))
    assert once.start  # rendered

    def render(head: RequestHead, kept: bytes | None) -> bytes:
        return render_request(
            head, b"up", b"\r\nVia: x", length, prefix=prefix, kept=kept
        )

    changed = bytes(bytearray(again.kept))  # equal, but not the same: not the short way
    assert render(once, None) == render(again, changed + b"")


async def ok(asked: ReceivedRequest) -> None:
    user = next(
        (row for row in asked.head.split(b"\r\n") if row.startswith(b"X-User")), b""
    )
    await asked.response(b"ok " + asked.path + user)


async def test_a_request_that_comes_again_is_answered_as_before() -> None:
    record = RecordingHooks()
    async with fake_upstream(ok) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as one, connected(proxy) as two:
            seen = {
                await client.ask(b"/x", b"X-User: " + user)
                for _ in range(4)
                for client in (one, two)
                for user in (b"ann", b"bob")
            }
            assert {body for _, body in seen} == {
                b"ok /xX-User: ann",
                b"ok /xX-User: bob",
            }
            for _ in range(3):  # HEAD's response has the bytes of GET's, and no body
                head, _ = await one.ask(b"/x", b"X-User: ann", method=b"HEAD")
                assert b"Content-Length: 16" in head
                two_ways = [await two.ask(b"/x", b"X-User: ann") for _ in range(2)]
                assert {body for _, body in two_ways} == {b"ok /xX-User: ann"}
        sent = {asked.head for asked in fake.asked if asked.head.startswith(b"GET")}
        assert len(sent) == 2


async def test_a_known_request_may_be_cut_and_joined_as_others() -> None:
    request = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(3):
                await client.send(request)
                assert (await client.response())[1] == b"ok /x"
            for data in (request * 3, request[:9], request[9:] + request):
                await client.send(data)
            for _ in range(5):
                assert (await client.response())[1] == b"ok /x"


async def test_a_known_request_is_told_to_close_when_the_server_drains() -> None:
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(3):
                assert b"close" not in (await client.ask(b"/x"))[0]
            proxy.loop.drain()
            assert b"\r\nConnection: close" in (await client.ask(b"/x"))[0]
            assert await client.to_end() == b""
