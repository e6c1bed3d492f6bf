"""Clients of gRPC, framed by ourselves: calls with one message, and streams of messages.

The rule that it obeys: a call is good only if its status says so, in the trailers or in the head,
and if every message came back, reversed.
"""

from __future__ import annotations

import random

import trio

from canary_trio.verify.fleet import ProxyPorts
from canary_trio.verify.observation import ClientKind
from canary_trio.verify.peers.http2 import TALK_S, AskedStream, KeptConnections, live_on
from canary_trio.verify.peers.journal import REQUEST_S, Journal
from canary_trio.verify.peers.wire import message, messages_in
from http_trio.testing.http2_peer import PeerStream

_METADATA = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))


async def live_grpc(journal: Journal, place: ProxyPorts, chance: random.Random) -> None:
    """Make calls, one message each, and streams of messages, over one connection."""
    await live_on(journal, place, chance, [_call, _stream])


async def _call(connections: KeptConnections, chance: random.Random) -> None:
    sent = chance.randbytes(chance.choice((0, 100, 70_000)))

    async def converse(asked: AskedStream) -> str:
        stream = await asked.begin(b"POST", b"/verify/Call", *_METADATA, ended=False)
        await stream.send(message(sent), ended=True)
        found, left = messages_in(await stream.receive_all())
        right = found == [sent[::-1]] and not left
        return _status(stream) or ("" if right else "another message came back")

    await AskedStream(connections, ClientKind.CALL, None).run(converse)


async def _stream(connections: KeptConnections, chance: random.Random) -> None:
    count = chance.randrange(5, 40)

    async def converse(asked: AskedStream) -> str:
        stream = await asked.begin(b"POST", b"/verify/Stream", *_METADATA, ended=False)
        left = b""
        for number in range(count):
            sent = b"message %d" % number
            found: list[bytes] = []
            with trio.fail_after(REQUEST_S):
                await stream.send(message(sent))
                while not found:
                    piece = await stream.receive()
                    if not piece:
                        return _status(stream) or f"it ended after {number} messages"
                    found, left = messages_in(left + piece)
            if found != [sent[::-1]] or left:
                return f"message {number} came back as another one"
            await trio.sleep(0.03)
        with trio.fail_after(REQUEST_S):
            await stream.send(b"", ended=True)
            await stream.receive_all()
        return _status(stream)

    await AskedStream(connections, ClientKind.STREAM, None).run(
        converse, within_s=TALK_S
    )


def _status(stream: PeerStream) -> str:
    """Say what a call's status is; empty if it is OK."""
    http = stream.head.get(b":status", b"0").decode()
    said = {**stream.head, **stream.trailers}
    status = said.get(b"grpc-status", b"none").decode()
    if http == "200" and status == "0":
        return ""
    words = said.get(b"grpc-message", b"").decode(errors="replace")
    return f"status {http}, grpc-status {status} {words}".strip()
