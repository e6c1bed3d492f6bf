"""Clients of HTTP/2 without TLS: requests over streams, and calls of gRPC, framed by ourselves.

A connection is kept until the other side takes no more; then what is under way goes on
there, and the next one is opened. The rule that it obeys: a request is sent again only where
the server says that it never looked at it (RFC 9113 sections 6.8 and 8.7).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from canary_trio.verify.fleet import ProxyPorts
from canary_trio.verify.observation import ClientKind
from canary_trio.verify.peers.journal import REQUEST_S, Journal, User
from canary_trio.verify.peers.wire import message, messages_in
from http_trio.testing.http2_peer import (
    Http2Peer,
    PeerStream,
    StreamLost,
    http2_connection,
)

STREAMS = 3
"""Requests at once over one connection."""

AGAIN = 5
"""So often a request is sent again that nobody looked at."""

Ask = Callable[["KeptConnections", random.Random], Awaitable[None]]


class KeptConnections:
    """The connection of a client to a proxy, and the next one once it takes no more."""

    def __init__(
        self, journal: Journal, place: ProxyPorts, nursery: trio.Nursery
    ) -> None:
        self.journal, self.place = journal, place
        self._nursery = nursery
        self._peer: Http2Peer | None = None
        self._opening = trio.Lock()

    def __repr__(self) -> str:
        return f"<KeptConnections to {self.place.http2}: {self._peer}>"

    async def begin(
        self, fields: list[tuple[bytes, bytes]], *, ended: bool
    ) -> PeerStream:
        """Begin a request.

        Raises:
            StreamLost: it cannot be begun.
        """
        async with self._opening:
            peer = self._peer
            if peer is None or peer.going or peer.closed:
                try:
                    self._peer = peer = await self._nursery.start(self._keep)
                except OSError as exc:
                    raise StreamLost(f"no connection: {exc}") from exc
        assert peer is not None, "it was just opened"
        return await peer.request(fields, ended=ended)

    async def _keep(
        self, task_status: trio.TaskStatus[Http2Peer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        host, port = self.place.address(http2=True)
        async with http2_connection(host, port) as peer:
            task_status.started(peer)
            await peer.wait_closed()


async def live_http2(
    journal: Journal, place: ProxyPorts, chance: random.Random
) -> None:
    """Ask over several streams at once."""
    await _live(journal, place, chance, [_get] * STREAMS)


async def live_grpc(journal: Journal, place: ProxyPorts, chance: random.Random) -> None:
    """Make calls, one message each, and streams of messages, over one connection."""
    await _live(journal, place, chance, [_call, _stream])


async def _live(
    journal: Journal, place: ProxyPorts, chance: random.Random, asks: list[Ask]
) -> None:
    async with trio.open_nursery() as keeping:
        connections = KeptConnections(journal, place, keeping)
        async with trio.open_nursery() as asking:
            for ask in asks:
                drawn = random.Random(chance.random())
                asking.start_soon(_repeat, connections, drawn, ask)
        keeping.cancel_scope.cancel()


async def _repeat(
    connections: KeptConnections, chance: random.Random, ask: Ask
) -> None:
    while not connections.journal.over.is_set():
        await ask(connections, chance)
        await trio.sleep(chance.uniform(0.02, 0.06))


class _Asked:
    """One request, however often it is sent, and its end."""

    def __init__(
        self, connections: KeptConnections, kind: ClientKind, user: User | None
    ) -> None:
        self.stream: PeerStream | None = None
        self._connections, self._kind, self._user = connections, kind, user
        self._began = connections.journal.now()

    async def run(self, converse: Callable[[_Asked], Awaitable[str]]) -> None:
        """Converse, again if nobody looked at it, and note how it ended."""
        failure = "nobody looked at it"
        for _ in range(AGAIN):
            self.stream = None
            try:
                with trio.fail_after(REQUEST_S):
                    failure = await converse(self)
                break
            except StreamLost as exc:
                failure = str(exc)
                if not exc.unprocessed:
                    break
            except trio.TooSlowError:
                failure = f"no end within {REQUEST_S:g} s"
                break
        head = self.stream.head if self.stream else {}
        given = [head[b"set-cookie"]] if b"set-cookie" in head else []
        journal = self._connections.journal
        fresh = self._user.take(given, journal.cookie) if self._user else False
        journal.note(
            self._kind,
            self._connections.place.name,
            self._began,
            head,
            failure,
            user=self._user,
            fresh=fresh,
        )

    async def begin(
        self, method: bytes, path: bytes, *more: tuple[bytes, bytes], ended: bool
    ) -> PeerStream:
        """Begin it."""
        journal = self._connections.journal
        user = journal.fields(self._user) if self._user else []
        self.stream = await self._connections.begin(
            [
                (b":method", method),
                (b":scheme", b"http"),
                (b":path", path),
                (b":authority", self._connections.place.http2.encode()),
                *((name.lower(), value) for name, value in user),
                *more,
            ],
            ended=ended,
        )
        return self.stream


async def _get(connections: KeptConnections, chance: random.Random) -> None:
    async def converse(asked: _Asked) -> str:
        stream = await asked.begin(b"GET", connections.journal.path, ended=True)
        head = await stream.wait_head()
        await stream.receive_all()
        return connections.journal.bad_status(int(head[b":status"]))

    user = connections.journal.user(chance)
    await _Asked(connections, ClientKind.HTTP2, user).run(converse)


# === gRPC ===

_METADATA = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))


async def _call(connections: KeptConnections, chance: random.Random) -> None:
    sent = chance.randbytes(chance.choice((0, 100, 70_000)))

    async def converse(asked: _Asked) -> str:
        stream = await asked.begin(b"POST", b"/verify/Call", *_METADATA, ended=False)
        await stream.send(message(sent), ended=True)
        found, left = messages_in(await stream.receive_all())
        right = found == [sent[::-1]] and not left
        return _status(stream) or ("" if right else "another message came back")

    await _Asked(connections, ClientKind.CALL, None).run(converse)


async def _stream(connections: KeptConnections, chance: random.Random) -> None:
    count = chance.randrange(5, 40)

    async def converse(asked: _Asked) -> str:
        stream = await asked.begin(b"POST", b"/verify/Stream", *_METADATA, ended=False)
        left = b""
        for number in range(count):
            sent = b"message %d" % number
            await stream.send(message(sent))
            found: list[bytes] = []
            while not found:
                piece = await stream.receive()
                if not piece:
                    return _status(stream) or f"it ended after {number} messages"
                found, left = messages_in(left + piece)
            if found != [sent[::-1]] or left:
                return f"message {number} came back as another one"
            await trio.sleep(0.03)
        await stream.send(b"", ended=True)
        await stream.receive_all()
        return _status(stream)

    await _Asked(connections, ClientKind.STREAM, None).run(converse)


def _status(stream: PeerStream) -> str:
    """Say what a call's status is; empty if it is OK."""
    http = stream.head.get(b":status", b"0").decode()
    said = {**stream.head, **stream.trailers}
    status = said.get(b"grpc-status", b"none").decode()
    if http == "200" and status == "0":
        return ""
    words = said.get(b"grpc-message", b"").decode(errors="replace")
    return f"status {http}, grpc-status {status} {words}".strip()
