"""One HTTP exchange of an ASGI server, over a connection to the event loop.

Two tasks: one sends the request and its body, then waits for the client to leave;
the other brings the response back. Each waits for the slower side, so neither holds
more than a buffer. No wait has a limit here: the event loop has them all, and closes.

The rule that it obeys: when the client is gone, the connection closes, and with it
whatever hangs on the exchange; a response that was cut never looks whole.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from http_trio.asgi.messages import RequestLines, Scope, response_fields, split_fields
from http_trio.errors import HttpError
from http_trio.http1.body import Truncated, is_allowed_in_trailer
from http_trio.http1.chunked import ChunkedReader
from http_trio.http1.framing import CHUNKED
from http_trio.http1.response_head import ResponseHead
from http_trio.net.stream import SocketStream
from http_trio.upstream.response_reader import read_head

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FIRST_S = 0.2  # until the head goes ahead of a body whose first bytes dawdle
_LINGER_S = 2.0  # as `Limits.linger_s`: for the next piece of an upload, once answered
_TRAILERS = 8 * 1024  # as `Limits.trailers`; the event loop has checked them


class ResponseCut(HttpError):
    """The response broke off after its head was sent; the server must cut it, too."""


async def read_own_head(
    stream: SocketStream, method: bytes
) -> tuple[ResponseHead, bytes]:
    """Read a response's head from the event loop, and what came of its body with it.

    Raises:
        ResponseCut: the event loop closed without a response.
    """
    try:
        return await read_head(stream, method)
    except (OSError, Truncated) as exc:
        raise ResponseCut("the connection was closed without a response") from exc


class HttpExchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        extensions = scope.get("extensions") or {}
        self._early_hints = "http.response.early_hint" in extensions
        self._trailers = "http.response.trailers" in extensions and any(
            name == b"te" and value == b"trailers" for name, value in scope["headers"]
        )
        self._streams = scope["http_version"] >= "2"
        self._uploaded = trio.Event()
        self._heard = 0
        self._gone = False

    async def run(self, asked: RequestLines, sock: socket.socket) -> None:
        """Carry it over a connection to the event loop.

        Raises:
            ResponseCut: the response broke off.
        """
        cut: ResponseCut | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask, asked, sock)
            try:
                await self._respond(asked.method, SocketStream(sock))
            except ResponseCut as exc:
                cut = exc
            nursery.cancel_scope.cancel()
        if cut is not None and not self._gone:
            raise cut

    # === towards the event loop ===

    async def _ask(self, asked: RequestLines, sock: socket.socket) -> None:
        stream, first, framing = SocketStream(sock), None, asked.framing
        if framing is None:
            first = await self._first_message()
            whole = first is not None and not first.get("more_body", False)
            framing = len(first.get("body", b"")) if first and whole else CHUNKED
        try:
            if not self._gone:
                await stream.send(asked.head(framing), math.inf)
                await self._send_body(stream, framing, first)
        except OSError:
            pass  # it has heard enough; what it answers says why
        while not self._gone:  # the rest of a body that nobody wants, then the end
            await self._hear()
        # No cancelling here: the server may be about to end its side of the response.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    async def _first_message(self) -> Message | None:
        with trio.move_on_after(_FIRST_S):
            return await self._hear()
        return None

    async def _hear(self) -> Message:
        message = await self._receive()
        self._heard += 1
        if message["type"] == "http.disconnect":
            self._gone = True
        if not message.get("more_body", False):
            self._uploaded.set()
        return message

    async def _send_body(
        self, stream: SocketStream, framing: int, message: Message | None
    ) -> None:
        left = math.inf if framing == CHUNKED else framing
        while left > 0:
            message = message or await self._hear()
            if self._gone:
                return
            body = message.get("body", b"")
            if body and framing == CHUNKED:
                await stream.send(b"%x\r\n%b\r\n" % (len(body), body), math.inf)
            elif body:
                await stream.send(body[: int(left)], math.inf)
                left -= len(body)
            if not message.get("more_body", False):
                break
            message = None
        if framing == CHUNKED:
            await stream.send(b"0\r\n\r\n", math.inf)
        elif left > 0:
            self._gone = True  # a body that is shorter than was said

    # === from the event loop ===

    async def _respond(self, method: bytes, stream: SocketStream) -> None:
        while True:
            head, rest = await read_own_head(stream, method)
            if head.status >= 200:
                break
            await self._hint(head)
            stream.buffer = rest
        trails = self._trailers and head.framing == CHUNKED
        await self._send(
            {
                "type": "http.response.start",
                "status": head.status,
                "headers": response_fields(head),
                "trailers": trails,
            }
        )
        if head.framing == CHUNKED:
            await self._pass_chunks(stream, rest, trails=trails)
        else:
            await self._pass_length(stream, rest, head.framing)

    async def _hint(self, head: ResponseHead) -> None:
        if head.status == 103 and self._early_hints:
            fields = split_fields(head.kept)
            links = [value for name, value in fields if name == b"link"]
            await self._send({"type": "http.response.early_hint", "links": links})

    async def _pass_length(self, stream: SocketStream, data: bytes, left: int) -> None:
        while True:
            left -= len(data)
            if data or not left:
                await self._send_part(data, more=left > 0)
            if left <= 0:
                return
            data = await _receive(stream)
            if not data:
                if not self._streams:
                    raise ResponseCut(
                        f"closed {left} bytes before the end of its response"
                    )
                # In HTTP/2 a stream that ends before its Content-Length is malformed
                # (RFC 9113 section 8.1.1), so the client sees that it was cut.
                await self._send_part(b"", more=False)
                return

    async def _pass_chunks(
        self, stream: SocketStream, data: bytes, *, trails: bool
    ) -> None:
        reader = ChunkedReader(_TRAILERS)
        while True:
            content = reader.feed(data)
            if reader.done:
                break
            if content:
                await self._send_part(content, more=True)
            data = await _receive(stream)
            if not data:
                raise ResponseCut("closed inside its response")
        await self._send_part(content, more=False)
        if trails:
            lines = [line for line in reader.trailers if is_allowed_in_trailer(line)]
            fields = split_fields(b"".join(b"\r\n" + line for line in lines))
            await self._send({"type": "http.response.trailers", "headers": fields})

    async def _wait_uploaded(self) -> None:
        """Let the client finish its upload, as long as it goes on with it.

        A response that ends sooner is the end of the client's connection under
        hypercorn (0.18), which trips over what still comes of its stream.
        """
        heard = -1
        while heard < self._heard and not self._uploaded.is_set():
            heard = self._heard
            with trio.move_on_after(_LINGER_S):
                await self._uploaded.wait()

    async def _send_part(self, body: bytes, *, more: bool) -> None:
        if not more and self._streams and not self._uploaded.is_set():
            await self._send_part(body, more=True)
            await self._wait_uploaded()
            body = b""
        await self._send(
            {"type": "http.response.body", "body": body, "more_body": more}
        )


async def _receive(stream: SocketStream) -> bytes:
    try:
        return await stream.receive(math.inf)
    except OSError:
        return b""
