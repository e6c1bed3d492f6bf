"""What happens to several sockets between two looks of the event loop: in one batch.

The peers write without awaiting anything in between, so the event loop, which is in the
same thread, finds all of it at once, in the order in which it was written.
"""

from __future__ import annotations

import gc
import os
import socket

import pytest
import trio

from http_trio import Exchange, ForwardedPolicy, Response
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
    serving,
)

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok " + asked.path)


def write(stream: trio.SocketStream, data: bytes) -> None:
    os.write(stream.socket.fileno(), data)


def request(path: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/1.1\r\nHost: h\r\n%b\r\n%b" % (method, path, length, body)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("end", [False, True], ids=["open", "closed"])
async def test_what_a_server_says_unasked_answers_nobody(
    method: bytes, end: bool
) -> None:
    record = RecordingHooks()
    async with fake_upstream(ok) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.ask(b"/1")
            kept = fake.asked[0].stream
            body = b"x" if method == b"POST" else b""
            write(client.stream, request(b"/2", method, body))
            write(kept, EVIL)
            if end:
                kept.socket.shutdown(socket.SHUT_WR)
            assert (await client.response())[1] == b"ok /2"
            assert (await client.ask(b"/3"))[1] == b"ok /3"
        assert [asked.path for asked in fake.asked] == [b"/1", b"/2", b"/3"]
        assert fake.connections == 2
    assert record.ends == [(200, None)] * 3
    assert not record.failures


@pytest.mark.parametrize("order", ["response first", "end first"])
async def test_a_client_that_ends_as_its_response_comes_gets_it(order: str) -> None:
    waiting = trio.Event()

    async def wait(_: ReceivedRequest) -> None:
        waiting.set()
        await trio.sleep_forever()

    clients = ForwardedPolicy(half_close=order == "end first")
    async with (
        fake_upstream(wait) as fake,
        proxying(fake.upstream, clients=clients) as proxy,
    ):
        async with connected(proxy) as client:
            await client.send(request(b"/1"))
            await waiting.wait()
            await trio.testing.wait_all_tasks_blocked()
            response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            if order == "response first":
                write(fake.asked[0].stream, response)
            client.stream.socket.shutdown(socket.SHUT_WR)
            if order == "end first":
                write(fake.asked[0].stream, response)
            assert (await client.to_end()).endswith(b"\r\n\r\nok")


async def test_a_request_that_comes_as_the_response_before_it_is_next() -> None:
    go_on = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        if asked.path == b"/1":
            await go_on.wait()
        else:
            await ok(asked)

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(request(b"/1"))
            while not fake.asked:
                await trio.testing.wait_all_tasks_blocked(0.001)
            write(fake.asked[0].stream, EVIL)
            write(client.stream, request(b"/2") + request(b"/3"))
            go_on.set()
            assert (await client.response())[1] == b"evil"
            assert (await client.response())[1] == b"ok /2"
            assert (await client.response())[1] == b"ok /3"


async def test_many_clients_at_once_get_each_their_own() -> None:
    async with fake_upstream(ok) as fake, proxying(fake.upstream) as proxy:
        async with trio.open_nursery() as nursery:

            async def one(number: int, client: RawClient) -> None:
                for turn in range(20):
                    path = b"/%d/%d" % (number, turn)
                    write(client.stream, request(path) * 2)
                    for _ in range(2):
                        assert (await client.response())[1] == b"ok " + path

            async def connect(number: int) -> None:
                async with connected(proxy) as client:
                    await one(number, client)

            for number in range(20):
                nursery.start_soon(connect, number)


@pytest.mark.parametrize("size", [1, 300_000], ids=["fast", "slow"])
async def test_a_request_leaves_nothing_for_the_collector(size: int) -> None:
    async def response(asked: ReceivedRequest) -> None:
        await asked.response(b"x" * size)

    async with fake_upstream(response) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.ask(b"/warm")
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for number in range(50):
                    await client.ask(b"/%d" % (number % 10))
                gc.collect()
                found = {type(thing).__module__ for thing in gc.garbage}
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
    assert not [name for name in found if name.startswith("http_trio")]


async def test_what_is_for_after_a_batch_is_called_once_when_it_is_served() -> None:
    told: list[str] = []

    def handler(exchange: Exchange) -> None:
        if not any(what == "later" for what in told):
            assert server.after_batch(lambda: told.append("after"))
            told.append("later")
        exchange.respond(Response(200))
        told.append("handled")

    async with serving(handler) as server:
        async with connected(server) as one, connected(server) as two:
            for client in (one, two):
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
            await trio.sleep(0.05)
            for client in (one, two):
                write(client.stream, b"\r\n")  # both requests are whole at once
            await one.response()
            await two.response()
        assert told == ["later", "handled", "handled", "after"]
        assert not server.after_batch(lambda: told.append("never"))
        assert "never" not in told


async def test_an_error_after_a_batch_ends_the_server() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    def handler(exchange: Exchange) -> None:
        server.after_batch(fail)
        exchange.respond(Response(200, b"sent before"))

    bug = pytest.RaisesExc(RuntimeError, match="a bug")
    with pytest.RaisesGroup(bug, flatten_subgroups=True):
        async with serving(handler) as server, connected(server) as client:
            assert (await client.ask())[1] == b"sent before"
            await trio.sleep(10)
