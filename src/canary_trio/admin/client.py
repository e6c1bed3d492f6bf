"""Asking a proxy's admin listener, from a command: one request, one short response."""

from __future__ import annotations

import json
import socket
from typing import Any

import trio

from http_trio import Address, NoResponse, Upstream, fetch

RESPONSE_BYTES = 64 * 1024 * 1024
"""Of a response at most."""

_REQUEST = b"GET /status HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"


ASK_S = 2.0
"""How long another proxy has to say that it is alive."""


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
        admin = Upstream(address, await _resolve(address), b"admin")
        response = await fetch(
            admin, _REQUEST, method=b"GET", body_limit=RESPONSE_BYTES, keep_body=True
        )
    except (NoResponse, OSError, ValueError) as exc:  # such as a port of letters
        raise AdminUnreachable(str(exc)) from exc
    if response.status != 200:
        raise AdminUnreachable(f"answered with status {response.status}")
    if not response.whole:
        raise AdminUnreachable(f"answered more than {RESPONSE_BYTES} bytes")
    return parse_status(response.body)


def parse_status(body: bytes) -> dict[str, Any]:
    """Read what came; that it is a table is all that is known of it.

    Raises:
        AdminUnreachable: it is no JSON, or no table.
    """
    try:
        shown: dict[str, Any] = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise AdminUnreachable(f"answered no JSON: {exc}") from exc
    if not isinstance(shown, dict):
        raise AdminUnreachable("answered no table")
    return shown


async def _resolve(address: str) -> list[Address]:
    """Give what a listener's address stands for.

    Raises:
        OSError: its name does not resolve.
    """
    path = address.removeprefix("unix:")
    if path != address:
        return [(socket.AF_UNIX, path)]
    host, _, port = address.rpartition(":")
    found = await trio.socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )
    return [(family, at) for family, _, _, _, at in found]


async def is_other_proxy(
    address: str, *, service: str, proxy_id: str, instance: str
) -> bool:
    """Ask an admin listener whether it is one of another proxy of this name.

    Args:
        address: of the listener, as somebody has reported it.
        service: whose proxies share the names.
        proxy_id: the name.
        instance: of the one who asks, which the address may lead back to.
    """
    with trio.move_on_after(ASK_S):
        try:
            status = await read_status(address)
        except AdminUnreachable:
            return False
        same = (status.get("service"), status.get("id")) == (service, proxy_id)
        return same and status.get("instance") != instance
    return False
