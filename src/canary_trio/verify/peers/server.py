"""A server of ours behind the proxies: it says where it is, and answers by what it is asked.

    python -m canary_trio.verify.peers.server HOST:PORT ... h2c:HOST:PORT ...

It has none of the proxy's engine for HTTP/1.1, so that no fault of that can hide in both. Each
response has `X-Server`, the address that was asked.

    GET                     its address
    POST                    the length and a digest of the body
    GET /slow/COUNT         so many pieces, one each 50 ms, in chunks
    Upgrade: websocket      an echo of each message
    HTTP/2                  calls of gRPC: an echo of each message, reversed

The rule that it obeys: it never refuses, resets or delays what it was not asked to.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from functools import partial

import trio

from canary_trio.verify.peers.wire import (
    LOSSES,
    PIECE,
    PIECE_S,
    Broken,
    HttpStream,
    digest_of,
    message,
    messages_in,
)
from http_trio.testing.http2_peer import PeerStream, ServeStream, serve_http2

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BACKLOG = 1024


async def _serve_http1(address: bytes, stream: trio.SocketStream) -> None:
    one = HttpStream(stream)
    try:
        while await one.has_more():
            await _respond(address, one)
    except (Broken, *LOSSES):
        pass  # the client is gone
    finally:
        await trio.aclose_forcefully(stream)


async def _respond(address: bytes, one: HttpStream) -> None:
    head = await one.head()
    said = b"X-Server: %b\r\n" % address
    method, path, _ = head.start.split(b" ", 2)
    if head.value(b"upgrade") == b"websocket":
        key = head.value(b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324
        await one.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, said)
        )
        await _echo_frames(one)
        return
    if path.startswith(b"/slow/"):
        await one.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % said
        )
        for _ in range(int(path[6:])):
            await one.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            await trio.sleep(PIECE_S)
        await one.send(b"0\r\n\r\n")
        return
    body = await one.body(head)
    text = digest_of(body) if method == b"POST" else address
    await one.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(text), said, text)
    )


async def _echo_frames(one: HttpStream) -> None:
    while True:
        opcode, payload = await one.frame()
        await one.send_frame(opcode, payload, masked=False)
        if opcode == 8:
            raise Broken("closed")


async def _serve_call(address: bytes, stream: PeerStream) -> None:
    if stream.head.get(b"content-type", b"")[:16] != b"application/grpc":
        await stream.send_head([(b":status", b"200"), (b"x-server", address)])
        await stream.send(address, ended=True)
        return
    await stream.send_head(
        [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"x-server", address),
        ]
    )
    left = b""
    while piece := await stream.receive():
        found, left = messages_in(left + piece)
        for one in found:
            await stream.send(message(one[::-1]))
    await stream.send_trailers([(b"grpc-status", b"0")])


async def serve(*binds: str) -> None:
    """Serve on addresses, until cancelled; say so when all listen."""
    async with trio.open_nursery() as nursery:
        for bind in binds:
            address = bind.removeprefix("h2c:")
            host, _, port = address.rpartition(":")
            listeners = await trio.open_tcp_listeners(
                int(port), host=host, backlog=BACKLOG
            )
            name = address.encode()
            handler = (
                partial(_serve_calls, partial(_serve_call, name))
                if bind.startswith("h2c:")
                else partial(_serve_http1, name)
            )
            nursery.start_soon(trio.serve_listeners, handler, listeners)
        print("listens", flush=True)  # noqa: T201  # who started it waits for that


async def _serve_calls(call: ServeStream, stream: trio.SocketStream) -> None:
    await serve_http2(stream, call)


if __name__ == "__main__":
    try:
        trio.run(serve, *sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
