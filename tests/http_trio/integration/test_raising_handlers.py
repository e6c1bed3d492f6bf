"""Whatever raises while it decides on an exchange: its client gets 500, or sees a cut."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio

from http_trio import Exchange, ForwardHooks, Response, Upstream, forward
from http_trio.testing.peers import (
    ReceivedRequest,
    connected,
    fake_upstream,
    serving,
)

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def explode(*_: object) -> None:
    raise RuntimeError("a bug")


async def explode_later(_: Exchange) -> None:
    await trio.lowlevel.checkpoint()
    raise RuntimeError("a bug")


async def explode_in_group(_: Exchange) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(explode_later, _)


def begun(then: Callable[[Exchange], object]) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        exchange.begin(Response(200))
        exchange.send(b"some")
        then(exchange)

    return handler


def queued(exchange: Exchange) -> None:
    """As who keeps it in a queue, and decides in another's turn."""
    exchange.hold()
    exchange.loop.call_later(0.01, lambda: exchange.decide(explode, exchange))


GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

DOORS: dict[str, tuple[Callable[[Exchange], object], tuple[bytes, ...]]] = {
    "the handler": (explode, (GET,)),
    "collect, no body": (lambda ex: ex.collect(9, explode), (GET,)),
    "collect, here": (lambda ex: ex.collect(9, explode), (POST + b"body",)),
    "collect, later": (lambda ex: ex.collect(9, explode), (POST, b"bo", b"dy")),
    "collect, too large": (
        lambda ex: ex.collect(2, lambda *_: None, explode),
        (POST + b"body",),
    ),
    "collect, too large later": (
        lambda ex: ex.collect(2, lambda *_: None, explode),
        (CHUNKED, b"4\r\nbody\r\n"),
    ),
    "park": (lambda ex: ex.park(0.01, explode), (GET,)),
    "spawn": (lambda ex: ex.spawn(explode_later), (GET,)),
    "spawn, a group": (lambda ex: ex.spawn(explode_in_group), (GET,)),
    "call_later": (lambda ex: ex.call_later(0.01, explode), (GET,)),
    "from a queue": (queued, (GET,)),
    "park, then collect": (
        lambda ex: ex.park(0.01, lambda one: one.collect(9, explode)),
        (POST, b"body"),
    ),
}
BEGUN: dict[str, Callable[[Exchange], object]] = {
    "the handler": explode,
    "park": lambda ex: ex.park(0.01, explode),
    "spawn": lambda ex: ex.spawn(explode_later),
    "call_later": lambda ex: ex.call_later(0.01, explode),
    "from a queue": queued,
}


def errors(caplog: pytest.LogCaptureFixture) -> int:
    return len([one for one in caplog.records if one.levelno >= logging.ERROR])


@pytest.mark.parametrize("door", DOORS)
async def test_a_raise_is_a_500(door: str, caplog: pytest.LogCaptureFixture) -> None:
    decide, pieces = DOORS[door]

    def handler(exchange: Exchange) -> None:
        decide(exchange)

    async with serving(handler) as server, connected(server) as client:
        for piece in pieces:
            await client.send(piece)
            await trio.sleep(0.02)
        with trio.fail_after(30):
            start, _ = await client.response()
    assert start.split()[1] == b"500"
    assert errors(caplog) == 1


@pytest.mark.parametrize("door", BEGUN)
async def test_a_raise_cuts_what_has_begun(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(begun(BEGUN[door])) as server, connected(server) as client:
        await client.send(GET)
        with trio.fail_after(30):
            data = await client.to_end()
        assert data.startswith(b"HTTP/1.1 200")
        assert b"4\r\nsome\r\n" in data
        assert not data.endswith(b"0\r\n\r\n"), "it must not look whole"
        assert server.connections == 0
    assert errors(caplog) == 1


async def test_a_raise_of_the_drain_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda ex: ex.park(60, explode)) as server:
        async with connected(server) as client:
            await client.send(GET)
            while not server.exchanges:
                await trio.sleep(0.005)
            server.drain(5)
            with trio.fail_after(30):
                start, _ = await client.response()
    assert start.split()[1] == b"500"
    assert errors(caplog) == 1


async def test_a_raise_on_gone_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda ex: ex.park(60, explode, explode)) as server:
        async with connected(server) as client:
            await client.send(GET)
            while not server.exchanges:
                await trio.sleep(0.005)
        with trio.fail_after(30):
            while server.connections:
                await trio.sleep(0.005)
    assert errors(caplog) == 1


class Counting(ForwardHooks):
    """Hooks that count the ends."""

    __slots__ = ("statuses",)

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []

    def on_end(self, request: object, status: int, failure: object) -> None:
        del request, failure
        self.statuses.append(status)


async def silent(asked: ReceivedRequest) -> None:
    await trio.sleep_forever()


def at_once(exchange: Exchange, upstream: Upstream, hooks: ForwardHooks) -> None:
    forward(exchange, upstream, hooks)
    explode()


def soon(exchange: Exchange, upstream: Upstream, hooks: ForwardHooks) -> None:
    forward(exchange, upstream, hooks)
    exchange.call_later(0.05, explode)


@pytest.mark.parametrize("fields", [b"", UPGRADE], ids=["fast", "slow"])
@pytest.mark.parametrize("handler", [at_once, soon])
async def test_a_raise_beside_a_forwarded_request_is_a_500(
    handler: Callable[[Exchange, Upstream, ForwardHooks], None],
    fields: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks = Counting()
    async with fake_upstream(silent) as fake:
        async with serving(lambda ex: handler(ex, fake.upstream, hooks)) as server:
            async with connected(server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
                with trio.fail_after(30):
                    start, _ = await client.response()
        assert not fake.upstream.open
    assert start.split()[1] == b"500"
    assert hooks.statuses == [500]
    assert errors(caplog) == 1


def nothing(*_: object) -> None:
    """Decide nothing."""


async def nothing_in_a_task(_: Exchange) -> None:
    await trio.lowlevel.checkpoint()


UNDECIDED: dict[str, tuple[Callable[[Exchange], None], tuple[bytes, ...]]] = {
    "the handler": (nothing, (GET,)),
    "collect": (lambda ex: ex.collect(9, nothing), (POST, b"body")),
    "collect, no body": (lambda ex: ex.collect(9, nothing), (GET,)),
    "collect, too large": (lambda ex: ex.collect(1, nothing, nothing), (POST, b"body")),
    "await_body": (lambda ex: ex.await_body(nothing), (POST, b"body")),
    "await_body, no body": (lambda ex: ex.await_body(nothing), (GET,)),
    "park": (lambda ex: ex.park(0.01, nothing), (GET,)),
    "spawn": (lambda ex: ex.spawn(nothing_in_a_task), (GET,)),
    "park, then collect": (
        lambda ex: ex.park(0.01, lambda one: one.collect(9, nothing)),
        (POST, b"body"),
    ),
}


@pytest.mark.parametrize("door", UNDECIDED)
async def test_who_decides_nothing_is_answered_for(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler, pieces = UNDECIDED[door]
    async with serving(handler) as server, connected(server) as client:
        with trio.fail_after(10):
            for piece in pieces:
                await client.send(piece)
            assert (await client.response())[0].startswith(b"HTTP/1.1 500 ")
    (told,) = (
        one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR
    )
    assert "nothing" in told
    assert "undecided" in told


async def test_two_tasks_may_decide_and_the_later_one_does() -> None:
    async def slowly(exchange: Exchange) -> None:
        await trio.sleep(0.02)
        exchange.respond(Response(200, b"slow"))

    def handler(exchange: Exchange) -> None:
        exchange.spawn(slowly)
        exchange.spawn(nothing_in_a_task)

    async with serving(handler) as server, connected(server) as client:
        with trio.fail_after(10):
            assert (await client.ask())[1] == b"slow"
