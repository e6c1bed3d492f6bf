"""Connecting: what is given, what is said when there is none, and what is left behind."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio

from http_trio import client_context
from http_trio.net.connect import (
    Address,
    NotSecured,
    begin_connect,
    begin_tls,
    connect,
    connect_tls,
    open_socket,
)
from tests.http_trio.proxy.test_hooks import nobody


def listening() -> tuple[socket.socket, Address]:
    """Give a listener that accepts nothing by itself, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, (socket.AF_INET, listener.getsockname())


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_connection_is_given_when_it_is_made() -> None:
    listener, address = listening()
    with listener, await connect(address) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with await connect((socket.AF_UNIX, path)) as sock:
            assert sock.getpeername() == path


async def test_who_refuses_is_said_and_leaves_no_socket() -> None:
    address = nobody().addresses[0]
    before = open_descriptors()

    with pytest.raises(ConnectionRefusedError):
        await connect(address)

    assert open_descriptors() == before


def test_what_cannot_even_be_begun_leaves_no_socket(tmp_path: Path) -> None:
    before = open_descriptors()

    with pytest.raises(FileNotFoundError):
        begin_connect((socket.AF_UNIX, str(tmp_path / "nobody")))

    assert open_descriptors() == before


async def test_a_cancelled_handshake_leaves_no_socket() -> None:
    listener, address = listening()
    with listener:
        before = open_descriptors()
        with trio.move_on_after(0.05) as scope:  # nobody says the server's part
            await connect_tls(address, client_context(), server_name="localhost")

        assert scope.cancelled_caught
        assert open_descriptors() == before


async def test_who_speaks_no_tls_is_not_secured() -> None:
    listener, address = listening()

    async def speak() -> None:
        accepting = trio.socket.from_stdlib_socket(listener)
        client, _ = await accepting.accept()
        with client:
            await client.send(b"SSH-2.0-x\r\n")
            await client.recv(1024)

    with listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            with pytest.raises(NotSecured, match="no TLS"):
                await connect_tls(address, client_context(), server_name="localhost")


def test_a_name_that_cannot_be_one_is_not_secured() -> None:
    with open_socket(socket.AF_INET) as sock:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(NotSecured):
            begin_tls(sock, context, server_name=".bad")
