"""A page of strangers gets nothing of the admin listener; programs do."""

from __future__ import annotations

import pytest

from canary_trio.admin.guard import AdminGuard
from http_trio import Exchange, Response
from http_trio.testing.peers import connected, serving


def _respond(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"served"))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Host: 127.0.0.1:8081", 200),
        (b"Host: [::1]:8081", 200),
        (b"Host: localhost", 200),
        (b"Host: canary:8081", 200),
        (b"Host: Admin.Example.ORG.:8081", 200),
        (b"Host: a\r\nOrigin: http://a", 200),
        (b"Host: a\r\nSec-Fetch-Site: same-origin", 200),
        (b"Host: attacker.example:8081", 403),
        (b"Host: 127.0.0.1.attacker.example", 403),
        (b"Host: a\r\nOrigin: https://evil.example", 403),
        (b"Host: a\r\nOrigin: null", 403),
        (b"Host: a\r\nSec-Fetch-Site: cross-site", 403),
        (b"Host: a\r\nSec-Fetch-Site: same-site", 403),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_who_is_let_in(fields: bytes, status: int, method: bytes) -> None:
    handler = AdminGuard(_respond, ["admin.example.org"])
    async with serving(handler) as server, connected(server) as client:
        line = b"%b /status HTTP/1.1\r\n%b\r\nContent-Length: 0\r\n\r\n"
        await client.send(line % (method, fields))
        head, _ = await client.response()

        assert head.startswith(b"HTTP/1.1 %d" % status)
