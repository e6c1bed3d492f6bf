"""Fuzz target of the store's client: all the bytes that a store sends, head and body."""

from __future__ import annotations

import trio

from tests.kv_trio.support.odd_stores import ask_all, response, sending

_INDEX = b"X-Consul-Index: 7"
_ENTRY = b"""[{"LockIndex": 0, "Key": "k", "Flags": 0, "Value": "MQ==", "CreateIndex": 1,
    "ModifyIndex": 1}]"""


def store_bytes(data: bytes) -> None:
    """Whatever comes, each request gives a value, or an error of ours, and soon."""

    async def ask() -> None:
        with trio.fail_after(30):
            await ask_all(lambda: sending(data))

    trio.run(ask)


SEEDS: dict[str, tuple[bytes, ...]] = {
    "store_bytes": (
        response(_ENTRY, _INDEX, b"Content-Type: application/json"),
        response(b"", _INDEX, status=b"404 Not Found"),
        response(b"true", _INDEX),
        response(
            b"No cluster leader", b"Content-Type: a; charset=hex", status=b"500 E"
        ),
        response(
            b"", b"Location: http://[", b"Set-Cookie: \xff=1", status=b"301 Moved"
        ),
        response(b"\x1f\x8b", _INDEX, b"Content-Encoding: gzip"),
        response(b"4\r\ntrue\r\n0\r\nX: y\r\n\r\n", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + response(b'["k"]', b"X-Consul-Index: \xb2"),
        b"HTTP/1.0 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nfalse",
        response(b"", status=b"101 Switching Protocols", length=False),
    ),
}
