"""WebSockets that are recalled: no frame is broken, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from http_trio import HttpServer, Limits, upstream_request_of
from http_trio.proxy.websocket_frames import close_frame
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    RecordingHooks,
    connected,
    fake_upstream,
    proxying,
)

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\n\r\n"
)
RESTART = b"\x88\x02\x03\xf4"
LONG = b"\x82\x7e\x01\x2c" + bytes(300)


@attrs.define
class Ends:
    """A WebSocket, with the proxy between its two ends."""

    proxy: HttpServer
    record: RecordingHooks
    client: RawClient
    server: RawClient

    def recall(self) -> None:
        for exchange in self.proxy.exchanges:
            request = upstream_request_of(exchange)
            assert request is not None
            assert request.switched
            request.recall()

    async def over(self) -> None:
        while not self.record.ends:
            await trio.sleep(0.001)


@asynccontextmanager
async def websocket(
    ahead: bytes = b"", limits: Limits | None = None
) -> AsyncIterator[Ends]:
    streams: list[trio.SocketStream] = []

    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(SWITCH + ahead)
        streams.append(asked.stream)
        await trio.sleep_forever()

    record = RecordingHooks()
    async with fake_upstream(script) as fake:
        async with proxying(fake.upstream, record, limits) as proxy:
            async with connected(proxy) as client:
                await client.send(UPGRADE)
                await client.head()
                yield Ends(proxy, record, client, RawClient(streams[0]))


async def test_a_recalled_websocket_is_closed_on_both_sides() -> None:
    async with websocket() as ends:
        await ends.server.send(b"\x81\x02hi")
        assert await ends.client.exactly(4) == b"\x81\x02hi"
        ends.recall()

        assert await ends.client.exactly(4) == RESTART
        frame = await ends.server.exactly(8)
        assert frame[:2] == b"\x88\x82"
        code = bytes(frame[6 + at] ^ frame[2 + at] for at in range(2))
        assert int.from_bytes(code, "big") == 1001

        assert not ends.record.ends  # each has its time to say goodbye
        await ends.client.send(close_frame(1012, mask=b"mask"))
        await ends.server.send(close_frame(1001))
        assert await ends.client.to_end() == b""
        await ends.over()
        assert ends.record.ends == [(101, None)]


@pytest.mark.parametrize("ahead", [LONG[:1], LONG[:3], LONG[:200]])
@pytest.mark.parametrize("later", [False, True], ids=["ahead", "later"])
async def test_a_frame_is_completed_first(ahead: bytes, later: bool) -> None:
    async with websocket(b"" if later else ahead) as ends:
        if later:
            await ends.server.send(ahead)
        assert await ends.client.exactly(len(ahead)) == ahead
        ends.recall()
        await trio.testing.wait_all_tasks_blocked()
        await ends.server.send(LONG[len(ahead) :] + b"\x81\x03not\x81\x7f")

        rest = await ends.client.exactly(len(LONG) - len(ahead))
        assert ahead + rest == LONG
        assert await ends.client.exactly(4) == RESTART
        await trio.testing.wait_all_tasks_blocked()
        assert ends.client.buffer == b""


async def test_a_frame_of_the_client_is_completed_too() -> None:
    async with websocket() as ends:
        frame = b"\x81\x83maskabc"
        await ends.client.send(frame[:4])
        assert await ends.server.exactly(4) == frame[:4]
        ends.recall()
        assert await ends.client.exactly(4) == RESTART
        await ends.client.send(frame[4:] + close_frame(1012, mask=b"mask"))

        assert await ends.server.exactly(5) == frame[4:]
        assert (await ends.server.exactly(8))[:2] == b"\x88\x82"


async def test_who_does_not_answer_is_cut() -> None:
    async with websocket(limits=Limits(recall_s=0.05)) as ends:
        ends.recall()
        ends.recall()
        assert await ends.client.to_end() == RESTART
        await ends.over()
        assert ends.record.ends == [(101, None)]


async def test_what_is_closed_already_is_not_closed_again() -> None:
    async with websocket() as ends:
        await ends.server.send(close_frame(1000))
        assert await ends.client.exactly(4) == close_frame(1000)
        ends.recall()
        await ends.client.send(close_frame(1000, mask=b"mask"))
        assert await ends.client.to_end() == b""
        assert (await ends.server.exactly(8))[:2] == b"\x88\x82"


async def test_a_recall_in_the_middle_of_much_data_breaks_no_frame() -> None:
    frame = b"\x82\x7e\xff\xff" + bytes(65535)
    async with websocket() as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.server.send, frame * 100)
        got = await ends.client.exactly(len(frame) * 3)
        ends.recall()
        got += await ends.client.to_end()

        assert got.endswith(RESTART)
        assert (len(got) - 4) % len(frame) == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["fast", "slow"])
async def test_a_recalled_response_is_cut_and_seen_to_be(size: int) -> None:
    async def script(asked: ReceivedRequest) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await asked.stream.send_all(head + b"%x\r\n%b\r\n" % (size, bytes(size)))
        await trio.sleep_forever()

    record = RecordingHooks()
    async with fake_upstream(script) as fake, proxying(fake.upstream, record) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.head()
            await client.exactly(size)
            (exchange,) = proxy.exchanges
            request = upstream_request_of(exchange)
            assert request is not None
            assert request.is_open_ended
            assert not request.switched
            request.recall()
            assert not (await client.to_end()).endswith(b"0\r\n\r\n")
            while not record.ends:
                await trio.sleep(0.001)
    assert record.ends == [(200, None)]


async def test_what_has_not_begun_is_not_recalled() -> None:
    go_on = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await go_on.wait()
        await asked.response(b"ok")

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            while not fake.asked:
                await trio.sleep(0.001)
            (exchange,) = proxy.exchanges
            request = upstream_request_of(exchange)
            assert request is not None
            assert not request.has_begun
            request.recall()
            go_on.set()
            assert (await client.response())[1] == b"ok"


async def test_a_draining_server_recalls_its_websockets_in_time() -> None:
    async with websocket() as ends:
        ends.proxy.drain(deadline_s=0.3)
        assert await ends.client.exactly(4) == RESTART
        await ends.client.send(close_frame(1012, mask=b"mask"))
        await ends.server.send(close_frame(1001))
        assert await ends.client.to_end() == b""
