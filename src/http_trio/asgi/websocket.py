"""One WebSocket of an ASGI server, over a connection to the event loop.

ASGI hands over messages, the engine tunnels bytes, so the frames between them are
put together and taken apart here, by wsproto. Two tasks, one for each direction.
"""

from __future__ import annotations

import base64
import math
import socket

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.utilities import ProtocolError as FrameError

from http_trio.asgi.http import Receive, ResponseCut, Send, read_own_head
from http_trio.asgi.messages import Scope, response_fields, websocket_fields
from http_trio.http1.body import BodyTranscoder
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.response_head import ResponseHead
from http_trio.net.stream import SocketStream

MESSAGE = 16 * 1024 * 1024
"""Bytes of a message from the upstream; a larger one closes the WebSocket with 1009."""

_ERROR_RESPONSE = 1024 * 1024  # of a response that is no WebSocket, passed on at most


def new_key(random: bytes) -> bytes:
    """Give a Sec-WebSocket-Key; random is of 16 bytes (RFC 6455 section 4.1)."""
    return base64.b64encode(random)


class WebSocketExchange:
    """One WebSocket."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        extensions = scope.get("extensions") or {}
        self._answers = "websocket.http.response" in extensions
        self._frames = Connection(ConnectionType.CLIENT)
        self._accepted = False
        self._sending = trio.Lock()
        self._pieces: list[str | bytes] = []
        self._size = 0

    async def run(self, request: bytes, sock: socket.socket) -> None:
        """Carry it over a connection to the event loop."""
        stream = SocketStream(sock)
        await self._receive()  # websocket.connect
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_up, SocketStream(sock))
            try:
                await stream.send(request, math.inf)
                await self._respond(stream)
            except (ResponseCut, OSError):
                await self._close(1011)
            nursery.cancel_scope.cancel()

    async def _respond(self, stream: SocketStream) -> None:
        head, rest = await self._read_final(stream)
        if head.status != 101:
            await self._refuse(head, stream, rest)
            return
        subprotocol, fields = websocket_fields(head)
        self._accepted = True
        await self._send(
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
                "headers": fields,
            }
        )
        stream.buffer = rest
        await self._pass_down(stream)

    async def _read_final(self, stream: SocketStream) -> tuple[ResponseHead, bytes]:
        while True:
            head, rest = await read_own_head(stream, b"GET")
            if head.status == 101 or head.status >= 200:
                return head, rest
            stream.buffer = rest

    async def _refuse(
        self, head: ResponseHead, stream: SocketStream, rest: bytes
    ) -> None:
        """Pass on a response that is no WebSocket."""
        if not self._answers:
            await self._send({"type": "websocket.close", "code": 1000})
            return
        body = await _read_body(head, stream, rest)
        fields = [
            pair for pair in response_fields(head) if pair[0] != b"content-length"
        ]
        fields.append((b"content-length", b"%d" % len(body)))
        await self._send(
            {
                "type": "websocket.http.response.start",
                "status": head.status,
                "headers": fields,
            }
        )
        await self._send({"type": "websocket.http.response.body", "body": body})

    # === the client's messages ===

    async def _pass_up(self, stream: SocketStream) -> None:
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                text = message.get("text")
                await self._send_up(
                    stream,
                    TextMessage(data=text)
                    if text is not None
                    else BytesMessage(data=message["bytes"]),
                )
            code = message.get("code") or 1005
            await self._send_up(stream, CloseConnection(code=_sendable(code)))
            # No cancelling here: the server may be about to end its side.
            stream.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other direction sees the end, and what came before it

    async def _send_up(self, stream: SocketStream, event: Event) -> None:
        async with self._sending:  # whole frames, whichever task sends them
            if self._accepted and self._frames.state is not ConnectionState.CLOSED:
                await stream.send(self._frames.send(event), math.inf)

    # === the upstream's messages ===

    async def _pass_down(self, stream: SocketStream) -> None:
        reply = SocketStream(stream.sock)
        while True:
            try:
                data = await stream.receive(math.inf)
            except OSError:
                data = b""
            if not data:
                await self._close(1006)
                return
            try:
                self._frames.receive_data(data)
                for event in self._frames.events():
                    if not await self._take(event, reply):
                        return
            except FrameError:
                await self._close(1002)
                return

    async def _take(self, event: Event, reply: SocketStream) -> bool:
        """Handle one event; give whether to go on."""
        if isinstance(event, Message):
            self._pieces.append(event.data)
            self._size += len(event.data)
            if self._size > MESSAGE:
                await self._close(1009)
                return False
            if event.message_finished:
                await self._send_message()
        elif isinstance(event, Ping):
            await self._send_up(reply, event.response())
        elif isinstance(event, CloseConnection):
            await self._close(event.code, event.reason)
            return False
        return True

    async def _send_message(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        texts = [piece for piece in pieces if isinstance(piece, str)]
        if texts:
            await self._send({"type": "websocket.send", "text": "".join(texts)})
        else:
            whole = b"".join(piece for piece in pieces if not isinstance(piece, str))
            await self._send({"type": "websocket.send", "bytes": whole})

    async def _close(self, code: int, reason: str | None = None) -> None:
        await self._send(
            {
                "type": "websocket.close",
                "code": _sendable(code),
                "reason": reason or "",
            }
        )


async def _read_body(head: ResponseHead, stream: SocketStream, data: bytes) -> bytes:
    transcoder = BodyTranscoder(head.framing, UNTIL_CLOSE)
    pieces = [transcoder.feed(data)]
    while not transcoder.done and sum(map(len, pieces)) < _ERROR_RESPONSE:
        data = await stream.receive(math.inf)
        if not data:
            break
        pieces.append(transcoder.feed(data))
    return b"".join(pieces)


def _sendable(code: int) -> int:
    """Codes that say "there was none" may not be sent (RFC 6455 section 7.4.1)."""
    return {1005: 1000, 1006: 1001, 1015: 1001}.get(code, code)
