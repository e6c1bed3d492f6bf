"""Bodies on their way: what they may hold, who is refused, and that the room comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio

from http_trio import Response
from http_trio.testing.peers import RawClient, connected
from kv_trio import KvServer, StoreLimits, serve
from kv_trio.api import bodies
from kv_trio.state.acl import EVERYTHING

HALF = b"PUT %b HTTP/1.1\r\nHost: h\r\n%b\r\n\r\nhalf"
LENGTH = b"Content-Length: 1000"
ROOM = 4000


@pytest.fixture
async def server() -> AsyncIterator[KvServer]:
    async with trio.open_nursery() as nursery:
        limits = StoreLimits(bodies_bytes=ROOM)
        yield await nursery.start(partial(serve, ["127.0.0.1:0"], store_limits=limits))
        nursery.cancel_scope.cancel()


async def taken(client: RawClient) -> int:
    _, body = await client.ask(b"/metrics")
    (row,) = (
        one for one in body.splitlines() if one.startswith(b"kv_trio_bodies_bytes ")
    )
    return int(float(row.split()[1]))


async def wait_taken(client: RawClient, size: int) -> None:
    with trio.fail_after(30):
        while await taken(client) != size:
            await trio.sleep(0.01)


@pytest.mark.parametrize("path", [b"/v1/kv/a", b"/v1/txn", b"/v1/session/create"])
async def test_half_sent_bodies_hold_no_more_than_the_room(
    server: KvServer, path: bytes
) -> None:
    most = 1  # of a quarter of the room
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(server._server)) for _ in range(6)
        ]
        quiet = await stack.enter_async_context(connected(server._server))
        for number, client in enumerate(clients):
            await client.stream.send_all(HALF % (path, LENGTH))
            if number < most:
                await wait_taken(quiet, 1000 * (number + 1))
        for client in clients[most:]:
            head = await client.stream.receive_some(1000)
            assert b" 429 " in head
            assert b"Retry-After: 1\r\n" in head
            assert b"--limit bodies_bytes=NUMBER" in head
        assert await taken(quiet) == 1000 * most
        head, _ = await quiet.ask(b"/v1/kv/b", method=b"PUT", body=b"small")
        assert b" 200 " in head
        await clients[0].stream.send_all(b"x" * 996)  # those that were let in go on
        assert b"HTTP/1.1 " in await clients[0].stream.receive_some(1000)
        await wait_taken(quiet, 0)


@pytest.mark.parametrize(
    "end", ["leaves", "sends too much", "breaks the framing", "is done"]
)
async def test_the_room_comes_back_however_a_body_ends(
    server: KvServer, end: str
) -> None:
    async with connected(server._server) as quiet, connected(server._server) as client:
        head = b"Transfer-Encoding: chunked"
        await client.stream.send_all(
            HALF[:-4] % (b"/v1/session/create", head) + b"2\r\n{}"
        )
        await wait_taken(quiet, 16 * 1024)
        match end:
            case "leaves":
                await trio.aclose_forcefully(client.stream)
            case "sends too much":
                await client.stream.send_all(b"\r\nffff\r\n" + b" " * 20_000)
                assert b" 413 " in await client.stream.receive_some(1000)
            case "breaks the framing":
                await client.stream.send_all(b"\r\nzz\r\n")
                assert b" 400 " in await client.stream.receive_some(1000)
            case _:
                await client.stream.send_all(b"\r\n0\r\n\r\n")
                assert b" 200 " in await client.stream.receive_some(1000)
        await wait_taken(quiet, 0)


class Exchange:
    """One whose body is not here yet."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.attached: object = None
        self.status = 0
        self.connection = self
        self.head = self
        self.framing = 1000
        self.buffer = b"half"

    def collect(self, *args: object) -> None:
        self.status = 100

    def respond(self, response: Response) -> None:
        self.status = response.status


def test_all_clients_together_have_the_room_and_each_a_quarter() -> None:
    room = bodies.RequestBodies(8000, lambda _: True)
    asked = [Exchange(f"client {n % 6}") for n in range(18)]
    for exchange in asked:
        room.collect(exchange, EVERYTHING, 2000, lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
    assert room.taken == 8000
    statuses = [exchange.status for exchange in asked]
    assert statuses[:6] == [100] * 6
    assert statuses.count(100) == 8
    assert set(statuses) == {100, 429, 503}
    for exchange in asked:
        if isinstance(exchange.attached, bodies._Place):
            exchange.attached.client_gone()
            exchange.attached.client_gone()  # told twice, it comes back once
    assert room.taken == 0
