"""A server of HTTP/2 that a test plays, frame by frame: `h2`, the strictest judge there is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
import trio

from http_trio import Http2Upstream

Fields = list[tuple[bytes, bytes]]
Script = Callable[["H2Request"], Awaitable[None]]
OK: Fields = [(b":status", b"200")]


@attrs.define(eq=False)
class H2Request:
    """One request as the server got it, and its stream."""

    talk: H2Talk
    stream_id: int
    fields: Fields
    body: bytes = b""
    trailers: Fields = attrs.field(factory=list)
    ended: bool = False
    reset: int | None = None
    news: trio.Event = attrs.field(factory=trio.Event)

    def get(self, name: bytes) -> bytes | None:
        return dict(self.fields).get(name)

    async def wait(self, condition: Callable[[H2Request], bool]) -> None:
        while not condition(self):
            await self.news.wait()

    async def more(self, than: int) -> None:
        """Wait for more of the body, or its end."""
        await self.wait(lambda self: self.ended or len(self.body) > than)

    async def whole(self) -> bytes:
        await self.wait(lambda self: self.ended)
        return self.body

    def changed(self) -> None:
        self.news.set()
        self.news = trio.Event()

    async def head(self, fields: Fields = OK, *, ended: bool = False) -> None:
        self.talk.h2.send_headers(self.stream_id, fields, end_stream=ended)
        await self.talk.flush()

    async def data(self, data: bytes, *, ended: bool = False) -> None:
        await self.talk.send_data(self.stream_id, data, ended=ended)

    async def end(self, trailers: Fields) -> None:
        self.talk.h2.send_headers(self.stream_id, trailers, end_stream=True)
        await self.talk.flush()

    async def answer(self, body: bytes = b"", fields: Fields = OK) -> None:
        await self.head(fields, ended=not body)
        if body:
            await self.data(body, ended=True)

    async def cancel(self, code: int) -> None:
        self.talk.h2.reset_stream(self.stream_id, code)
        await self.talk.flush()


class H2Talk:
    """One connection of a client."""

    def __init__(self, server: H2Server, stream: Any) -> None:
        self.server = server
        self.stream = stream
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.requests: dict[int, H2Request] = {}
        self.pings = 0
        self.most_at_once = 0
        self._sending = trio.Lock()
        self._news = trio.Event()

    async def run(self) -> None:
        settings: Any = self.server.settings
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values=settings
        )
        self.h2.initiate_connection()
        await self.flush()
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    data = await self.stream.receive_some()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                if not data:
                    break
                try:
                    events = self.h2.receive_data(data)
                except h2.exceptions.ProtocolError as exc:
                    self.server.faults.append(exc)
                    await self.flush()
                    break
                for event in events:
                    self._take(event, nursery)
                await self.flush()
                self._news.set()
                self._news = trio.Event()
            nursery.cancel_scope.cancel()

    async def goaway(self, last: int, code: int = 0) -> None:
        """Say so; unlike `h2`, go on with what is below."""
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=last, error_code=code)
        async with self._sending:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(frame.serialize())

    async def flush(self) -> None:
        async with self._sending:
            data = self.h2.data_to_send()
            if data:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.stream.send_all(data)

    async def send_data(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        at = 0
        while at < len(data):
            window = min(
                self.h2.local_flow_control_window(stream_id),
                self.h2.max_outbound_frame_size,
                len(data) - at,
            )
            if not window:
                await self._news.wait()
                continue
            piece = data[at : at + window]
            at += window
            self.h2.send_data(stream_id, piece, end_stream=ended and at == len(data))
            await self.flush()
            self.server.sent += len(piece)

    def _take(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        match event:
            case h2.events.RequestReceived():
                assert event.stream_id
                assert event.headers
                request = H2Request(self, event.stream_id, list(event.headers))
                self.requests[event.stream_id] = request
                self.server.asked.append(request)
                self.most_at_once = max(self.most_at_once, self.h2.open_inbound_streams)
                nursery.start_soon(self.server.run_script, request)
            case h2.events.DataReceived():
                request = self.requests[event.stream_id]
                request.body += event.data
                self.server.got += len(event.data)
                if self.server.reads:
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                request.changed()
            case h2.events.TrailersReceived():
                self.requests[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamEnded():
                self.requests[event.stream_id].ended = True
                self.requests[event.stream_id].changed()
            case h2.events.StreamReset():
                if event.stream_id in self.requests:
                    self.requests[event.stream_id].reset = int(event.error_code)
                    self.requests[event.stream_id].changed()
            case h2.events.PingReceived():
                self.pings += 1


@attrs.define(eq=False)
class H2Server:
    """The server, its connections and what it was asked."""

    script: Script
    settings: dict[int, int]
    context: ssl.SSLContext | None = None
    port: int = 0
    reads: bool = True
    """Whether windows are opened as bodies come."""
    sent: int = 0
    got: int = 0
    asked: list[H2Request] = attrs.field(factory=list)
    talks: list[H2Talk] = attrs.field(factory=list)
    faults: list[Exception] = attrs.field(factory=list)

    def upstream(self, tls: ssl.SSLContext | None = None) -> Http2Upstream:
        address = (trio.socket.AF_INET, ("127.0.0.1", self.port))
        return Http2Upstream(f"h2:{self.port}", [address], b"localhost", tls=tls)

    async def run_script(self, request: H2Request) -> None:
        with suppress(h2.exceptions.ProtocolError):  # it may be over meanwhile
            await self.script(request)

    async def serve(self, stream: Any) -> None:
        if self.context is not None:
            stream = trio.SSLStream(stream, self.context, server_side=True)
        talk = H2Talk(self, stream)
        self.talks.append(talk)
        try:
            await talk.run()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def h2_server(
    script: Script,
    *,
    settings: dict[int, int] | None = None,
    context: ssl.SSLContext | None = None,
    reads: bool = True,
) -> AsyncIterator[H2Server]:
    """Run a server of HTTP/2 on a free port."""
    server = H2Server(script, settings or {}, context, reads=reads)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        )
        server.port = listeners[0].socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()
