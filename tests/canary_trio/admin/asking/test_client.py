"""A command asks an admin listener: what it gives, and how it says that nothing came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from canary_trio.admin.asking.client import (
    AdminCredentials,
    AdminUnreachable,
    read_status,
)
from http_trio import Exchange, Handler, Response
from http_trio.testing.peers import serving

SHOWN = {"id": "a", "arms": {}}


def responding(status: int, body: bytes) -> Handler:
    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(status, body))

    return handle


async def test_the_status_is_read_over_tcp() -> None:
    async with serving(responding(200, json.dumps(SHOWN).encode())) as server:
        assert await read_status(server.addresses[0]) == SHOWN


async def test_the_status_is_read_over_a_unix_socket(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path / 'admin'}"
    async with serving(responding(200, json.dumps(SHOWN).encode()), bind=bind):
        assert await read_status(bind) == SHOWN


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b"draining", "answered with status 503"),
        (200, b"<html>", "answered no JSON: Expecting value"),
        (200, b'"' + b"x" * 100 + b'"', "answered more than 100 bytes"),
    ],
    ids=["status", "no JSON", "too much"],
)
async def test_what_is_no_status_is_said_so(
    status: int, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canary_trio.admin.asking.client.RESPONSE_BYTES", 100)
    async with serving(responding(status, body)) as server:
        with pytest.raises(AdminUnreachable, match=said):
            await read_status(server.addresses[0])


async def test_who_does_not_listen_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(AdminUnreachable, match="No such file"):
        await read_status(f"unix:{tmp_path / 'nobody'}")


@pytest.mark.parametrize(
    ("address", "credentials", "shown"),
    [
        ("127.0.0.1:1", AdminCredentials("s"), False),
        ("unix:/a", AdminCredentials("s", ca="ca"), False),
        ("10.0.0.1:1", AdminCredentials("s", ca="ca"), False),
        ("https://10.0.0.1:1", AdminCredentials("s"), False),
        ("https://10.0.0.1:1", AdminCredentials("s", ca="ca", verify=False), False),
        ("https://10.0.0.1:1", AdminCredentials("s", ca="ca"), True),
        ("10.0.0.1:1", AdminCredentials("s", named=frozenset({"10.0.0.1:1"})), True),
        ("10.0.0.1:2", AdminCredentials("s", named=frozenset({"10.0.0.1:1"})), False),
        ("https://evil:1", AdminCredentials("s", named=frozenset({"evil:1"})), False),
    ],
)
def test_a_token_is_shown_only_where_the_operator_said(
    address: str, credentials: AdminCredentials, shown: bool
) -> None:
    assert (credentials.shown_to(address) is not None) == shown


async def test_a_token_that_is_asked_for_is_said_so() -> None:
    async with serving(responding(401, b"")) as server:
        for credentials, said in (
            (AdminCredentials(), "give an --admin-token-file"),
            (AdminCredentials("s"), f"--admin-at {server.addresses[0]}"),
            (
                AdminCredentials("s", named=frozenset(server.addresses)),
                "refuses the token",
            ),
        ):
            with pytest.raises(AdminUnreachable, match=said):
                await read_status(server.addresses[0], credentials)
