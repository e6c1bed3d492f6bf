"""Fuzz targets of HTTP/2: any bytes, or any frames, that a client sends a connection.

The connection is the real one, on an event loop that nobody runs: its socket is a stub
which takes what it likes. What must hold: nothing raises, what goes out is frames, what
a handler sees is a request of HTTP/1.1 that stands for itself, and at the end all that
was begun is over, and told once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any, cast

import h2.connection
import trio

from http_trio import Exchange, Limits, Response
from http_trio.errors import BadRequest
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.request_head import parse_request_head
from http_trio.http2.connection import Http2Connection
from http_trio.http2.messages.heads import Malformed, request_head, trailer_lines
from http_trio.http2.messages.plain_requests import PlainRequests
from http_trio.net.event_loop import EventLoop
from http_trio.net.tls_socket import AnySocket
from tests.http_trio.support.http2_peer import PREFACE, frame, get, literal

_LIMITS = Limits(streams=8)
_KINDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 99)
_PATHS = ("/respond", "/park", "/collect", "/begin", "/large", "/cut")
_METHODS = ("GET", "PUT", "HEAD", "CONNECT")
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_OURS = ForwardedPolicy()


class _Stub:
    """A socket that takes what it likes, and where it is closed."""

    def __init__(self, mood: int) -> None:
        self.sent = bytearray()
        self.ended = 0
        self._fd = os.eventfd(0)
        self._mood = mood
        self._turn = 0

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> int:
        self._turn += 1
        if self._mood & 1 and not self._turn % 3:
            raise BlockingIOError
        size = len(data) if not self._mood & 2 else min(len(data), 100)
        self.sent += data[:size]
        return size

    def shutdown(self, how: int) -> None:
        if self._mood & 4:
            raise OSError("not connected")

    def close(self) -> None:
        os.close(self._fd)


class _Origin:
    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.ends = 0

    def ended(self, client: Any) -> None:
        self.ends += 1


class _Handler:
    """What is asked is done with it by its path, and all of it is remembered."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []
        self.told: Counter[int] = Counter()

    def __call__(self, exchange: Exchange) -> None:
        parse_request_head(exchange.head.raw, _LIMITS)
        number = len(self.seen)
        self.seen.append(exchange)
        path = exchange.path
        if path == b"/park":
            exchange.park(60, lambda ex: None, lambda ex: self.told.update([number]))
        elif path == b"/collect":
            exchange.collect(1000, lambda ex, body: ex.respond(Response(200, body)))
        elif path in (b"/begin", b"/cut"):
            exchange.begin(Response(200))
            exchange.send(b"some")
            if path == b"/cut":
                exchange.cut()
        else:
            size = 300_000 if path == b"/large" else 3
            exchange.respond(Response(200, bytes(size)))


def http2_bytes(data: bytes) -> None:
    """A connection lives through whatever comes, or ends."""
    _serve(data[1:], mood=data[0] if data else 0)


def http2_frames(data: bytes) -> None:
    """The same, of what are frames, and requests more often than chance makes them."""
    _serve(PREFACE + frame(4, 0, 0) + _as_frames(data[1:]), data[0] if data else 0)


def http2_messages(data: bytes) -> None:
    """A head is refused, or says in HTTP/1.1 what its fields said, and nothing more.

    Of fields of which the library has looked at the names, and at nothing else.
    """
    fields = []
    for line in data.split(b"\xfe"):
        name, _, value = line.partition(b"\xfd")
        fields.append((name, value))
    if not all(_NAME.match(name) for name, _ in fields):
        return
    try:
        lines = trailer_lines(tuple(fields))
        assert lines.count(b"\r\n") == len(fields)
        raw, _ = request_head(tuple(fields), ended=True, draw=bytes)
        head = parse_request_head(raw, _LIMITS)
    except (Malformed, BadRequest):
        return
    if b":protocol" not in dict(fields):
        assert head.method in {value for name, value in fields if name == b":method"}
        assert head.target in {value for name, value in fields if name == b":path"}
    hosts = {v.strip(b" \t") for n, v in fields if n in (b":authority", b"host")}
    assert head.host in hosts
    kept = [line.partition(b":")[0] for line in head.kept.split(b"\r\n")[1:]]
    assert {*kept} - {b"Sec-WebSocket-Key"} <= {name for name, _ in fields}


def _as_frames(data: bytes) -> bytes:
    out, at, next_stream = b"", 0, 1
    while len(data) >= at + 4:
        kind, flags = _KINDS[data[at] % len(_KINDS)], data[at + 1]
        stream, size = data[at + 2] % 16, data[at + 3]
        payload = data[at + 4 : at + 4 + size]
        at += 4 + size
        if kind == 1 and size % 3 == 0:
            path = _PATHS[size % len(_PATHS)]
            method = _METHODS[flags // 64]
            out += frame(
                1, 4 | flags & 1, next_stream, literal(get(path, method=method))
            )
            next_stream += 2
        else:
            out += frame(kind, flags, stream, payload)
    return out


def _serve(data: bytes, mood: int) -> None:
    loop = EventLoop(_LIMITS, cast(trio.Nursery, None))
    origin, sock, handler = _Origin(loop), _Stub(mood), _Handler()
    try:
        client = Http2Connection(
            *(origin, cast(AnySocket, sock), "127.0.0.1", handler, _OURS),
            plain=PlainRequests(),
        )
        step = 1 + (mood * 37) % 400
        for at in range(0, len(data), step):
            if client._is_closed:
                break
            loop.in_batch = True
            client.take(data[at : at + step])
            loop._send_unsent()
            loop.in_batch = False
            if mood & 8 and client.deadline <= loop.now + 100:
                loop.now += 31
                client.expire()
        _check_frames(bytes(sock.sent))
        if mood & 16 and not client._is_closed:
            client.drain()
            client.leave()
        client.abort()
        assert origin.ends == 1
        assert not client.streams
        assert all(exchange.gone for exchange in handler.seen)
        assert all(count == 1 for count in handler.told.values())
    finally:
        loop.close()


def _check_frames(sent: bytes) -> None:
    at = 0
    while len(sent) >= at + 9:
        size = int.from_bytes(sent[at : at + 3], "big")
        assert size <= 16_384
        assert sent[at + 3] <= 9
        at += 9 + size


def _recorded() -> bytes:
    """Give what a client of another library sends, for some requests."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    for number, path in enumerate(_PATHS):
        stream = 2 * number + 1
        client.send_headers(
            stream, [*get(path, ("cookie", "a=1"))], end_stream=number % 2 == 1
        )
        if not number % 2:
            client.send_data(stream, b"x" * 100, end_stream=True)
    client.reset_stream(3)
    client.ping(b"12345678")
    client.increment_flow_control_window(1000)
    client.close_connection()
    return client.data_to_send()


def _lines(*fields: tuple[str, str]) -> bytes:
    return b"\xfe".join(
        f"{name}\xfd{value}".encode("latin-1") for name, value in fields
    )


_START = b"".join(
    bytes([kind, flags, 1, 9]) + b"payload" + bytes([3, 3])
    for kind, flags in (
        (1, 1),
        (1, 0),
        (0, 0),
        (0, 1),
        (3, 0),
        (8, 0),
        (1, 65),
        (1, 192),
    )
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "http2_bytes": (
        *(bytes([mood]) + _recorded() for mood in (0, 1, 3, 8, 16)),
        b"\0" + PREFACE + frame(4, 0, 0) + frame(1, 5, 1, literal(get("/park"))),
        b"\0" + PREFACE + frame(4, 0, 0) + frame(1, 4, 1, literal(get("/collect"))),
        b"\0GET / HTTP/1.1\r\n\r\n",
    ),
    "http2_frames": (b"\0" + _START * 3, b"\x1b" + _START, b"\x0c" + _START * 2),
    "http2_messages": (
        _lines(
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", "a"),
        ),
        _lines(
            *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https")),
            *((":path", "/"), (":authority", "a"), ("sec-websocket-version", "13")),
        ),
        _lines(
            *((":method", "PUT"), (":scheme", "https"), (":path", "/"), ("host", "a")),
            *(("cookie", "a=1"), ("cookie", "b=2"), ("content-length", "3")),
        ),
        _lines(
            (":method", "PUT"), (":path", "/"), (":authority", "a"), ("te", "trailers")
        ),
    ),
}
