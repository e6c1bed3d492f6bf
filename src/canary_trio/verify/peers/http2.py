"""Clients of HTTP/2 without TLS: requests over streams, and WebSockets over some of them.

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
from canary_trio.verify.peers.websockets import converse
from canary_trio.verify.peers.wire import (
    LOSSES,
    Broken,
    HttpStream,
)
from http_trio.testing.http2_peer import (
    Http2Peer,
    PeerStream,
    StreamLost,
    http2_connection,
)

STREAMS = 3
"""Requests at once over one connection."""

TALK_S = 300.0
"""How long messages may go on over one stream, where a busy machine makes them slow."""

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
        await peer.wait_settings()
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
    await live_on(journal, place, chance, [*[_get] * STREAMS, _websocket])


async def live_on(
    journal: Journal, place: ProxyPorts, chance: random.Random, asks: list[Ask]
) -> None:
    """Ask in several ways at once, over and over, on connections that they share."""
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


class AskedStream:
    """One request, however often it is sent, and its end."""

    def __init__(
        self, connections: KeptConnections, kind: ClientKind, user: User | None
    ) -> None:
        self.stream: PeerStream | None = None
        self.close_code = 0
        self._cookie = b""
        self._connections, self._kind, self._user = connections, kind, user
        self._began = connections.journal.now()

    async def run(
        self,
        converse: Callable[[AskedStream], Awaitable[str]],
        *,
        within_s: float = REQUEST_S,
    ) -> None:
        """Converse, again if nobody looked at it, and note how it ended.

        Args:
            converse: says what failed; empty if nothing did.
            within_s: how long that may take. What takes its time limits each of its
                messages itself, and the whole by `TALK_S`.
        """
        failure = "nobody looked at it"
        for _ in range(AGAIN):
            self.stream = None
            try:
                with trio.fail_after(within_s):
                    failure = await converse(self)
                break
            except StreamLost as exc:
                failure = str(exc)
                if not exc.unprocessed:
                    break
            except trio.TooSlowError:
                failure = (
                    f"nothing within {REQUEST_S:g} s, or no end within {within_s:g} s"
                )
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
            user=self._user.name if self._user else "",
            cookie=self._user.cookie if self._user and fresh else self._cookie,
            fresh=fresh,
            close_code=self.close_code,
        )

    async def begin(
        self, method: bytes, path: bytes, *more: tuple[bytes, bytes], ended: bool
    ) -> PeerStream:
        """Begin it; names that begin with a colon come first."""
        journal = self._connections.journal
        user: list[tuple[bytes, bytes]] = []
        if self._user is not None:
            self._cookie = self._user.cookie
            user = journal.fields(self._user.name, self._cookie)
        self.stream = await self._connections.begin(
            [
                (b":method", method),
                (b":scheme", b"http"),
                (b":path", path),
                (b":authority", self._connections.place.http2.encode()),
                *(one for one in more if one[0][:1] == b":"),
                *((name.lower(), value) for name, value in user),
                *(one for one in more if one[0][:1] != b":"),
            ],
            ended=ended,
        )
        return self.stream


async def _get(connections: KeptConnections, chance: random.Random) -> None:
    async def converse(asked: AskedStream) -> str:
        stream = await asked.begin(b"GET", connections.journal.path, ended=True)
        head = await stream.wait_head()
        await stream.receive_all()
        return connections.journal.bad_status(int(head[b":status"]))

    user = connections.journal.user(chance)
    await AskedStream(connections, ClientKind.HTTP2, user).run(converse)


async def _websocket(connections: KeptConnections, chance: random.Random) -> None:
    async def talk(asked: AskedStream) -> str:
        stream = await asked.begin(
            b"CONNECT",
            b"/ws",
            (b":protocol", b"websocket"),
            (b"sec-websocket-version", b"13"),
            ended=False,
        )
        with trio.fail_after(REQUEST_S):
            status = (await stream.wait_head())[b":status"].decode()
        if status != "200":
            return f"status {status}"
        one, journal = HttpStream(_Tunnel(stream)), connections.journal
        try:
            asked.close_code, failure = await converse(journal, one, chance)
        except (Broken, *LOSSES) as exc:
            return str(exc.__cause__ or exc)
        await stream.send(b"", ended=True)
        return failure

    user = connections.journal.user(chance)
    await AskedStream(connections, ClientKind.WEBSOCKET2, user).run(
        talk, within_s=TALK_S
    )


class _Tunnel:
    """A stream of HTTP/2 as the bytes of a WebSocket."""

    def __init__(self, stream: PeerStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except StreamLost as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def receive_some(self, _most: int) -> bytes:
        try:
            return await self._stream.receive()
        except StreamLost as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
