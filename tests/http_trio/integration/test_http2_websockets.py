"""WebSockets over HTTP/2 (RFC 8441): what passes, and what ends one and nothing else."""

from __future__ import annotations

import base64
import hashlib

import pytest
import trio

from http_trio.http1.fields import find_value
from http_trio.proxy.websocket_frames import close_frame
from http_trio.testing.peers import ReceivedRequest
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import get, http2_client, watched_http2
from tests.http_trio.support.watched import reset_stream

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MASK = b"\x11\x22\x33\x44"
OPEN = [
    *get("/chat", method="CONNECT"),
    (":protocol", "websocket"),
    ("sec-websocket-version", "13"),
]

ORDERLY = [*get("/orderly", method="CONNECT"), *OPEN[-2:]]


def masked(first: int, payload: bytes) -> bytes:
    """Give a short frame as a client sends it."""
    content = bytes(b ^ MASK[at % 4] for at, b in enumerate(payload))
    return bytes([first, len(payload) | 128]) + MASK + content


async def switch(asked: ReceivedRequest, *lines: bytes) -> None:
    """Accept the WebSocket."""
    key = find_value(asked.head, b"sec-websocket-key") or b""
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    head = (
        b"HTTP/1.1 101 Switching Protocols",
        *(b"Connection: Upgrade", b"Upgrade: websocket"),
        b"Sec-WebSocket-Accept: " + accept,
        *lines,
    )
    await asked.stream.send_all(b"\r\n".join(head) + b"\r\n\r\n")


@pytest.mark.parametrize("extended", [False, True])
async def test_a_broken_frame_ends_its_websocket_with_its_code(
    authority: Authority, caplog: pytest.LogCaptureFixture, *, extended: bool
) -> None:
    got = bytearray()
    told = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        if asked.path != b"/chat":
            await asked.response(b"beside")
            return
        more = (b"Sec-WebSocket-Extensions: x-any",) if extended else ()
        await switch(asked, *more)
        while data := await asked.stream.receive_some():
            got.extend(data)
        told.set()

    good, reserved, unknown = masked(0x81, b"a"), masked(0xC1, b"b"), masked(0x83, b"")
    async with watched_http2(script, authority, caplog) as watched:
        async with http2_client(watched.proxy, authority) as client:
            await client.send(client.head(OPEN, ends=False))
            number = client.last
            stream = client.streams[number]
            await client.wait(lambda: stream.has_head)
            await client.data(number, good + reserved + (unknown if extended else b""))
            await client.wait(lambda: len(stream.body) >= 4)
            assert bytes(stream.body) == close_frame(1002)
            assert (await client.fetch("/beside")).status == 200
            await client.data(number, b"", ends=True)
            await client.wait_over(number)
        with trio.fail_after(30):
            await told.wait()
    passed = good + reserved if extended else good
    assert got[: len(passed)] == passed
    end = bytes(got[len(passed) :])
    assert end[:2] == b"\x88\x82"
    code = bytes(b ^ end[2 + at] for at, b in enumerate(end[6:]))
    assert code == b"\x03\xea"


async def test_a_connection_that_the_server_resets_resets_the_websocket(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 8441 section 5: an orderly end is one, and a reset is one."""

    async def script(asked: ReceivedRequest) -> None:
        await switch(asked)
        if asked.path == b"/chat":
            await asked.stream.receive_some()
            await reset_stream(asked.stream)
        await trio.aclose_forcefully(asked.stream)

    async with watched_http2(script, authority, caplog) as watched:
        async with http2_client(watched.proxy, authority) as client:
            await client.send(client.head(OPEN, ends=False))
            await client.wait(lambda: client.streams[1].has_head)
            await client.data(1, masked(0x81, b"a"))
            await client.send(client.head(ORDERLY, ends=False))
            await client.wait_over(1, 3)
            assert client.streams[1].reset == 8
            assert client.streams[3].ended
