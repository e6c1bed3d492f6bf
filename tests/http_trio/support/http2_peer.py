"""An HTTP/2 client as a test plays it: frames as bytes, good or bad, and a strict reader.

It sends whatever it is told, checked by nobody, and knows what it has let the server
send. The rule that it obeys: what the server may not do (RFC 9113) fails the test.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import hpack
import pytest
import trio

from http_trio import Handler, HttpServer, Limits, Tls, Upstream, forward, serve
from http_trio.testing.peers import Script, fake_upstream
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.watched import Books, Watched

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(
    10
)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE = 4
OF_CONNECTION = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"),
    b"upgrade",
}

Fields = Iterable[tuple[bytes | str, bytes | str]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Give a frame (RFC 9113 section 4.1)."""
    size = struct.pack("!I", len(payload))[1:]
    return size + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def literal(fields: Fields) -> bytes:
    """Give a header block of fields as they are, whatever they are."""

    def text(value: bytes | str) -> bytes:
        data = value.encode("latin-1") if isinstance(value, str) else value
        left, size = len(data) - 127, bytes([min(len(data), 127)])
        while left >= 0:
            size += bytes([left & 127 | (128 if left > 127 else 0)])
            left = (left >> 7) or -1
        return size + data

    return b"".join([b"\0" + text(name) + text(value) for name, value in fields])


def get(path: str = "/", *more: tuple[Any, Any], method: str = "GET") -> Fields:
    """Give the fields of a request."""
    first = (":method", method), (":scheme", "https"), (":path", path)
    return [*first, (":authority", "a.test"), *more]


@attrs.define
class ClientStream:
    """What came on one stream."""

    heads: list[dict[bytes, bytes]] = attrs.field(factory=list)
    body: bytearray = attrs.field(
        factory=bytearray, repr=lambda body: f"{len(body)} bytes"
    )
    trailers: dict[bytes, bytes] | None = None
    ended: bool = False
    reset: int | None = None
    window: int = 65_535
    credit: int = 0

    @property
    def status(self) -> int:
        """The final one; 0 before."""
        return int(self.heads[-1][b":status"]) if self.has_head else 0

    @property
    def has_head(self) -> bool:
        return bool(self.heads) and self.heads[-1][b":status"][:1] != b"1"

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """A client.

    Attributes:
        streams: what came, by stream.
        goaways: (last stream, code) of each that came.
        closed: whether the server has closed.
        reads: whether it lets the server send on as it reads.
    """

    def __init__(self, stream: trio.abc.Stream, *, window: int = 65_535) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._buffer = b""
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder()
        self._next = 1
        self._initial = window
        self.window = 65_535
        self.streams: dict[int, ClientStream] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pongs = 0
        self.credit = 65_535
        self._their_initial = 65_535
        self.closed = False
        self.reads = True

    # === sending ===

    async def send(self, data: bytes) -> None:
        with trio.move_on_after(10, shield=True):  # half a send would break the stream
            async with self._sending:
                await self._stream.send_all(data)

    async def begin(self) -> None:
        """Send the preface, and our settings."""
        window = struct.pack("!HI", INITIAL_WINDOW_SIZE, self._initial)
        await self.send(PREFACE + frame(SETTINGS, 0, 0, window))

    def head(self, fields: Fields, *, ends: bool = True, raw: bool = False) -> bytes:
        """Give the frame that opens the next stream, whose number is `last`."""
        block = literal(fields) if raw else self._encoder.encode(list(fields))
        self.streams[self._next] = ClientStream(
            window=self._initial, credit=self._their_initial
        )
        self._next += 2
        pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
        data = b""
        for number, piece in enumerate(pieces):
            flags = END_HEADERS if number == len(pieces) - 1 else 0
            if number:
                data += frame(MORE, flags, self.last, piece)
            else:
                data += frame(HEADERS, flags | (END_STREAM * ends), self.last, piece)
        return data

    async def send_all_of(self, bodies: dict[int, bytes], *, ends: bool = True) -> None:
        """Send bodies, by stream, each a piece in turn, as far as the server allows."""
        left = dict(bodies)
        while left:
            before = {*left}
            for stream in before:
                room = min(self.streams[stream].credit, self.credit, 16_384)
                if room <= 0:
                    continue
                piece, left[stream] = left[stream][:room], left[stream][room:]
                await self.data(stream, piece, ends=ends and not left[stream])
                if not left[stream]:
                    del left[stream]
            await self._read_what_is_there()
            if left:
                await self.wait(
                    lambda: any(
                        min(self.streams[s].credit, self.credit) > 0 for s in left
                    )
                )

    @property
    def last(self) -> int:
        return self._next - 2

    async def ask(
        self,
        path: str = "/",
        *more: tuple[Any, Any],
        method: str = "GET",
        ends: bool = True,
        raw: bool = False,
    ) -> int:
        """Begin a request; give its stream's number."""
        await self.send(self.head(get(path, *more, method=method), ends=ends, raw=raw))
        return self.last

    async def data(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send a piece of a body, whether or not it may."""
        self.credit -= len(data)
        self.streams[stream].credit -= len(data)
        pieces = [data[at : at + 16_384] for at in range(0, len(data), 16_384)] or [b""]
        for piece in pieces[:-1]:
            await self.send(frame(DATA, 0, stream, piece))
        await self.send(frame(DATA, END_STREAM if ends else 0, stream, pieces[-1]))

    async def trailers(self, stream: int, fields: Fields) -> None:
        """End a request with trailers."""
        block = self._encoder.encode(list(fields))
        await self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))

    async def reset(self, stream: int, code: int = 8) -> None:
        await self.send(frame(RST_STREAM, 0, stream, struct.pack("!I", code)))

    async def open_window(self, stream: int, size: int) -> None:
        if stream:
            self.streams[stream].window += size
        else:
            self.window += size
        await self.send(frame(WINDOW, 0, stream, struct.pack("!I", size)))

    async def change_window(self, size: int) -> None:
        """Change what all streams may send (section 6.9.2)."""
        for stream in self.streams.values():
            stream.window += size - self._initial
        self._initial = size
        await self.send(
            frame(SETTINGS, 0, 0, struct.pack("!HI", INITIAL_WINDOW_SIZE, size))
        )

    # === reading ===

    async def wait(self, until: Callable[[], object], within_s: float = 40) -> None:
        """Read until something holds; fails if it does not in time, or at an end."""
        with trio.fail_after(within_s):
            while not until():
                assert not self.closed, f"closed; {self.goaways}, {self.streams}"
                await self._read()

    async def idle(self, for_s: float) -> None:
        """Read for a while."""
        with trio.move_on_after(for_s):
            while not self.closed:
                await self._read()

    async def wait_over(self, *streams: int, within_s: float = 40) -> ClientStream:
        """Read until the streams are over; give the last one's."""
        await self.wait(
            lambda: all(self.streams[one].over for one in streams), within_s
        )
        return self.streams[streams[-1]]

    async def wait_closed(self, within_s: float = 40) -> int:
        """Read until the server closes; give the code of its GOAWAY."""
        with trio.fail_after(within_s):
            while not self.closed:
                await self._read()
        assert self.goaways, "closed without a GOAWAY"
        return self.goaways[-1][1]

    async def fetch(self, path: str = "/", **more: Any) -> ClientStream:
        """Ask, and read until the response is whole."""
        return await self.wait_over(await self.ask(path, **more))

    async def fetch_of(self, *more: tuple[Any, Any]) -> ClientStream:
        """Ask with more fields, and read until the response is whole."""
        return await self.wait_over(await self.ask("/", *more))

    async def _read_what_is_there(self) -> None:
        with trio.move_on_after(0):
            while not self.closed:
                await self._read()

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some(65_536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.closed = True
            return
        data, at, out = self._buffer + data, 0, b""
        while len(data) >= at + 9:
            size = int.from_bytes(data[at : at + 3], "big")
            assert size <= 16_384, "a frame beyond SETTINGS_MAX_FRAME_SIZE"
            if len(data) < at + 9 + size:
                break
            number = int.from_bytes(data[at + 5 : at + 9], "big")
            payload = data[at + 9 : at + 9 + size]
            out += self._take(data[at + 3], data[at + 4], number, payload)
            at += 9 + size
        self._buffer = data[at:]
        if out:
            try:
                await self.send(out)
            except trio.BrokenResourceError:
                self.closed = True

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> bytes:
        """Take a frame; give what is said to it."""
        if kind == SETTINGS and not flags & ACK:
            self._take_settings(payload)
            return frame(SETTINGS, ACK, 0)
        if kind == PING:
            self.pongs += bool(flags & ACK)
            return b"" if flags & ACK else frame(PING, ACK, 0, payload)
        if kind == GOAWAY:
            self.goaways.append(struct.unpack("!II", payload[:8]))
        elif kind == WINDOW:
            self._take_window(number, int.from_bytes(payload, "big"))
        elif kind == RST_STREAM:
            self.streams.setdefault(number, ClientStream()).reset = int.from_bytes(
                payload, "big"
            )
        elif kind in (HEADERS, DATA):
            stream = self.streams[number]
            assert not stream.over, "a frame behind the end"
            if kind == DATA:
                return self._take_data(stream, number, flags, payload)
            self._take_head(stream, flags, payload)
        return b""

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack("!HI", payload):
            if name == INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.credit += value - self._their_initial
                self._their_initial = value

    def _take_window(self, number: int, increment: int) -> None:
        assert 0 < increment < 2**31
        if number:
            self.streams[number].credit += increment
        else:
            self.credit += increment

    def _take_data(
        self, stream: ClientStream, number: int, flags: int, payload: bytes
    ) -> bytes:
        assert stream.has_head, "a body without a head"
        stream.body += payload
        stream.window -= len(payload)
        self.window -= len(payload)
        if payload:
            assert stream.window >= 0, "more than the stream's window"
            assert self.window >= 0, "more than the connection's window"
        stream.ended = bool(flags & END_STREAM)
        if not self.reads or not payload:
            return b""
        stream.window += len(payload)
        self.window += len(payload)
        size = struct.pack("!I", len(payload))
        own = b"" if stream.ended else frame(WINDOW, 0, number, size)
        return own + frame(WINDOW, 0, 0, size)

    def _take_head(self, stream: ClientStream, flags: int, payload: bytes) -> None:
        assert flags & END_HEADERS
        fields = self._decode(payload)
        names = [name for name, _ in fields]
        assert names == [name.lower() for name in names]
        assert not OF_CONNECTION & {*names}, names
        assert all(value == value.strip(b" \t") for _, value in fields)
        stream.ended = bool(flags & END_STREAM)
        if stream.has_head:
            assert stream.ended, "trailers without an end"
            assert not any(name[:1] == b":" for name in names)
            stream.trailers = dict(fields)
            return
        assert names[0] == b":status"
        assert not any(name[:1] == b":" for name in names[1:])
        stream.heads.append(dict(fields))
        assert not stream.ended or stream.has_head, "an end without a response"

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        return [tuple(one) for one in self._decoder.decode(block, raw=True)]  # type: ignore[misc]


# === servers ===


@asynccontextmanager
async def serving_http2(
    handler: Handler, authority: Authority, **more: Any
) -> AsyncIterator[HttpServer]:
    """Run a server with TLS on a free port."""
    tls = Tls(*authority.issue())
    async with trio.open_nursery() as nursery:
        start = partial(serve, handler, ["127.0.0.1:0"], tls=tls, **more)
        yield await nursery.start(start)
        nursery.cancel_scope.cancel()


def port_of(server: HttpServer) -> int:
    return int(server.addresses[0].rpartition(":")[2])


@asynccontextmanager
async def http2_client(
    server: HttpServer, authority: Authority, *, window: int = 65_535
) -> AsyncIterator[Http2Client]:
    """Connect; the whole is done within a minute."""
    with trio.fail_after(60):
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(server))
        secure = trio.SSLStream(
            plain,
            authority.trusting("h2"),
            server_hostname="localhost",
            https_compatible=True,
        )
        try:
            await secure.do_handshake()
            client = Http2Client(secure, window=window)
            await client.begin()
            yield client
        finally:
            await trio.aclose_forcefully(secure)


@asynccontextmanager
async def watched_http2(
    script: Script,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    limits: Limits | None = None,
) -> AsyncIterator[Watched]:
    """Run a proxy in front of an upstream; at the end its books are balanced."""
    books = Books()
    async with fake_upstream(script) as fake:
        upstream: Upstream = fake.upstream

        def handler(exchange: Any) -> None:
            books.begun += 1
            forward(exchange, upstream, books)

        async with serving_http2(handler, authority, limits=limits) as proxy:
            one = Watched(proxy, fake, upstream, books)
            yield one
            await one.wait_settled()
    assert not [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
