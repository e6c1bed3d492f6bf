"""Addresses to listen on: those that can be had, and what is said of others."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from http_trio import (
    BadBind,
    Exchange,
    Response,
    address_of,
    bind_of,
    open_listeners,
    serve,
)
from http_trio.testing.peers import connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"hello " + exchange.target))


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind = f"unix:{path}"
    async with serving(
        lambda ex: ex.respond(Response(200, ex.client.encode())), bind=bind
    ) as s:
        assert s.addresses == (bind,)
        async with connected(s) as client:
            assert (await client.ask())[1] == b"unix"
        with pytest.raises(BadBind, match="in use"):
            await serve(hello, [bind])
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    async with serving(hello, bind=f"unix:{path}") as server:
        async with connected(server) as client:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("8080", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("192.0.2.1:0", "no address of this machine"),
        ("unix:/nowhere/s", "No such file"),
    ],
)
async def test_a_bad_bind_says_why(bind: str, words: str) -> None:
    with pytest.raises(BadBind, match=words):
        await serve(hello, [bind])


def test_what_is_not_served_takes_no_introduction(tmp_path: Path) -> None:
    with pytest.raises(BadBind, match="leave ',proxy' out"):
        open_listeners(["127.0.0.1:0", f"unix:{tmp_path}/s,proxy"])
    (sock,) = open_listeners([f"unix:{tmp_path}/s,proxy"], introduced=True)
    with sock:
        assert (address_of(sock), bind_of(sock)) == (
            f"unix:{tmp_path}/s",
            f"unix:{tmp_path}/s,proxy",
        )


async def test_a_taken_port_is_said_and_frees_the_other() -> None:
    async with serving(hello) as server:
        with pytest.raises(BadBind, match="choose another port"):
            await serve(hello, ["127.0.0.1:0", server.addresses[0]])


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with serving(hello, bind="[::1]:0") as server, connected(server) as client:
        assert (await client.ask(b"/a"))[1] == b"hello /a"
