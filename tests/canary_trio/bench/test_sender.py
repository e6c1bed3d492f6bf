"""Requests over real sockets: whatever a server does, each ends once, under its name."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from canary_trio.bench.sender import ArmSender, SenderSettings
from canary_trio.bench.tally import LoadResult, LoadTally
from http_trio import EventLoop, Limits, Upstream
from http_trio.testing.ports import free_port

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def calling(
    port: int, *, method: bytes = b"GET", connections: int = 10, timeout_s: float = 5.0
) -> AsyncIterator[ArmSender]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            loop = EventLoop(Limits(), nursery)
            nursery.start_soon(loop.keep_time)
            nursery.start_soon(loop.run)
            address = (trio.socket.AF_INET, ("127.0.0.1", port))
            request = method + b" / HTTP/1.1\r\nHost: it\r\n\r\n"
            settings = SenderSettings(request, method, connections, timeout_s)
            upstream = Upstream("it", [address], b"it")
            sender = ArmSender(loop, upstream, settings, LoadTally(time.monotonic()))
            try:
                yield sender
            finally:
                sender.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async def serve_one(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                await serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1")
        )
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def saying(*responses: bytes, then_closes: bool = True) -> Serve:
    """Give a server that gives each request on a connection the next response."""

    async def serve(stream: trio.SocketStream) -> None:
        for response in responses:
            if not await stream.receive_some():
                return
            for piece in response.split(b"|"):
                await stream.send_all(piece)
                await trio.sleep(0.002)
        if not then_closes:
            await trio.sleep_forever()

    return serve


async def all_ended(sender: ArmSender) -> LoadResult:
    while sender.open:
        await trio.sleep(0.005)
        sender.end_late(time.monotonic())
    return sender.tally.result()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "status"),
    [
        pytest.param(OK, 200, id="whole"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r|\n\r\n|"), 200, id="in pieces"),
        pytest.param(CHUNKS + b"2\r\nok\r\n|0\r\n\r\n", 200, id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nuntil |close", 200, id="until close"),
        pytest.param(b"HTTP/1.0 503 no\r\n\r\n", 503, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 103 Hints\r\n\r\n" + OK, 200, id="hints first"),
        pytest.param(b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, id="bare"),
    ],
)
async def test_a_response_ends_where_it_says(response: bytes, status: int) -> None:
    async with server(saying(response)) as port, calling(port) as sender:
        sender.ask(time.monotonic())
        found = await all_ended(sender)

    assert (found.requests, dict(found.statuses)) == (1, {status: 1})
    assert found.received == len(response.replace(b"|", b""))


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(b"", "reset", id="closed without a word"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", "reset", id="half a head"),
        pytest.param(OK[:-1], "reset", id="half a body"),
        pytest.param(CHUNKS + b"2\r\nok\r\n", "reset", id="no last chunk"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "bad response", id="no HTTP"),
        pytest.param(CHUNKS + b"zz\r\n", "bad response", id="no chunk"),
        pytest.param(b"a\n\n", "bad response", id="bare line ends"),
    ],
)
async def test_what_is_no_response_is_an_error(response: bytes, reason: str) -> None:
    async with server(saying(response)) as port, calling(port) as sender:
        sender.ask(time.monotonic())
        found = await all_ended(sender)

    assert (found.errors, dict(found.failures)) == (1, {reason: 1})
    assert not found.latencies  # nobody waited for it


async def test_nobody_there_is_refused() -> None:
    async with calling(free_port()) as sender:
        sender.ask(time.monotonic())
        found = await all_ended(sender)

    assert dict(found.failures) == {"refused": 1}
    assert sender.detail


async def test_who_says_nothing_is_late_and_that_is_a_latency() -> None:
    serve = saying(b"HTTP/1.1 ", then_closes=False)
    async with server(serve) as port, calling(port, timeout_s=0.05) as sender:
        sender.ask(time.monotonic())
        found = await all_ended(sender)

    assert dict(found.failures) == {"timeout": 1}
    assert found.slowest_s >= 0.05
    assert sum(found.latencies.values()) == 1


async def test_beyond_the_connections_requests_wait_and_that_counts() -> None:
    async def slow(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            await trio.sleep(0.02)
            await stream.send_all(OK)

    async with server(slow) as port, calling(port, connections=1) as sender:
        due = time.monotonic()
        for _ in range(3):
            sender.ask(due)
        found = await all_ended(sender)

    assert dict(found.statuses) == {200: 3}
    assert sender.held_up == 2
    assert found.slowest_s >= 0.06  # the last one waited for both before it


async def test_the_warm_up_is_in_nothing_that_is_said_beside_the_figures() -> None:
    async def once_each(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK)
        await stream.receive_some()  # and closes, with that request on its way

    async with server(once_each) as port, calling(port, connections=1) as sender:
        sender.tally.begun = time.monotonic() + 60
        for _ in range(2):
            sender.ask(time.monotonic())
            await all_ended(sender)
        for _ in range(3):
            sender.ask(time.monotonic())
        said = sender.held_up, sender.resent, sender.unfinished
        sender.ask(sender.tally.begun)

    assert said == (0, 0, 0)
    assert sender.held_up == 1


async def test_waiting_requests_are_late_too() -> None:
    serve = saying(b"", then_closes=False)
    async with (
        server(serve) as port,
        calling(port, connections=1, timeout_s=0.05) as sender,
    ):
        due = time.monotonic()
        for _ in range(3):
            sender.ask(due)
        found = await all_ended(sender)

    assert dict(found.failures) == {"timeout": 3}


@pytest.mark.parametrize(
    ("method", "resent", "failures"),
    [(b"GET", 1, {}), (b"POST", 0, {"reset": 1})],
)
async def test_the_end_of_a_kept_connection_is_no_failure_of_what_may_be_repeated(
    method: bytes, resent: int, failures: dict[str, int]
) -> None:
    async def once_each(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK)
        await stream.receive_some()  # and closes, with that request on its way

    async with server(once_each) as port, calling(port, method=method) as sender:
        for _ in range(2):
            sender.ask(time.monotonic())
            await all_ended(sender)
        found = sender.tally.result()

    assert sender.resent == resent
    assert dict(found.failures) == failures
    assert found.requests == 2


async def test_one_that_came_before_is_known_at_once_and_counted_alike() -> None:
    async with (
        server(saying(*[OK] * 6, then_closes=False)) as port,
        calling(port) as sender,
    ):
        for _ in range(6):
            sender.ask(time.monotonic())
            await all_ended(sender)
        found = sender.tally.result()

    assert dict(found.statuses) == {200: 6}
    assert found.received == 6 * len(OK)
    assert sender.whole_responses.get(OK) == 200


async def test_each_end_is_told_once() -> None:
    told: list[bool] = []
    async with server(saying(OK, b"")) as port, calling(port, method=b"POST") as sender:
        sender.ended = told.append
        for _ in range(2):
            sender.ask(time.monotonic())
            await all_ended(sender)

    assert told == [True, False]
