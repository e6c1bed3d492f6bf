"""`/events`: what happens to a proxy, as server-sent events (WHATWG HTML, section 9.2).

An event's id is the life of the process and a number, so a reader that comes back with
`Last-Event-ID` goes on where it was, as far as events are kept; where some are gone, or the
process is another, an event `reset` says so before all that are kept. Without an id a stream
begins with what happens from now on, and with `0` with all that is kept. It begins with an id,
so that who loses it before anything happened loses nothing either.

A stream costs a buffer and no more: there are few of them, a reader that falls behind is told
so and dropped, and comes back by its id.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs

import attrs
import trio

from canary_trio.telemetry.events import Events, ProxyEvent
from http_trio import Exchange, Response

STREAMS = 32
"""Streams that are open at once at most."""

BEHIND = 1024 * 1024
"""Bytes that a reader may be behind before it is dropped."""

HEARTBEAT_S = 10.0
"""Seconds between two signs of life on a stream where nothing happens."""

ID_BYTES = 4096
"""Of an id that a reader comes back with at most; the rest of a longer one is not looked at."""

_HEADERS = ((b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no"))
_TYPE = b"text/event-stream"

Send = Callable[[bytes], None]
Follow = Callable[[str, Send], Awaitable[None]]
"""Sends what happens after an id (empty for from now on), until it is cancelled."""


@attrs.define(eq=False)
class _Stream:
    exchange: Exchange
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class EventPages:
    """The page of one admin listener."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._open: set[_Stream] = set()

    def __repr__(self) -> str:
        return f"<EventPages open={len(self._open)}>"

    def __call__(self, exchange: Exchange) -> None:
        """Begin a stream."""
        if exchange.method == "HEAD":
            exchange.respond(Response(200, b"", _TYPE, _HEADERS))
            return
        if len(self._open) >= STREAMS:
            why = b"%d readers of /events are here already, and no more may\n" % STREAMS
            exchange.respond(Response(503, why, headers=((b"Retry-After", b"5"),)))
            return
        after = _position(exchange)
        stream = _Stream(exchange)
        self._open.add(stream)
        exchange.begin(Response(200, b"", _TYPE, _HEADERS))
        self._keep_alive(stream, exchange)
        exchange.spawn(partial(self._run, stream, after))

    async def _run(self, stream: _Stream, after: str, exchange: Exchange) -> None:
        self._send(stream, b"retry: 1000\n\n")
        with stream.scope:  # no step in between: what happens from here on is sent
            await self._follow(after, partial(self._send, stream))
        if not exchange.gone:
            self._end(stream)

    def _send(self, stream: _Stream, data: bytes) -> None:
        exchange = stream.exchange
        if exchange.gone or stream not in self._open:
            return
        if exchange.send(data) > BEHIND:
            told = json.dumps({"behind": BEHIND, "message": "this reader is too slow"})
            exchange.send(b"event: dropped\ndata: %b\n\n" % told.encode())
            self._end(stream)

    def _end(self, stream: _Stream) -> None:
        if stream in self._open:
            self._forget(stream)
            stream.exchange.finish()

    def _forget(self, stream: _Stream) -> None:
        self._open.discard(stream)
        stream.scope.cancel()

    def _keep_alive(self, stream: _Stream, exchange: Exchange) -> None:
        """Park the exchange until the next sign of life; it ends with a drain."""
        if exchange.draining:
            self._end(stream)
            return

        def due(exchange: Exchange) -> None:
            if not exchange.draining:
                self._send(stream, b":\n\n")
            if not exchange.gone and stream in self._open:
                self._keep_alive(stream, exchange)

        exchange.park(HEARTBEAT_S, due, lambda _: self._forget(stream))


def follow_events(events: Events, instance: str) -> Follow:
    """Follow the events of one process.

    Args:
        events: of it.
        instance: tells its life from any other.
    """

    async def follow(after: str, send: Send) -> None:
        life, _, text = after.rpartition(".")
        number = int(text) if text.isdecimal() and len(text) < 20 else -1
        if not after:
            number = events.last
            send(f"id: {instance}.{number}\n\n".encode())  # where it goes on after
        elif after == "0":
            number = 0
        elif life != instance or number > events.last:
            send(_reset(after))
            number = 0
        found = events.after(number)
        while True:
            if found and found[0].number != number + 1 and number:
                send(_reset(after))
            for event in found:
                send(render(event, instance))
                number = event.number
            found = await events.wait_after(number)

    return follow


def render(event: ProxyEvent, instance: str) -> bytes:
    """Write an event."""
    kind, data = event.kind.value, json.dumps(event.as_table())
    return (f"id: {instance}.{event.number}\nevent: {kind}\ndata: {data}\n\n").encode()


def _reset(after: str) -> bytes:
    data = json.dumps({"after": after, "message": "some events before are not kept"})
    return f"event: reset\ndata: {data}\n\n".encode()


def _position(exchange: Exchange) -> str:
    """Give where a reader goes on: by its header, else by `?after=` for who has none."""
    given = exchange.header(b"last-event-id")
    if given is None:
        query = exchange.target.partition(b"?")[2].decode("latin-1")
        given = parse_qs(query).get("after", [""])[0].encode("latin-1")
    return given[:ID_BYTES].decode("latin-1").strip()
