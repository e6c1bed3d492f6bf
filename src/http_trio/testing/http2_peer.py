"""Either end of HTTP/2 without TLS, as a test or a load plays it: streams as trio code.

A client asks, and a server is called, with a `PeerStream`; both send and receive at their own
pace, and what is not received holds the other side back. The rule that it obeys: who asked is
told whether a lost request was never looked at (`StreamLost.unprocessed`), since then any
client may ask again (RFC 9113 sections 6.8 and 8.7). One file, since a connection and
its streams are one thing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import trio

from http_trio.http2.session import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
    REFUSED_STREAM,
    Fields,
    Http2Session,
    Http2Settings,
    code_name,
)
from http_trio.limits import Limits

RECEIVE = 64 * 1024
"""Bytes that are read, and sent, at a time."""

SEND_S = 10.0
"""So long the other side may take nothing, then what was to be sent is left."""

ServeStream = Callable[["PeerStream"], Awaitable[None]]


class StreamLost(Exception):
    """A stream ended before its time, or its connection did.

    Attributes:
        unprocessed: whether the server said that it never looked at the request.
    """

    def __init__(self, why: str, *, unprocessed: bool = False) -> None:
        super().__init__(why)
        self.unprocessed = unprocessed


class PeerStream:
    """One request with its response.

    Attributes:
        number: of the stream.
        head: the fields of the final response, or of the request; empty until they come.
        trailers: the fields behind the body; empty where there are none.
    """

    def __init__(self, peer: Http2Peer, number: int) -> None:
        self.number = number
        self.head: dict[bytes, bytes] = {}
        self.trailers: dict[bytes, bytes] = {}
        self._peer = peer
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._lost: StreamLost | None = None
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<PeerStream {self.number} ended={self._ended} lost={self._lost}>"

    async def send_head(self, fields: Fields, *, ended: bool = False) -> None:
        """Send a final response's head."""
        self._peer.session.send_response(self.number, fields, ended=ended)
        await self._peer.flush()

    async def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send a piece of a body, and wait until the other side has made room for it."""
        session = self._peer.session
        session.send_data(self.number, data, ended=ended)
        await self._peer.flush()
        while session.queued(self.number) and self._lost is None:
            await self._wait()

    async def send_trailers(self, fields: Fields) -> None:
        """End what we send with trailers."""
        self._peer.session.send_trailers(self.number, fields)
        await self._peer.flush()

    async def reset(self, code: int = CANCEL) -> None:
        """End the stream at once."""
        self._peer.session.reset(self.number, code)
        await self._peer.flush()

    async def wait_head(self) -> dict[bytes, bytes]:
        """Wait for the final response's head.

        Raises:
            StreamLost: there is none.
        """
        while not self.head:
            await self._wait()
        return self.head

    async def receive(self) -> bytes:
        """Give the next piece of the body; empty at its end.

        Raises:
            StreamLost: it was cut.
        """
        while not self._pieces:
            if self._ended:
                return b""
            await self._wait()
        piece = self._pieces.popleft()
        self._peer.session.consumed(self.number, len(piece))
        await self._peer.flush()
        return piece

    async def receive_all(self) -> bytes:
        """Give the rest of the body, and wait for its end; as `receive`."""
        found = b""
        while piece := await self.receive():
            found += piece
        return found

    def lose(self, why: str, *, unprocessed: bool = False) -> None:
        """Note that it is lost, unless it is over."""
        if not self._ended and self._lost is None:
            self._lost = StreamLost(why, unprocessed=unprocessed)
        self.tell()

    def take(self, piece: bytes, *, ended: bool) -> None:
        """Note what came."""
        if piece:
            self._pieces.append(piece)
        self._ended = self._ended or ended
        self.tell()

    def tell(self) -> None:
        """Wake who waits."""
        self._news.set()
        self._news = trio.Event()

    async def _wait(self) -> None:
        if self._lost is not None:
            raise self._lost
        await self._news.wait()


class Http2Peer:
    """One connection, by either side.

    Attributes:
        session: its state.
        going: whether the other side takes no more requests.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        serve: ServeStream | None,
        nursery: trio.Nursery,
    ) -> None:
        settings = Http2Settings.for_clients(Limits())
        self.session = Http2Session(self, settings, is_client=serve is None)
        self.going = False
        self._over, self._ready = trio.Event(), trio.Event()
        self._stream = stream
        self._serve = serve
        self._nursery = nursery
        self._streams: dict[int, PeerStream] = {}
        self._sending = trio.Lock()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "going" if self.going else "open"
        return f"<Http2Peer {state}, {len(self._streams)} streams>"

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._over.is_set()

    async def wait_settings(self) -> None:
        """Wait until the other side has said what it takes, or the connection is over."""
        await self._ready.wait()

    async def wait_closed(self) -> None:
        """Wait until it is."""
        await self._over.wait()

    async def request(self, fields: Fields, *, ended: bool = True) -> PeerStream:
        """Begin a request.

        Raises:
            StreamLost: the connection takes none any more.
        """
        number = 0
        if not (self.going or self.closed):
            number = self.session.send_request(fields, ended=ended)
        if not number:
            raise StreamLost("the connection takes no more", unprocessed=True)
        made = self._streams[number] = PeerStream(self, number)
        await self.flush()
        return made

    async def flush(self) -> None:
        """Send what there is."""
        with trio.CancelScope(shield=True) as scope:  # half a frame would break it
            scope.deadline = trio.current_time() + SEND_S
            await self._send()

    async def _send(self) -> None:
        async with self._sending:
            try:
                while data := self.session.output(RECEIVE):
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end("the connection broke")

    async def run(self) -> None:
        """Read until the connection is over."""
        await self.flush()
        why = "the connection ended"
        try:
            while data := await self._stream.receive_some(RECEIVE):
                self.session.receive(bytes(data))
                await self.flush()
                for one in tuple(self._streams.values()):
                    one.tell()  # there may be room to send
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            why = "the connection broke"
        self._end(why)

    def _end(self, why: str) -> None:
        self._over.set()
        self._ready.set()
        for one in tuple(self._streams.values()):
            one.lose(why)
        self._streams.clear()

    # === what the session tells ===

    def head_received(
        self, stream_id: int, fields: Iterable[tuple[bytes, bytes]], *, ended: bool
    ) -> None:
        """Take a head; a server serves it in a task."""
        if self._serve is not None:
            self._streams[stream_id] = PeerStream(self, stream_id)
        one = self._streams.get(stream_id)
        if one is None:
            return
        one.head = dict(fields)
        one.take(b"", ended=ended)
        if self._serve is not None:
            self._nursery.start_soon(self._run_stream, self._serve, one)

    async def _run_stream(self, serve: ServeStream, one: PeerStream) -> None:
        try:
            await serve(one)
        except StreamLost:
            await one.reset(INTERNAL_ERROR)

    def interim_received(
        self, stream_id: int, fields: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Pass over a 1xx response."""

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        """Take a piece of a body."""
        one = self._streams.get(stream_id)
        if one is None:
            self.session.consumed(stream_id, len(data))
        else:
            one.take(data, ended=ended)

    def trailers_received(
        self, stream_id: int, fields: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Take the trailers."""
        if one := self._streams.get(stream_id):
            one.trailers = dict(fields)
            one.take(b"", ended=True)

    def stream_reset(self, stream_id: int) -> None:
        """Wait for `stream_closed`, which has the code."""

    def stream_closed(self, stream_id: int, code: int) -> None:
        """Take that a stream is over."""
        if one := self._streams.pop(stream_id, None):
            lost = "closed without an end" if code == NO_ERROR else code_name(code)
            one.lose(lost, unprocessed=code == REFUSED_STREAM)

    def settings_received(self) -> None:
        """Take that the other side's settings have come; the session keeps to them."""
        self._ready.set()

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """Take that no more is taken, and what of it never was looked at."""
        self.going = True
        for number in [one for one in self._streams if one > last_stream_id]:
            lost = f"GOAWAY, {code_name(code)}"
            self._streams.pop(number).lose(lost, unprocessed=True)

    def ping_answered(self) -> None:
        """Pass over it: we ask for none."""

    def connection_failed(self, code: int, reason: str) -> None:
        """Take that the session is over."""
        self._end(f"{code_name(code)}: {reason}")


@asynccontextmanager
async def http2_connection(host: str, port: int) -> AsyncIterator[Http2Peer]:
    """Connect to a server that speaks HTTP/2 at once; close at the end."""
    stream = await trio.open_tcp_stream(host, port)
    async with trio.open_nursery() as nursery:
        peer = Http2Peer(stream, None, nursery)
        nursery.start_soon(peer.run)
        try:
            yield peer
        finally:
            nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(stream)


async def serve_http2(stream: trio.abc.Stream, serve: ServeStream) -> None:
    """Serve one connection until it is over, each request in a task of its own."""
    async with trio.open_nursery() as nursery:
        await Http2Peer(stream, serve, nursery).run()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
