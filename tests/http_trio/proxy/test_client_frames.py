"""A client's WebSocket frames: what goes on to its server, and what ends the tunnel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection as Frames
from wsproto.events import BytesMessage, Ping, TextMessage

from http_trio.proxy.client_frames import ClientFrames
from http_trio.testing.peers import (
    ReceivedRequest,
    connected,
    fake_upstream,
    proxying,
)

MASK = b"\x11\x22\x33\x44"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
)


def frame(first: int, payload: bytes = b"", mask: bytes = MASK) -> bytes:
    """Give a short frame, masked unless the mask is empty."""
    content = (
        bytes(b ^ mask[at % 4] for at, b in enumerate(payload)) if mask else payload
    )
    return bytes([first, len(payload) | (128 if mask else 0)]) + mask + content


GOOD = {
    "a text": frame(0x81, "h\u00e9".encode()),
    "nothing": frame(0x81),
    "fragments of a character": frame(1, b"\xc3") + frame(0x80, b"\xa9"),
    "a ping between fragments": frame(1, b"a")
    + frame(0x89, b"\xff")
    + frame(0x80, b"b"),
    "bytes": frame(0x82, b"\xff\xfe"),
    "bytes in fragments": frame(2, b"\xff") + frame(0) + frame(0x80, b"\xfe"),
    "a pong of nothing": frame(0x8A),
    "a close": frame(0x88, b"\x03\xe8"),
}
BAD = {
    "unmasked": (frame(0x81, b"abc", b""), 1002),
    "a reserved kind": (frame(0x83, b"abc"), 1002),
    "a reserved control": (frame(0x8B), 1002),
    "a reserved bit": (frame(0xC1, b"abc"), 1002),
    "a ping in fragments": (frame(0x09, b"a"), 1002),
    "a long ping": (b"\x89\xfe\x00\x7e" + MASK + bytes(126), 1002),
    "a long close": (b"\x88\xfe\x00\x7e" + MASK + bytes(126), 1002),
    "a continuation of nothing": (frame(0x80, b"abc"), 1002),
    "a text among fragments": (frame(1, b"a") + frame(0x81, b"b"), 1002),
    "a length beyond all": (b"\x82\xff\x80" + bytes(7) + MASK + b"x", 1002),
    "text of no character": (frame(0x81, b"\xff\xfe"), 1007),
    "half a character": (frame(0x81, b"\xc3"), 1007),
    "half a character in fragments": (frame(1, b"\xc3") + frame(0x80), 1007),
    "a surrogate": (frame(0x81, b"\xed\xa0\x80"), 1007),
}


def passed(frames: ClientFrames, data: bytes, step: int) -> int:
    """Pass data over in steps; give how much of it may go on."""
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        good = frames.pass_over(piece)
        if frames.fault:
            return at + good
        assert good == len(piece)
    return len(data)


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("name", GOOD)
def test_what_is_good_goes_on(name: str, step: int) -> None:
    frames = ClientFrames(extended=False)
    data = GOOD[name] * 3
    assert passed(frames, data, step) == len(data)
    assert frames.between


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("name", BAD)
def test_what_breaks_a_rule_does_not(name: str, step: int) -> None:
    data, code = BAD[name]
    before = GOOD["a text"]
    frames = ClientFrames(extended=False)
    good = passed(frames, before + data + before, step)
    assert frames.fault == code
    assert len(before) <= good < len(before + data)
    if frames.is_clean and step == 1000:
        assert good in (len(before), len(before) + 7)  # 7: a frame before it was good


def test_an_extension_has_its_bits_and_its_content() -> None:
    frames = ClientFrames(extended=True)
    data = frame(0xC1, b"\xff\xfe")
    assert passed(frames, data, 2) == len(data)
    assert frames.pass_over(frame(0x81, b"a", b"")) == 0


@given(
    st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=8),
    st.integers(1, 400),
)
def test_what_another_library_sends_goes_on(
    messages: list[str | bytes], step: int
) -> None:
    client = Frames(ConnectionType.CLIENT)
    data = b""
    for message in messages:
        event = TextMessage if isinstance(message, str) else BytesMessage
        data += client.send(event(message))  # type: ignore[arg-type]
        data += client.send(Ping(b"p"))
    assert passed(ClientFrames(extended=False), data, step) == len(data)


async def test_over_http1_the_bytes_are_their_ends() -> None:
    async def script(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(SWITCH + b"\r\n")
        while data := await asked.stream.receive_some():
            await asked.stream.send_all(data.upper())

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            await client.send(UPGRADE)
            await client.head()
            await client.send(b"no frame")
            assert await client.exactly(8) == b"NO FRAME"
