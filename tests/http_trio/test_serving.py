"""The end of a server: drained, or cancelled."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from http_trio import BadBind, Exchange, Limits, Response, open_listeners, serve
from http_trio.net.process.service_manager import adopt_listener
from http_trio.testing.peers import RawClient, connected, serving

ASKS = b"GET /asks HTTP/1.1\r\nHost: h\r\n\r\n"


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


async def test_draining_answers_the_parked_and_ends() -> None:
    parked = trio.Event()

    def handler(exchange: Exchange) -> None:
        parked.set()
        exchange.park(60, lambda ex: ex.respond(Response(200, b"drained")))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, ["127.0.0.1:0"]))
        async with connected(server) as idle, connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await parked.wait()
            server.drain(5)
            head, body = await client.response()
            assert body == b"drained"
            assert b"Connection: close" in head
            assert await idle.to_end() == b""


async def test_draining_cancels_at_its_deadline() -> None:
    asked = trio.Event()

    def keep(exchange: Exchange) -> None:
        exchange.hold()
        asked.set()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, keep, ["127.0.0.1:0"]))
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked.wait()
            server.drain(0.05)
            assert await client.to_end() == b""


async def test_cancelling_closes_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(hello))
        for _ in range(10):
            await (await stack.enter_async_context(connected(server))).ask()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_lame_duck_accepts_and_says_so() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, hello, ["127.0.0.1:0"]))
        async with connected(server) as kept:
            assert b"Connection: close" not in (await kept.ask(b"/1"))[0]
            server.drain(5, lame_duck_s=30)
            await trio.sleep(0.05)
            async with connected(server) as late:
                head, body = await late.ask(b"/2")
                assert (b"Connection: close" in head, body) == (True, b"hello /2")
                assert await late.to_end() == b""
            assert b"Connection: close" in (await kept.ask(b"/3"))[0]
        server.drain(5)  # no duck any more
        with trio.fail_after(30):
            while True:
                try:
                    async with connected(server):
                        await trio.sleep(0.01)
                except OSError:
                    break


async def test_a_drain_takes_who_waits_to_be_accepted_and_who_asks_just_now() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, hello, ["127.0.0.1:0"]))
        async with connected(server) as kept, connected(server) as fresh:
            await kept.ask(b"/")
            host, port = server.addresses[0].split(":")
            queued = socket.create_connection((host, int(port)))  # not accepted yet
            server.drain(5)
            await trio.sleep(0.1)
            queued.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(queued))
            async with stream:
                for client in (kept, fresh, RawClient(stream)):
                    head, _ = await client.ask(b"/now")
                    assert b"Connection: close" in head


@pytest.mark.parametrize("attempt", range(8))  # trio takes ready tasks in any order
async def test_a_drain_lets_nobody_go_who_has_asked(attempt: int) -> None:
    """The process slept, so their last response is long ago; what they sent is here."""
    del attempt
    limits = Limits(notice_s=0)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, hello, ["127.0.0.1:0"], limits=limits)
        )
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connected(server)) for _ in range(70)
            ]
            for client in clients:
                await client.ask(b"/")
            for client in clients:
                os.write(client.stream.socket.fileno(), ASKS)
            server.drain(5)
            for client in clients:
                assert (await client.response())[1] == b"hello /asks"


async def test_who_has_asked_in_time_is_not_late_when_the_process_was() -> None:
    async with serving(hello) as server:
        async with connected(server) as kept, connected(server) as silent:
            for client in (kept, silent):
                await client.ask(b"/")
            os.write(kept.stream.socket.fileno(), ASKS)
            server.loop.now += 3600
            server.loop.sweep()
            assert (await kept.response())[1] == b"hello /asks"
            for one in server.loop.sockets.values():
                one.deadline = min(one.deadline, server.loop.now)
            server.loop.sweep()
            assert await silent.to_end() == b""


async def test_of_sockets_that_others_hold_too_nobody_is_taken() -> None:
    (sock,) = open_listeners(["127.0.0.1:0"])
    ours = adopt_listener(os.dup(sock.fileno()))
    with sock:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, hello, [ours]))
            async with connected(server) as client:
                assert (await client.ask(b"/"))[1] == b"hello /"
            server.drain(5)
        async with await trio.open_tcp_stream(*sock.getsockname()):
            sock.accept()[0].close()  # it waited for the next process


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_an_address_that_was_taken_meanwhile_is_said(
    kind: str, tmp_path: Path
) -> None:
    bind = f"unix:{tmp_path}/s" if kind == "unix" else "127.0.0.1:0"
    (early,) = open_listeners([bind], listening=False)
    late = early.getsockname() if kind == "tcp" else ()
    where = f"{late[0]}:{late[1]}" if late else bind
    with early:
        (other,) = open_listeners([where])
        with other:
            with pytest.raises(BadBind, match=r"in use|taken its place"):
                await serve(hello, [early])
            assert kind == "tcp" or (tmp_path / "s").exists()
