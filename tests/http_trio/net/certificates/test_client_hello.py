"""The name in a client's first message, as real clients write it, and cut anywhere."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.net.certificates.client_hello import (
    HELLO_BYTES,
    Unfinished,
    server_name,
)


def hello(name: str | None, *, tls12: bool = False) -> bytes:
    """Give what OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(message: bytes, size: int) -> bytes:
    """Cut a message that came in one record into several."""
    body = message[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(
        message[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces
    )


@pytest.mark.parametrize("tls12", [False, True], ids=["1.3", "1.2"])
@pytest.mark.parametrize(
    ("asked", "name"),
    [("a.example", "a.example"), ("A.Example", "A.Example"), (None, "")],
)
def test_it_is_found(asked: str | None, name: str, tls12: bool) -> None:
    assert server_name(hello(asked, tls12=tls12)) == name


def test_an_address_is_no_name_for_clients() -> None:
    assert server_name(hello("127.0.0.1")) == ""


@given(st.data())
def test_until_it_is_whole_it_is_waited_for(data: st.DataObject) -> None:
    message = hello("a.example")
    message = in_records(message, data.draw(st.integers(40, len(message))))
    for at in range(len(message)):
        with pytest.raises(Unfinished):
            server_name(message[:at])
    assert server_name(message + b"\x14\x03\x03\x00\x01\x01") == "a.example"


def test_what_is_cut_into_crumbs_is_not_waited_for() -> None:
    assert server_name(in_records(hello("a.example"), 1)) == ""
    assert server_name(b"\x16\x03\x01\x00\x00" * 1000) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff" + bytes(HELLO_BYTES),
    ],
    ids=["http", "another message", "empty", "endless"],
)
def test_what_is_no_first_message_has_no_name(data: bytes) -> None:
    assert server_name(data) == ""


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_nothing_else_comes_out(data: bytes, at: int, byte: int) -> None:
    damaged = bytearray(hello("a.example"))
    damaged[at % len(damaged)] = byte
    for given_ in (
        data,
        bytes(damaged),
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4" + data,
    ):
        with contextlib.suppress(Unfinished):
            server_name(given_)
