"""What hooks decide: how long, whether again, and what is said of a failure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import ClassVar

import pytest
import trio

from http_trio import (
    Exchange,
    Failure,
    FailureReason,
    ForwardedRequest,
    ForwardHooks,
    Limits,
    Response,
    Retry,
    Timeouts,
    Upstream,
    forward,
)
from http_trio.http1.response_head import ResponseHead
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
    serving,
)

Decide = Callable[[ForwardedRequest, ResponseHead], Upstream | Retry | None]


def nobody() -> Upstream:
    """An upstream at a port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = (socket.AF_INET, sock.getsockname())
    return Upstream("nobody", [address], b"nobody")


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok " + asked.path)


async def silent(_: ReceivedRequest) -> None:
    await trio.sleep_forever()


async def busy(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-Why: load\r\n\r\nbusy"
    )


class Timed(RecordingHooks):
    """A record with waits of its own."""

    def __init__(self, timeouts: Timeouts) -> None:
        super().__init__()
        self.timeouts = timeouts


class Reader(RecordingHooks):
    """A record that looks at responses."""

    __slots__ = ("bytes", "decide", "repeatable")

    reads_responses: ClassVar[bool] = True

    def __init__(self, decide: Decide) -> None:
        super().__init__()
        self.decide = decide
        self.repeatable: list[bool] = []
        self.bytes: list[int] = []

    def on_response(
        self, request: ForwardedRequest, head: ResponseHead
    ) -> Upstream | Retry | None:
        self.repeatable.append(request.can_repeat)
        return self.decide(request, head)

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        super().on_end(request, status, failure)
        self.bytes.append(request.exchange.response_bytes)


UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")


async def ask(client: RawClient, path: str) -> tuple[bytes, bytes]:
    """Ask so that this path carries it."""
    if path == "fast":
        return await client.ask(b"/x")
    return await client.ask(b"/x", *UPGRADE)


# === waits ===


@pytest.mark.parametrize("path", ["fast", "slow"])
@pytest.mark.parametrize(
    ("timeouts", "condition"),
    [
        (Timeouts(response_s=0.05), FailureReason.RESPONSE_TIMEOUT),
        (Timeouts(request_s=0.05), FailureReason.REQUEST_TIMEOUT),
    ],
    ids=["response", "request"],
)
async def test_hooks_may_wait_less_than_the_server(
    path: str, timeouts: Timeouts, condition: FailureReason
) -> None:
    record = Timed(timeouts)
    async with fake_upstream(silent) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            head, _ = await ask(client, path)
    assert head.startswith(b"HTTP/1.1 504 ")
    [(status, failure)] = record.ends
    assert status == 504
    assert failure is not None
    assert failure.condition is condition


@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_a_request_that_takes_too_long_is_cut_inside_its_response(
    path: str,
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        )
        await trio.sleep_forever()

    record = Timed(Timeouts(request_s=0.1))
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            lines = b"" if path == "fast" else b"".join(b"\r\n" + f for f in UPGRADE)
            await client.send(b"GET / HTTP/1.1\r\nHost: h" + lines + b"\r\n\r\n")
            assert b"\r\n\r\n3\r\none\r\n" in await client.to_end()
    [(status, failure)] = record.ends
    assert status == 200
    assert failure is not None
    assert failure.condition is FailureReason.REQUEST_TIMEOUT


async def test_a_request_in_time_is_not_disturbed() -> None:
    record = Timed(Timeouts(request_s=0.2))
    async with fake_upstream(ok) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            assert (await client.ask(b"/1"))[1] == b"ok /1"
            await trio.sleep(0.3)  # past the first one's time
            assert (await client.ask(b"/2"))[1] == b"ok /2"
    assert record.ends == [(200, None)] * 2


async def test_a_tunnel_outlives_the_time_of_a_request() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        while data := await asked.stream.receive_some():
            await asked.stream.send_all(data)

    record = Timed(Timeouts(request_s=0.05))
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            rows = [b"GET / HTTP/1.1", b"Host: h", *UPGRADE]
            await client.send(b"\r\n".join(rows) + b"\r\n\r\n")
            await client.head()
            await trio.sleep(0.2)
            frame = b"\x82\x85\0\0\0\0still"
            await client.send(frame)
            assert await client.exactly(len(frame)) == frame


# === again ===


class Patient(RecordingHooks):
    """A record that goes to its others only after a while."""

    __slots__ = ("after_s",)

    def __init__(self, others: list[Upstream], after_s: float) -> None:
        super().__init__(others)
        self.after_s = after_s

    def on_failure(self, request: ForwardedRequest, failure: Failure) -> Retry | None:  # type: ignore[override]
        self.failures.append(failure)
        return Retry(self.others.pop(0), self.after_s) if self.others else None


@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_a_failure_may_be_tried_again_after_a_pause(path: str) -> None:
    async with fake_upstream(ok) as fake:
        record = Patient([nobody(), fake.upstream], 0.02)
        async with proxying(nobody(), record) as proxy, connected(proxy) as client:
            assert (await ask(client, path))[1] == b"ok /x"
    assert len(record.failures) == 2
    assert record.ends == [(200, None)]


async def test_a_client_that_leaves_in_the_pause_ends_the_exchange() -> None:
    async with fake_upstream(ok) as fake:
        record = Patient([fake.upstream], 3600)
        async with proxying(nobody(), record) as proxy:
            async with connected(proxy) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                while not record.failures:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                client.stream.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
                await trio.aclose_forcefully(client.stream)
            with trio.fail_after(30):
                while not record.ends:
                    await trio.testing.wait_all_tasks_blocked(0.001)
            assert not proxy.connections
        assert not fake.asked
    assert record.ends == [(0, None)]


async def test_half_a_response_is_forgotten_before_the_next_try() -> None:
    async def half(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(b"HTTP/1.1 200 OK\r\nX-Of: the first")
        await asked.stream.aclose()

    async with fake_upstream(half) as broken, fake_upstream(ok) as fake:
        record = RecordingHooks([fake.upstream])
        async with proxying(broken.upstream, record) as proxy:
            async with connected(proxy) as client:
                head, body = await client.ask(b"/x")
    assert body == b"ok /x"
    assert b"X-Of" not in head


# === responses ===


@pytest.mark.parametrize("path", ["fast", "slow"])
@pytest.mark.parametrize("pause_s", [0.0, 0.02])
async def test_a_response_may_be_dropped_for_another_upstreams(
    path: str, pause_s: float
) -> None:
    async with fake_upstream(busy) as first, fake_upstream(ok) as second:
        other = second.upstream

        def decide(_: ForwardedRequest, head: ResponseHead) -> Upstream | Retry | None:
            if head.status != 503:
                return None
            return Retry(other, pause_s) if pause_s else other

        record = Reader(decide)
        async with proxying(first.upstream, record) as proxy:
            async with connected(proxy) as client:
                for _ in range(2):
                    head, body = await ask(client, path)
                    assert head.startswith(b"HTTP/1.1 200 ")
                    assert body == b"ok /x"
        assert len(first.asked) == len(second.asked) == 2
        if path == "fast":  # a whole response leaves its connection usable
            assert first.connections == 1
    assert record.ends == [(200, None)] * 2
    assert record.repeatable == [True] * 4
    assert record.bytes == [5, 5]


async def test_a_body_that_is_sent_again_is_the_same() -> None:
    async with fake_upstream(busy) as first, fake_upstream(ok) as second:
        other = second.upstream
        record = Reader(lambda _, head: other if head.status == 503 else None)
        async with proxying(first.upstream, record) as proxy:
            async with connected(proxy) as client:
                await client.ask(b"/x", method=b"PUT", body=b"the body")
        assert first.asked[0].body == second.asked[0].body == b"the body"


async def test_a_streamed_request_cannot_be_repeated() -> None:
    async with fake_upstream(busy) as fake:
        record = Reader(lambda _, __: None)
        async with proxying(fake.upstream, record) as proxy:
            async with connected(proxy) as client:
                body = b"y" * 200_000
                head, _ = await client.ask(b"/x", method=b"PUT", body=body)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert record.repeatable == [False]


@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_a_responses_fields_may_be_changed(path: str) -> None:
    def decide(_: ForwardedRequest, head: ResponseHead) -> None:
        head.kept = head.kept.replace(b"\r\nX-Why: load", b"") + b"\r\nX-New: 1"

    async with fake_upstream(busy) as fake:
        async with proxying(fake.upstream, Reader(decide)) as proxy:
            async with connected(proxy) as client:
                for _ in range(2):
                    head, _ = await ask(client, path)
                    assert b"X-Why" not in head
                    assert head.count(b"X-New: 1") == 1


# === the end ===


class Worded(ForwardHooks):
    """Hooks that words its own errors."""

    def error_response(self, request: ForwardedRequest, failure: Failure) -> Response:
        return Response(
            failure.status,
            b"sorry",
            headers=((b"X-For", request.exchange.client.encode()),),
        )


@pytest.mark.parametrize("path", ["fast", "slow"])
async def test_hooks_may_word_the_error(path: str) -> None:
    async with proxying(nobody(), Worded()) as proxy, connected(proxy) as client:
        head, body = await ask(client, path)
    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"X-For: 127.0.0.1" in head
    assert body == b"sorry"


async def test_a_full_upstream_says_when_to_come_back() -> None:
    async with fake_upstream(ok) as fake:
        limits = Limits(upstream_connections=0)
        async with proxying(fake.upstream, None, limits) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1" in head


class Learner(ForwardHooks):
    """Hooks that keeps what an exchange says at its end."""

    __slots__ = ("learnt",)

    def __init__(self) -> None:
        super().__init__()
        self.learnt: list[tuple[str, bytes, int, bool]] = []

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        exchange = request.exchange
        begun = 0 < exchange.began <= exchange.now
        self.learnt.append(
            (exchange.client, exchange.head.target, exchange.response_bytes, begun)
        )


CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\none\r\n2\r\nto\r\n"
)


@pytest.mark.parametrize(
    ("response", "count"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        (CHUNKS + b"0\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 13),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
            300_000,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\ncut", 3),
        (b"no response\r\n\r\n", len(b"502 Bad Gateway: bad response\n")),
    ],
    ids=[
        "length",
        "empty",
        "none",
        "chunks",
        "close",
        "large",
        "cut",
        "cut-large",
        "bad",
    ],
)
async def test_the_content_of_a_response_is_counted(
    response: bytes, count: int
) -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(response)
        await asked.stream.aclose()

    learner = Learner()
    async with fake_upstream(script) as fake, proxying(fake.upstream, learner) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"GET /of HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            )
            await client.to_end()
    assert learner.learnt == [("127.0.0.1", b"/of", count, True)]


# === parked first ===


@pytest.mark.parametrize("size", [0, 100, 60_000, 500_000])
async def test_a_parked_request_may_be_forwarded_later(size: int) -> None:
    waiting: list[Exchange] = []
    record = RecordingHooks()
    body = b"b" * size
    async with fake_upstream(ok) as fake:
        upstream = fake.upstream

        def handler(exchange: Exchange) -> None:
            exchange.park(3600, lambda ex: ex.respond(Response(503)))
            waiting.append(exchange)

        async with serving(handler) as server, connected(server) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    client.send,
                    b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
                    + body,
                )
                await trio.testing.wait_all_tasks_blocked(0.02)
                exchange = waiting.pop()
                forward(exchange, upstream, record)
                assert not exchange.is_parked
            assert (await client.response())[1] == b"ok /p"
        assert fake.asked[0].body == body
    assert record.ends == [(200, None)]


async def test_a_server_may_have_its_paths_below_a_prefix() -> None:
    async with fake_upstream(ok) as fake:
        address = (socket.AF_INET, ("127.0.0.1", fake.port))
        upstream = Upstream("fake", [address], b"fake", prefix=b"/base")
        async with proxying(upstream) as proxy, connected(proxy) as client:
            await client.ask(b"/a?b")
            await client.ask(b"*", method=b"OPTIONS")
        assert [asked.path for asked in fake.asked] == [b"/base/a?b", b"*"]
