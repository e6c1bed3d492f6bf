"""Clients of HTTP/1.1: connections that are kept, and new ones.

Each asks until the run is over. The rule that it obeys: what a client may not be asked to
bear is a failure, even if asking again would mend it. It asks again only what cannot have been
looked at: on a kept connection on which it was silent for a second, which any server may close.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from canary_trio.verify.fleet import ProxyPorts
from canary_trio.verify.observation import ClientKind, Observation
from canary_trio.verify.peers.journal import REQUEST_S, Journal, User
from canary_trio.verify.peers.wire import (
    LOSSES,
    Broken,
    HttpStream,
    WireHead,
)
from http_trio import Limits

SILENCE_S = Limits().notice_s
"""Who was silent for so long on a kept connection may find it closed."""


@asynccontextmanager
async def connected(place: ProxyPorts) -> AsyncIterator[HttpStream]:
    """Connect to a proxy.

    Raises:
        Broken: it takes no connection.
    """
    try:
        with trio.fail_after(REQUEST_S):
            stream = await trio.open_tcp_stream(*place.address())
    except (OSError, trio.TooSlowError) as exc:
        raise Broken(f"no connection: {words_of(exc)}", begun=False) from exc
    try:
        yield HttpStream(stream)
    finally:
        await trio.aclose_forcefully(stream)


def request_head(
    journal: Journal,
    place: ProxyPorts,
    asked: OneRequest,
    start: bytes,
    *more: tuple[bytes, bytes],
) -> bytes:
    """Give the head of a request."""
    host = journal.host or place.name.encode()
    fields = [(b"Host", host), *journal.fields(asked.user.name, asked.cookie), *more]
    lines = b"".join(b"%b: %b\r\n" % one for one in fields)
    return b"%b HTTP/1.1\r\n%b\r\n" % (start, lines)


def fields_of(head: WireHead | None) -> dict[bytes, bytes]:
    """Give a head's fields by their names in small letters."""
    if head is None:
        return {}
    parts = (line.partition(b":") for line in head.lines)
    return {name.lower(): value.strip() for name, _, value in parts}


class OneRequest:
    """A request whose client notes it, however it ends.

    Attributes:
        head: of its response, if there was one.
        user: whose it is.
        cookie: that it is sent with.
        close_code: of a WebSocket.
    """

    def __init__(
        self, journal: Journal, kind: ClientKind, place: ProxyPorts, user: User
    ) -> None:
        self.head: WireHead | None = None
        self.user = user
        self.cookie = user.cookie
        self.close_code = 0
        self._journal, self._kind, self._place = journal, kind, place
        self._began = journal.now()

    def __repr__(self) -> str:
        return f"<OneRequest {self._kind.value} by {self._place.name}>"

    def over(self, failure: str = "") -> Observation:
        """Note it."""
        given = self.head.values(b"set-cookie") if self.head else []
        fresh = self.user.take(given, self._journal.cookie)
        return self._journal.note(
            self._kind,
            self._place.name,
            self._began,
            fields_of(self.head),
            failure or self._wrong(),
            user=self.user.name,
            cookie=self.user.cookie if fresh else self.cookie,
            fresh=fresh,
            close_code=self.close_code,
        )

    def _wrong(self) -> str:
        if self.head is None:
            return "no response"
        if self.head.status == 101 and self._kind is ClientKind.WEBSOCKET:
            return ""
        return self._journal.bad_status(self.head.status)


async def _get(
    journal: Journal,
    place: ProxyPorts,
    asked: OneRequest,
    one: HttpStream,
    kind: ClientKind,
    *,
    silent: bool = False,
) -> bool:
    close = [(b"Connection", b"close")] if kind is ClientKind.NEW else []
    start = b"GET " + journal.path
    try:
        with trio.fail_after(REQUEST_S):
            await one.send(request_head(journal, place, asked, start, *close))
            asked.head = await one.head()
            await one.body(asked.head)
    except (Broken, *LOSSES, trio.TooSlowError, ValueError) as exc:
        if silent and asked.head is None and not getattr(exc, "begun", False):
            return False  # it may have been closed as idle: it is asked again
        asked.over(words_of(exc))
        return False
    asked.over()
    return asked.head.value(b"connection").lower() != b"close" and not close


def words_of(exc: BaseException) -> str:
    """Say why a request was lost."""
    if isinstance(exc, trio.TooSlowError):
        return f"no end within {REQUEST_S:g} s"
    return str(exc.__cause__ or exc) or type(exc).__name__


async def live_kept(journal: Journal, place: ProxyPorts, chance: random.Random) -> None:
    """Ask over a connection that is kept for a while, then over the next one."""
    while not journal.over.is_set():
        connecting = OneRequest(journal, ClientKind.KEPT, place, journal.user(chance))
        try:
            async with connected(place) as one:
                await _ask_on(journal, place, chance, one)
        except Broken as exc:
            connecting.over(words_of(exc))
            await trio.sleep(0.1)


async def _ask_on(
    journal: Journal, place: ProxyPorts, chance: random.Random, one: HttpStream
) -> None:
    last = journal.now()
    for _ in range(chance.randrange(10, 300)):
        user = journal.user(chance)
        asked = OneRequest(journal, ClientKind.KEPT, place, user)
        silent = journal.now() - last >= SILENCE_S
        kept = await _get(journal, place, asked, one, ClientKind.KEPT, silent=silent)
        last = journal.now()
        if not kept or journal.over.is_set():
            return
        await trio.sleep(chance.uniform(0.01, 0.05))


async def live_new(journal: Journal, place: ProxyPorts, chance: random.Random) -> None:
    """Ask over new connections."""
    while not journal.over.is_set():
        asked = OneRequest(journal, ClientKind.NEW, place, journal.user(chance))
        try:
            with trio.fail_after(REQUEST_S):
                async with connected(place) as one:
                    await _get(journal, place, asked, one, ClientKind.NEW)
        except (Broken, trio.TooSlowError) as exc:
            asked.over(words_of(exc))
        await trio.sleep(chance.uniform(0.02, 0.08))
