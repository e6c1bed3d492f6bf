"""A proxy between a client and an upstream, both of them well behaved."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
import trio

from http_trio import FailureReason, ForwardedPolicy, Limits, Upstream
from http_trio.testing.peers import (
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
)


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok " + asked.path)


def nobody() -> Upstream:
    """An upstream at a port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = (socket.AF_INET, sock.getsockname())
    return Upstream("nobody", [address], b"nobody")


async def test_one_upstream_connection_serves_many_requests() -> None:
    record = RecordingHooks()
    async with fake_upstream(ok) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            for path in (b"/1", b"/2", b"/3"):
                head, body = await client.ask(path)
                assert body == b"ok " + path
                assert b"\r\nX-Added: down" in head
        assert fake.connections == 1
        assert b"\r\nX-Added: up" in fake.asked[0].head
    assert record.ends == [(200, None)] * 3


@pytest.mark.parametrize("size", [0, 3, 60_000, 300_000, 2_000_000])
async def test_bodies_arrive_whole_both_ways(size: int) -> None:
    sent, back = os.urandom(size), os.urandom(size)

    async def script(asked: ReceivedRequest) -> None:
        assert asked.body == sent
        await asked.response(back)

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(3):
                _, body = await client.ask(b"/", method=b"POST", body=sent)
                assert body == back


async def test_a_small_body_that_comes_late_is_sent_whole() -> None:
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc"
            )
            await trio.testing.wait_all_tasks_blocked()
            assert not fake.asked
            await client.send(b"def")
            assert (await client.response())[1] == b"ok /"
        assert fake.asked[0].body == b"abcdef"


async def test_a_chunked_response_streams_as_it_comes() -> None:
    go_on = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        )
        await go_on.wait()
        await asked.stream.send_all(b"3;x\r\ntwo\r\n0\r\n\r\n")

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.until(b"3\r\none\r\n")
            go_on.set()
            assert await client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n"
            assert b"Transfer-Encoding" in (await client_head(client))
        assert fake.connections == 1


async def client_head(client: object) -> bytes:
    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")  # type: ignore[attr-defined]
    head: bytes = await client.head()  # type: ignore[attr-defined]
    return head


async def test_both_directions_stream_at_once() -> None:
    async def script(asked: ReceivedRequest) -> None:
        stream = asked.stream
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        buffer = b""
        while b"0\r\n\r\n" not in buffer:
            data = await stream.receive_some()
            buffer += data
            if b"ping" in data:
                await stream.send_all(b"4\r\npong\r\n")
        await stream.send_all(b"0\r\n\r\n")

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await client.head()
            for _ in range(3):
                await client.send(b"4\r\nping\r\n")
                await client.until(b"4\r\npong\r\n")
            await client.send(b"0\r\n\r\n")
            await client.until(b"0\r\n\r\n")


async def test_backpressure_reaches_the_upstream() -> None:
    sent = 0

    async def script(asked: ReceivedRequest) -> None:
        nonlocal sent
        await asked.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            await asked.stream.send_all(b"x" * 100_000)
            sent += 100_000
        await asked.stream.aclose()

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.head()
            for _ in range(50):
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert sent < 50_000_000, "the proxy swallowed it all"
            received = len(client.buffer)
            while data := await client.stream.receive_some(1_000_000):
                received += len(data)
            assert received == 100_000_000


async def test_an_early_response_ends_the_upload() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        )

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
            )
            head, body = await client.response()
            assert head.startswith(b"HTTP/1.1 403 Forbidden")
            assert b"Connection: close" in head
            assert body == b"no"
            assert await client.to_end() == b""


@pytest.mark.parametrize(
    ("response", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True),
    ],
    ids=["length", "large", "chunked", "in-chunk", "until-close"],
)
async def test_a_cut_response_is_seen_to_be_cut(response: bytes, whole: bool) -> None:
    record = RecordingHooks()

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(response)
        await asked.stream.aclose()

    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            with contextlib.suppress(AssertionError):
                await client.until(b"abc\r\n0\r\n\r\n")
            assert (b"abc" not in client.buffer) is whole
    failure = record.ends[0][1]
    assert whole or (failure is not None and failure.condition is FailureReason.CLOSED)


@pytest.mark.parametrize("size", [3, 100_000], ids=["small", "large"])
async def test_a_cut_response_is_a_reset_where_its_end_says_nothing(size: int) -> None:
    cut = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
            % (size, b"a" * size)
        )
        await cut.wait()
        await asked.stream.aclose()

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.head()
            assert await client.exactly(size) == b"a" * size
            cut.set()
            with pytest.raises(trio.BrokenResourceError):
                await client.stream.receive_some()


@pytest.mark.parametrize(
    ("response", "condition"),
    [
        (b"SMTP ready\r\n\r\n", FailureReason.BAD_RESPONSE),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", FailureReason.BAD_RESPONSE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000, FailureReason.BAD_RESPONSE),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            FailureReason.BAD_RESPONSE,
        ),
        (b"", FailureReason.CLOSED),
        (b"HTTP/1.1 200", FailureReason.CLOSED),
    ],
    ids=["smtp", "101", "large", "chunks", "nothing", "half"],
)
@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_an_upstream_without_a_usable_response_is_502(
    response: bytes, condition: FailureReason, path: str
) -> None:
    record = RecordingHooks()

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(response)
        await asked.stream.aclose()

    framing = b"Content-Length: 0" if path == "fast" else b"Transfer-Encoding: chunked"
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
            if path == "slow":
                await trio.testing.wait_all_tasks_blocked(0.01)
                await client.send(b"0\r\n\r\n")
            head, _ = await client.response()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert [failure.condition for failure in record.failures] == (
        [condition] if path == "fast" else []
    )
    assert record.ends[0][0] == 502
    assert record.ends[0][1] is not None
    assert record.ends[0][1].condition is condition


async def test_an_upstream_that_refuses_is_502_and_one_that_is_slow_504() -> None:
    async with proxying(nobody()) as proxy, connected(proxy) as client:
        assert (await client.ask())[0].startswith(b"HTTP/1.1 502 ")
        assert (await client.ask())[0].startswith(b"HTTP/1.1 502 ")

    async def silent(_: ReceivedRequest) -> None:
        await trio.sleep_forever()

    limits = Limits(response_s=0.05)
    async with (
        fake_upstream(silent) as fake,
        proxying(fake.upstream, None, limits) as proxy,
        connected(proxy) as client,
    ):
        assert (await client.ask())[0].startswith(b"HTTP/1.1 504 ")


async def test_a_server_out_of_reach_is_504() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = []
        for _ in range(3):  # one more than its queue takes: the next must wait
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        upstream = Upstream("full", [(socket.AF_INET, address)], b"full")
        async with proxying(upstream, None, Limits(connect_s=0.05)) as proxy:
            async with connected(proxy) as client:
                assert (await client.ask())[0].startswith(b"HTTP/1.1 504 ")
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_hooks_may_send_it_elsewhere(path: str) -> None:
    async with fake_upstream(ok) as fake:
        record = RecordingHooks([nobody(), fake.upstream])
        async with proxying(nobody(), record) as proxy, connected(proxy) as client:
            if path == "fast":
                _, body = await client.ask(b"/x")
            else:
                _, body = await client.ask(b"/x", method=b"PUT", body=b"y" * 100_000)
            assert body == b"ok /x"
    assert [failure.sent for failure in record.failures] == [False, False]
    assert record.ends == [(200, None)]


async def test_a_full_upstream_is_503() -> None:
    waiting = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        waiting.set()
        await trio.sleep_forever()

    limits = Limits(upstream_connections=1)
    async with (
        fake_upstream(script) as fake,
        proxying(fake.upstream, None, limits) as proxy,
    ):
        async with connected(proxy) as first, connected(proxy) as second:
            await first.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await waiting.wait()
            assert (await second.ask())[0].startswith(b"HTTP/1.1 503 ")


async def test_a_kept_connection_that_closed_costs_no_request() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await ok(asked)
        await asked.stream.aclose()

    record = RecordingHooks()
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            for method in (b"GET", b"POST", b"GET", b"POST"):
                head, _ = await client.ask(b"/", method=method)
                assert head.startswith(b"HTTP/1.1 200 ")
    assert not record.failures


async def test_a_stale_connection_is_retried_on_a_new_one() -> None:
    async def script(asked: ReceivedRequest) -> None:
        if asked.connection == 1 and asked.path == b"/second":
            await asked.stream.aclose()
        else:
            await ok(asked)

    record = RecordingHooks()
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.ask(b"/first")
            assert (await client.ask(b"/second"))[1] == b"ok /second"
            await client.ask(b"/third")
        assert fake.connections == 2
    assert not record.failures


async def test_what_may_not_be_repeated_is_not() -> None:
    async def script(asked: ReceivedRequest) -> None:
        if asked.path == b"/second":
            await asked.stream.aclose()
        else:
            await ok(asked)

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.ask(b"/first")
            head, _ = await client.ask(b"/second", method=b"POST", body=b"x")
            assert head.startswith(b"HTTP/1.1 502 ")
        assert [asked.path for asked in fake.asked] == [b"/first", b"/second"]


async def test_a_response_with_too_much_ends_its_connection() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"
        )

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(3):
                assert (await client.ask())[1] == b"ok"
        assert fake.connections == 3


async def test_interim_responses_go_before_the_final_one() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await ok(asked)

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            head, _ = await client.ask()
            assert head == b"HTTP/1.1 103 Early Hints\r\nLink: </a>"
            assert (await client.response())[1] == b"ok /"
        async with connected(proxy) as old:
            await old.send(b"GET / HTTP/1.0\r\n\r\n")
            assert b"103" not in await old.to_end()


async def test_a_client_that_goes_releases_the_upstream() -> None:
    asked_for, released = trio.Event(), trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        asked_for.set()
        assert not await asked.stream.receive_some()
        released.set()

    record = RecordingHooks()
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked_for.wait()
            client.stream.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            await trio.aclose_forcefully(client.stream)
        with trio.fail_after(30):
            await released.wait()
    assert record.ends == [(0, None)]


@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_broken_upload_never_looks_whole(size: int) -> None:
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\nab" % size
            )
            await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not fake.asked


async def test_a_bad_chunk_in_an_upload_is_400() -> None:
    async def silent(_: ReceivedRequest) -> None:
        await trio.sleep_forever()

    async with fake_upstream(silent) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"
            )
            await trio.testing.wait_all_tasks_blocked(0.01)
            await client.send(b"cX\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 400 ")


async def test_a_websocket_is_a_tunnel_with_two_ends() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nearly"
        )
        while data := await asked.stream.receive_some():
            await asked.stream.send_all(data.upper())
        await asked.stream.send_all(b"bye")
        await asked.stream.aclose()

    record = RecordingHooks()
    said = b"\x82\x8a\0\0\0\0also early"
    clients = ForwardedPolicy(half_close=True)
    async with (
        fake_upstream(script) as fake,
        proxying(fake.upstream, record, clients=clients) as proxy,
    ):
        async with connected(proxy) as client:
            await client.send(
                b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n" + said
            )
            head = await client.head()
            assert b"\r\nUpgrade: websocket" in head
            assert await client.exactly(5 + len(said)) == b"early" + said.upper()
            await client.stream.send_eof()
            assert await client.to_end() == b"bye"
    assert record.ends == [(101, None)]


async def test_nothing_leaks() -> None:
    async def script(asked: ReceivedRequest) -> None:
        if asked.path == b"/large":
            await asked.response(b"x" * 200_000)
        elif asked.path == b"/gone":
            await asked.stream.aclose()
        else:
            await ok(asked)

    async with fake_upstream(script) as fake:
        upstream = fake.upstream
        async with proxying(upstream) as proxy:
            for path in (b"/a", b"/large", b"/gone") * 5:
                async with connected(proxy) as client:
                    await client.ask(path)
            with trio.fail_after(30):
                while proxy.connections:
                    await trio.testing.wait_all_tasks_blocked(0.001)
            assert upstream.open == len(upstream.idle)
        assert upstream.open == 0
