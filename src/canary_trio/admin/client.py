"""Asking a proxy's admin listener, from a command: one request, one short response."""

from __future__ import annotations

import json
from typing import Any

import trio

RESPONSE_BYTES = 64 * 1024 * 1024
"""Of a response at most."""


class AdminUnreachable(Exception):
    """A proxy's admin listener gave no usable response; says why."""


async def read_status(address: str) -> dict[str, Any]:
    """Give what a proxy says at `/status`; put it under a cancel scope.

    Args:
        address: of its admin listener, `HOST:PORT` or `unix:PATH`.

    Raises:
        AdminUnreachable: nothing usable came.
    """
    try:
        stream = await _connect(address)
        async with stream:
            await stream.send_all(b"GET /status HTTP/1.0\r\nHost: admin\r\n\r\n")
            response = await _read_all(stream)
    except (OSError, trio.BrokenResourceError) as exc:
        raise AdminUnreachable(str(exc)) from exc
    head, _, body = response.partition(b"\r\n\r\n")
    line = head.partition(b"\r\n")[0]
    if b" 200 " not in line:
        raise AdminUnreachable(f"answered {line[:60]!r}")
    try:
        shown: dict[str, Any] = json.loads(body)
    except ValueError as exc:
        raise AdminUnreachable(f"answered no JSON: {exc}") from exc
    return shown


async def _connect(address: str) -> trio.SocketStream:
    path = address.removeprefix("unix:")
    if path != address:
        return await trio.open_unix_socket(path)
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def _read_all(stream: trio.SocketStream) -> bytes:
    response = b""
    while data := await stream.receive_some():
        response += data
        if len(response) > RESPONSE_BYTES:
            raise AdminUnreachable(f"answered more than {RESPONSE_BYTES} bytes")
    return response
