"""A single request over HTTP/2, by a task, with a server that stops in the middle."""

from __future__ import annotations

import h2.config
import h2.connection
import pytest
import trio

from http_trio.http2.upstream.single import SingleStream
from http_trio.limits import Limits
from http_trio.upstream.response_reader import read_head

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class ClosingServer:
    """A transport to a server that says something, closes, and then takes nothing."""

    buffer = b""
    room = 65_536
    has_hung_up = False
    trailers = b""

    def add_trailers(self, lines: bytes) -> None:
        raise AssertionError(lines)

    def __init__(self, *, says: bool, takes: bool = True) -> None:
        config = h2.config.H2Configuration(client_side=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.reads = 0
        self._says, self._takes = says, takes
        self._is_closed = False

    async def receive(self, idle_s: float, most: int = 0) -> bytes:
        """Give the end again and again, at once, as a socket does."""
        self.reads += 1
        assert self.reads < 100, "it reads on behind the end"
        if self._is_closed:
            return b""
        self._is_closed = True
        if self._says:
            self.h2.send_headers(1, [(":status", "413")])
            self.h2.send_data(1, b"no", end_stream=True)
        return self.h2.data_to_send()

    async def send(self, data: bytes | memoryview, idle_s: float) -> None:
        if self._is_closed and not self._takes:
            raise BrokenPipeError
        if not self._is_closed:
            self.h2.receive_data(bytes(data))

    async def receive_into(self, view: memoryview, idle_s: float) -> int:
        raise AssertionError("a stream of its own does not ask for that")

    async def receive_ahead(self) -> bytes:
        raise AssertionError("a stream of its own does not ask for that")

    async def wait_room(self, idle_s: float) -> int:
        return self.room

    def end_sending(self) -> None:
        raise AssertionError("a stream of its own does not ask for that")


def speaking_to(server: ClosingServer) -> SingleStream:
    return SingleStream(server, Limits(), name="a", scheme=b"http")


@pytest.mark.parametrize("says", [True, False])
async def test_a_server_that_closes_takes_no_more_of_a_body(says: bool) -> None:
    """Its window stays closed, so there would be no room for ever."""
    stream = speaking_to(ClosingServer(says=says))
    with trio.fail_after(30):
        await stream.send(POST, 1.0)
        with pytest.raises(ConnectionResetError):
            await stream.send(b"x" * 400_000, 1.0)


async def test_what_a_server_said_before_it_closed_is_read() -> None:
    stream = speaking_to(ClosingServer(says=True, takes=False))
    with trio.fail_after(30):
        await stream.send(POST + b"x" * 400_000, 1.0)  # as far as the window goes
        head, rest = await read_head(stream, b"POST", idle_s=1.0)
        assert head.status == 413
        assert b"no" in rest + await stream.receive(1.0)


async def test_a_server_that_closes_without_a_response() -> None:
    stream = speaking_to(ClosingServer(says=False, takes=False))
    with trio.fail_after(30):
        await stream.send(GET, 1.0)
        with pytest.raises(ConnectionResetError):
            await stream.receive(1.0)
