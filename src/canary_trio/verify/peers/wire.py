"""HTTP/1.1, WebSocket frames and gRPC's messages, as simple as they can be, for both ends of a run.

Only what our clients and our servers say is read: it is no engine. The rule that it obeys:
what is not as it should be raises `Broken`, with words that a report can show.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Protocol

import attrs
import trio

PIECE = b"p" * 1000
"""What a slow body is made of."""

PIECE_S = 0.05
"""The pause behind each piece."""

RECEIVE = 64 * 1024
HEAD = 64 * 1024
"""Bytes of a head at most."""

LOSSES = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""How a connection that breaks is told."""


class Broken(Exception):
    """The other side said what it must not, or was gone.

    Attributes:
        begun: whether anything of the response had come.
    """

    def __init__(self, why: str, *, begun: bool = True) -> None:
        super().__init__(why)
        self.begun = begun


@attrs.frozen
class WireHead:
    """The head of a message.

    Attributes:
        start: its first line.
        lines: its fields, as they came.
    """

    start: bytes
    lines: tuple[bytes, ...]

    def values(self, name: bytes) -> list[bytes]:
        """Give the values of a field, by its name in small letters."""
        found = (line.partition(b":") for line in self.lines)
        return [value.strip() for one, _, value in found if one.lower() == name]

    def value(self, name: bytes) -> bytes:
        """Give the first of them; empty if there is none."""
        return next(iter(self.values(name)), b"")

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start[9:12]) if self.start[:5] == b"HTTP/" else 0


class Bytes(Protocol):
    """What can be sent to and read."""

    async def send_all(self, data: bytes) -> None:
        """Send all of it."""

    async def receive_some(self, most: int, /) -> bytes | bytearray:
        """Give what is there; empty at the end."""


class HttpStream:
    """One connection of HTTP/1.1, by either side; or the bytes of a WebSocket."""

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._buffer = b""

    def __repr__(self) -> str:
        return f"<HttpStream with {len(self._buffer)} bytes>"

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self._stream.send_all(data)

    async def has_more(self) -> bool:
        """Wait for the next message; False if the connection ends before it."""
        if not self._buffer:
            self._buffer = bytes(await self._stream.receive_some(RECEIVE))
        return bool(self._buffer)

    async def head(self) -> WireHead:
        """Read a head, 1xx but 101 passed over."""
        while True:
            text = await self._until(b"\r\n\r\n")
            start, *lines = text.split(b"\r\n")
            found = WireHead(start, tuple(lines))
            if found.status in (0, 101) or found.status >= 200:
                return found

    async def body(self, head: WireHead) -> bytes:
        """Read the body behind a head; one without a length is none."""
        if head.value(b"transfer-encoding").lower() == b"chunked":
            found = b""
            while size := int(await self._until(b"\r\n"), 16):
                found += await self.exactly(size)
                await self.exactly(2)
            await self._until(b"\r\n")
            return found
        return await self.exactly(int(head.value(b"content-length") or 0))

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < count:
            await self._more()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame of a WebSocket: its opcode and payload (RFC 6455 section 5.2)."""
        first, second = await self.exactly(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(await self.exactly(2 if size == 126 else 8), "big")
        mask = await self.exactly(4) if second & 128 else b""
        payload = await self.exactly(size)
        if mask:
            repeated = (mask * (size // 4 + 1))[:size]
            payload = bytes(a ^ b for a, b in zip(payload, repeated, strict=True))
        return first & 15, payload

    async def send_frame(self, opcode: int, payload: bytes, *, masked: bool) -> None:
        """Send a frame of less than 64 KiB; a client's mask is 0, which changes nothing."""
        size = len(payload)
        head = bytes([128 | opcode, (128 if masked else 0) | min(size, 126)])
        if size > 125:
            head = head[:1] + bytes([head[1] & 128 | 126]) + struct.pack("!H", size)
        await self.send(head + (bytes(4) if masked else b"") + payload)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > HEAD:
                raise Broken(f"no end of a head within {HEAD} bytes")
            await self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    async def _more(self) -> None:
        begun = bool(self._buffer)
        try:
            data = await self._stream.receive_some(RECEIVE)
        except LOSSES as exc:
            words = str(exc.__cause__ or exc) or type(exc).__name__
            raise Broken(f"reset: {words}", begun=begun) from exc
        if not data:
            raise Broken(f"closed after {self._buffer[:40]!r}", begun=begun)
        self._buffer += data


def digest_of(body: bytes) -> bytes:
    """Give what a server says of a body.

    >>> digest_of(b"abc")
    b'3 900150983cd24fb0d6963f7d28e17f72'
    """
    found = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return b"%d %b" % (len(body), found.encode())


def message(payload: bytes) -> bytes:
    """Frame a message of gRPC: no compression, and its length.

    >>> messages_in(message(b"abc") + b"more")
    ([b'abc'], b'more')
    """
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def messages_in(data: bytes) -> tuple[list[bytes], bytes]:
    """Give the whole messages in some bytes, and what is left."""
    found = []
    while len(data) >= 5:
        size = int.from_bytes(data[1:5], "big")
        if len(data) < 5 + size:
            break
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found, data


def decision_of(value: bytes) -> dict[str, str]:
    """Read the field of `decision_header` (RFC 9651, as far as ours goes).

    >>> decision_of(b'revision=57, protocol=HTTP/2, arm="canary", reason=rule')["arm"]
    'canary'
    """
    pairs = (part.partition("=") for part in value.decode("latin-1").split(", "))
    return {name: text.strip('"') for name, _, text in pairs}
