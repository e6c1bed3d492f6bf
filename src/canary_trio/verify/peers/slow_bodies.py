"""Clients whose bodies take a second, one way or the other.

The rule that it obeys: every byte counts. What a server got is compared by its digest, what a
client got as it is.
"""

from __future__ import annotations

import random

import trio

from canary_trio.verify.fleet import ProxyPorts
from canary_trio.verify.observation import ClientKind
from canary_trio.verify.peers.http1 import (
    OneRequest,
    connected,
    request_head,
    words_of,
)
from canary_trio.verify.peers.journal import REQUEST_S, Journal
from canary_trio.verify.peers.wire import (
    LOSSES,
    PIECE,
    PIECE_S,
    Broken,
    HttpStream,
    digest_of,
)

PIECES = 20
"""Of a slow body."""


async def live_upload(
    journal: Journal, place: ProxyPorts, chance: random.Random
) -> None:
    """Send a body, piece by piece, and compare what the server says of it."""
    while not journal.over.is_set():
        asked = OneRequest(journal, ClientKind.UPLOAD, place, journal.user(chance))
        try:
            with trio.fail_after(REQUEST_S):
                async with connected(place) as one:
                    asked.over(await _upload(journal, place, asked, one))
        except (Broken, *LOSSES, trio.TooSlowError, ValueError) as exc:
            asked.over(words_of(exc))
        await trio.sleep(chance.uniform(0.01, 0.3))


async def _upload(
    journal: Journal, place: ProxyPorts, asked: OneRequest, one: HttpStream
) -> str:
    start = b"POST " + journal.path
    chunked = (b"Transfer-Encoding", b"chunked")
    try:
        await one.send(request_head(journal, place, asked, start, chunked))
        for _ in range(PIECES):
            await one.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            await trio.sleep(PIECE_S)
        await one.send(b"0\r\n\r\n")
    except LOSSES:
        pass  # a response may have come before the body was sent
    asked.head = await one.head()
    found = await one.body(asked.head)
    wanted = digest_of(PIECE * PIECES)
    if asked.head.status != 200 or found == wanted:
        return ""
    return f"the server got {found!r}, not {wanted!r}"


async def live_download(
    journal: Journal, place: ProxyPorts, chance: random.Random
) -> None:
    """Read a body that comes piece by piece, and compare it with what it should be."""
    while not journal.over.is_set():
        asked = OneRequest(journal, ClientKind.DOWNLOAD, place, journal.user(chance))
        start = b"GET /slow/%d" % PIECES
        try:
            with trio.fail_after(REQUEST_S):
                async with connected(place) as one:
                    await one.send(request_head(journal, place, asked, start))
                    asked.head = await one.head()
                    found = await one.body(asked.head)
                    whole = asked.head.status != 200 or found == PIECE * PIECES
                    asked.over("" if whole else f"{len(found)} bytes, other ones")
        except (Broken, *LOSSES, trio.TooSlowError, ValueError) as exc:
            asked.over(words_of(exc))
        await trio.sleep(chance.uniform(0.01, 0.3))
