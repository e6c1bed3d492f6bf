"""A proxy with few descriptors: idle clients make way, and requests are served."""

from __future__ import annotations

import contextlib
import os
import socket

import trio

from http_trio.net.descriptors import OWN_FILES
from http_trio.testing.peers import RawClient, ReceivedRequest, fake_upstream
from tests.http_trio.support.limited import limited_proxy

LIMIT = 128


async def ok_and_close(asked: ReceivedRequest) -> None:
    await asked.response(b"ok", b"Connection: close")
    await asked.stream.aclose()  # so each request needs a descriptor of its own


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok")


def open_idle(stack: contextlib.ExitStack, port: int, count: int) -> None:
    for _ in range(count):  # the kernel takes those that are not accepted yet
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        sock.setblocking(False)


async def client_of(port: int, stack: contextlib.ExitStack) -> RawClient:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    stack.callback(stream.socket.close)
    return RawClient(stream)


async def keep_asking(client: RawClient) -> None:
    while True:
        assert (await client.ask())[0].startswith(b"HTTP/1.1 200 ")
        await trio.sleep(0.01)


def open_files(pid: int) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208


async def test_idle_clients_starve_no_request() -> None:
    async with fake_upstream(ok_and_close) as fake:
        async with limited_proxy(LIMIT, fake.port) as proxy:
            with contextlib.ExitStack() as stack, trio.fail_after(20):
                kept = await client_of(proxy.port, stack)
                assert (await kept.ask())[1] == b"ok"
                open_idle(stack, proxy.port, 3 * LIMIT)
                await trio.sleep(1.2)  # it is the idlest, but those never asked
                for _ in range(50):
                    head, _ = await kept.ask()
                    assert head.startswith(b"HTTP/1.1 200 ")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keep_asking, kept)
                    late = await client_of(
                        proxy.port, stack
                    )  # behind all the idle ones
                    assert (await late.ask())[1] == b"ok"
                    nursery.cancel_scope.cancel()


async def test_the_last_descriptors_are_left_to_others() -> None:
    async with fake_upstream(ok) as fake:
        async with limited_proxy(LIMIT, fake.port) as proxy:
            with contextlib.ExitStack() as stack, trio.fail_after(20):
                open_idle(stack, proxy.port, 2 * LIMIT)
                clients = [await client_of(proxy.port, stack) for _ in range(20)]
                for client in clients:
                    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                for client in clients:
                    assert (await client.response())[1] == b"ok"
                late = await client_of(proxy.port, stack)
                assert (await late.ask())[1] == b"ok"
                left = set(range(LIMIT)) - open_files(proxy.pid)
                own = OWN_FILES * LIMIT // 288
                assert {*range(LIMIT - own, LIMIT)} <= left


async def test_a_request_in_progress_is_never_closed() -> None:
    gate = trio.Event()

    async def wait(asked: ReceivedRequest) -> None:
        if asked.path == b"/slow":
            await gate.wait()
        await asked.response(b"ok")

    async with fake_upstream(wait) as fake:
        async with limited_proxy(LIMIT, fake.port) as proxy:
            with contextlib.ExitStack() as stack, trio.fail_after(20):
                slow = await client_of(proxy.port, stack)
                await slow.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
                while not fake.asked:
                    await trio.sleep(0.01)
                open_idle(stack, proxy.port, 2 * LIMIT)
                late = await client_of(proxy.port, stack)
                assert (await late.ask())[1] == b"ok"
                gate.set()
                assert (await slow.response())[1] == b"ok"
