"""A server of HTTP/2 that does whatever it likes: nothing hangs, nothing is left behind."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import h2.errors
import h2.settings
import pytest
import trio

from http_trio import HttpServer, Limits
from http_trio.testing.peers import RawClient, RecordingHooks, connected, proxying
from tests.http_trio.support.h2_server import OK, H2Request, h2_server

Whim = Callable[[H2Request, random.Random], Awaitable[None]]

CODES = [int(code) for code in h2.errors.ErrorCodes]
STREAMS = int(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS)
WINDOW = int(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE)
BODY = bytes(range(256)) * 700
REQUESTS = 12


async def answer(request: H2Request, chance: random.Random) -> None:
    await request.whole()
    await request.answer(BODY[: chance.randrange(len(BODY))])


async def reset_at_once(request: H2Request, chance: random.Random) -> None:
    await request.cancel(chance.choice(CODES))


async def answer_early(request: H2Request, chance: random.Random) -> None:
    await request.answer(b"early" * chance.randrange(30_000))


async def reset_late(request: H2Request, chance: random.Random) -> None:
    await request.whole()
    await request.cancel(chance.choice(CODES))


async def cut(request: H2Request, chance: random.Random) -> None:
    await request.head()
    await request.data(BODY[: chance.randrange(len(BODY))])
    await request.cancel(chance.choice(CODES))


async def go_away(request: H2Request, chance: random.Random) -> None:
    await request.talk.goaway(chance.randrange(request.stream_id + 4))


async def go_away_gently(request: H2Request, _: random.Random) -> None:
    await request.talk.goaway(2**31 - 1)
    await request.whole()
    await request.answer(b"last")


async def close(request: H2Request, _: random.Random) -> None:
    await request.talk.stream.aclose()


async def send_trailers(request: H2Request, _: random.Random) -> None:
    await request.head([(b":status", b"103"), (b"link", b"a")])
    await request.head()
    await request.end([(b"x-end", b"1")])


async def change_settings(request: H2Request, chance: random.Random) -> None:
    changed = {STREAMS: chance.randrange(5), WINDOW: chance.randrange(20_000, 70_000)}
    if request.stream_id > 1:  # else `h2` takes the first settings' ACK for theirs
        request.talk.h2.update_settings(changed)
    await request.whole()
    await request.answer(b"changed")


async def send_much_head(request: H2Request, _: random.Random) -> None:
    await request.head([*OK, (b"x-large", b"y" * 60_000)], ended=True)


WHIMS: list[Whim] = [
    *[answer, answer, answer, answer, reset_at_once, answer_early, reset_late, cut],
    *[go_away, go_away_gently, close, send_trailers, change_settings, send_much_head],
]


async def ask(client: RawClient, number: int, chance: random.Random) -> None:
    """Send a request of any size, in either framing; read to the end."""
    size = chance.choice([0, 10, 5_000, 150_000])
    method = chance.choice([b"GET", b"POST"])
    head = b"%b /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" % (method, number)
    if chance.random() < 0.5:
        message = head + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    else:
        chunk = b"%x\r\n%b\r\n" % (size, b"x" * size) if size else b""
        message = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    with suppress(trio.BrokenResourceError):  # it was answered early
        await client.send(message)
    await client.to_end()


async def ask_often(proxy: HttpServer, number: int, chance: random.Random) -> None:
    """Ask again and again; sometimes leave before the answer. None hangs for ten seconds."""
    for _ in range(REQUESTS):
        async with connected(proxy) as client:
            with trio.move_on_after(chance.choice([0.001, *[math.inf] * 3])):
                await ask(client, number, chance)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_a_server_does(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)

    async def misbehave(request: H2Request) -> None:
        await chance.choice(WHIMS)(request, chance)

    limits = Limits(response_s=1.0, stream_idle_s=1.0, write_s=1.0, linger_s=0.1)
    hooks = RecordingHooks()
    settings = {STREAMS: chance.choice([1, 3, 100])}
    async with h2_server(misbehave, settings=settings) as server:
        upstream = server.upstream()
        async with proxying(upstream, hooks, limits) as proxy:
            with trio.fail_after(110):
                async with trio.open_nursery() as nursery:
                    for number in range(4):
                        own = random.Random(seed * 1000 + number)
                        nursery.start_soon(ask_often, proxy, number, own)
                while upstream.open != len(upstream.idle):  # some still leave
                    await trio.sleep(0.05)
            assert upstream.open == len(upstream.connections)
        assert upstream.open == 0
    assert len(hooks.ends) > 20
    assert not server.faults
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
