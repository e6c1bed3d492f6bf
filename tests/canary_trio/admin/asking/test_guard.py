"""A page of strangers gets nothing of the admin listener; programs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from canary_trio.admin.asking.guard import FOR_EVERYONE, AdminAccess, AdminGuard
from canary_trio.admin.asking.tokens import RoleFile, make_admin_token
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
    path = b"/status" if method == b"GET" else b"/explain"
    handler = AdminGuard(_respond, ["admin.example.org"])
    async with serving(handler) as server, connected(server) as client:
        line = b"%b %b HTTP/1.1\r\n%b\r\nContent-Length: 0\r\n\r\n"
        await client.send(line % (method, path, fields))
        head, _ = await client.response()

        assert head.startswith(b"HTTP/1.1 %d" % status)


@pytest.mark.parametrize(("is_vouched", "status"), [(False, 403), (True, 200)])
@pytest.mark.parametrize(
    "field", [b"Host: attacker.example", b"Host: a\r\nOrigin: http://evil.example"]
)
async def test_a_port_may_lead_to_a_socket(
    field: bytes, is_vouched: bool, status: int
) -> None:
    guard = AdminGuard(_respond, (), AdminAccess(is_vouched=is_vouched))

    def from_there(exchange: Exchange) -> None:
        exchange.client = "unix"
        guard(exchange)

    async with serving(from_there) as server, connected(server) as client:
        await client.send(b"GET /status HTTP/1.1\r\n%b\r\n\r\n" % field)
        head, _ = await client.response()

    assert head.startswith(b"HTTP/1.1 %d" % status)


NEAR, FAR = "127.0.0.1", "192.0.2.1"
READS = (
    b"GET /status",
    b"HEAD /metrics",
    b"POST /explain",
    b"POST /rehearse?service=web",
    b"GET /unknown",
)
WRITES = (b"POST /api/v1/x", b"PUT /status", b"DELETE /metrics", b"POST /status")


@pytest.mark.parametrize(
    ("client", "is_open", "token", "reads", "writes"),
    [
        (NEAR, False, "", 200, 401),
        (FAR, False, "", 401, 401),
        (FAR, True, "", 200, 401),
        (NEAR, False, "wrong", 401, 401),
        (FAR, True, "wrong", 401, 401),
        (FAR, False, "reader", 200, 403),
        (FAR, False, "writer", 200, 200),
        (NEAR, False, "reader", 200, 403),
        (NEAR, False, "writer", 200, 200),
        ("unix", False, "", 200, 401),
        ("unix vouched", False, "", 200, 200),
        ("vouched", False, "", 200, 401),
    ],
)
async def test_what_a_role_may_ask(
    client: str,
    is_open: bool,
    token: str,
    reads: int,
    writes: int,
    tmp_path: Path,
) -> None:
    made = {name: make_admin_token(name, role) for name, role in ROLES.items()}
    file = tmp_path / "admin.toml"
    file.write_text("\n".join(lines for _, lines in made.values()))
    access = AdminAccess(RoleFile(file), is_open, is_vouched="vouched" in client)
    guard = AdminGuard(_respond, (), access)

    def from_there(exchange: Exchange) -> None:
        exchange.client = client.partition(" ")[0].replace("vouched", NEAR)
        guard(exchange)

    secret = made[token][0] if token in made else token
    shown = f"Authorization: Bearer {secret}\r\n".encode() if token else b""
    wanted = dict.fromkeys(READS, reads) | dict.fromkeys(WRITES, writes)
    wanted |= {b"GET " + path: 200 for path in FOR_EVERYONE}
    async with serving(from_there) as server, connected(server) as asker:
        for line, status in wanted.items():
            rest = b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n%b\r\n" % shown
            await asker.send(line + rest)
            head, _ = await asker.response(bodiless=line.startswith(b"HEAD"))

            assert head.startswith(b"HTTP/1.1 %d" % status), line
            assert (b"www-authenticate" in head.lower()) == (status == 401)


ROLES = {"reader": "read", "writer": "write"}
