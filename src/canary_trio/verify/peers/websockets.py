"""Clients that talk over WebSockets for seconds, which no change may end.

The rule that it obeys: the one end that is none of ours and yet as it should be, a close
frame, is told apart by its code; all others are failures.
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
from canary_trio.verify.peers.wire import LOSSES, PIECE, Broken, HttpStream

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_TEXT, _CLOSE = 1, 8


async def live_websocket(
    journal: Journal, place: ProxyPorts, chance: random.Random
) -> None:
    """Send and read messages for seconds, over one WebSocket after another."""
    while not journal.over.is_set():
        asked = OneRequest(journal, ClientKind.WEBSOCKET, place, journal.user(chance))
        try:
            async with connected(place) as one:
                asked.over(await _talk(journal, place, asked, one, chance))
        except (Broken, *LOSSES, trio.TooSlowError, ValueError) as exc:
            asked.over(words_of(exc))
        await trio.sleep(chance.uniform(0.01, 0.3))


async def _talk(
    journal: Journal,
    place: ProxyPorts,
    asked: OneRequest,
    one: HttpStream,
    chance: random.Random,
) -> str:
    upgrade = (
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", _KEY),
    )
    with trio.fail_after(REQUEST_S):
        await one.send(request_head(journal, place, asked, b"GET /ws", *upgrade))
        asked.head = await one.head()
    if asked.head.status != 101:
        return f"status {asked.head.status} in place of 101"
    asked.close_code, failure = await converse(journal, one, chance)
    return failure


async def converse(
    journal: Journal, one: HttpStream, chance: random.Random
) -> tuple[int, str]:
    """Send messages and read them, and close; give the code that ended it, and what failed.

    Raises:
        Broken, trio.TooSlowError: it ended otherwise.
    """
    for number in range(chance.randrange(20, 120)):
        sent = b"message %d " % number + PIECE[: chance.randrange(200)]
        with trio.fail_after(REQUEST_S):
            await one.send_frame(_TEXT, sent, masked=True)
            opcode, found = await one.frame()
        if opcode == _CLOSE:
            code = int.from_bytes(found[:2], "big")
            return code, f"closed with {code} {found[2:].decode(errors='replace')}"
        if (opcode, found) != (_TEXT, sent):
            return 0, f"message {number} came back as another one"
        if journal.over.is_set():
            break
        await trio.sleep(0.05)
    with trio.fail_after(REQUEST_S):
        await one.send_frame(_CLOSE, (1000).to_bytes(2, "big"), masked=True)
        opcode, found = await one.frame()
    return 0, "" if opcode == _CLOSE else "no close frame at the end"
