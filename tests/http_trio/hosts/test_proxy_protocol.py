"""Headers of the PROXY protocol, as its specification has them, whole and in pieces."""

from __future__ import annotations

import socket
import struct

import pytest

from http_trio.hosts.proxy_protocol import (
    SIGNATURE,
    BadProxyHeader,
    crc32c,
    parse_proxy_header,
)

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + bytes(4)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + bytes(4)
SSL = b"\x20\0\x05\x01\0\0\0\0"
NO_SSL = b"\x20\0\x05\0\0\0\0\0"


def v2(rest: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def summed(rest: bytes) -> bytes:
    bare = v2(rest + b"\x03\0\x04" + bytes(4))
    return bare[:-4] + crc32c(bare).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("header", "address", "secure", "alpn"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65535\r\n", "192.0.2.7", False, b""),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "2001:db8::1", False, b""),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7", False, b""),
        (b"PROXY UNKNOWN\r\n", None, False, b""),
        (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", None, False, b""),
        (v2(V4), "192.0.2.7", False, b""),
        (v2(V6, 0x21), "2001:db8::1", False, b""),
        (v2(bytes(216), 0x31), "unix", False, b""),
        (v2(b"", 0), None, False, b""),
        (v2(b"anything", 0x11, 0x20), None, False, b""),
        (v2(V4 + SSL), "192.0.2.7", True, b""),
        (v2(V4 + NO_SSL), "192.0.2.7", False, b""),
        (v2(V4 + b"\x01\0\x02h2" + SSL), "192.0.2.7", True, b"h2"),
        (v2(V4 + b"\x04\0\x03abc"), "192.0.2.7", False, b""),
        (summed(V4 + SSL), "192.0.2.7", True, b""),
    ],
)
def test_a_header_is_read_whole_or_in_pieces(
    header: bytes, address: str | None, secure: bool, alpn: bytes
) -> None:
    found = parse_proxy_header(header + b"GET / HTTP/1.1\r\n")
    assert found is not None
    assert found.size == len(header)
    assert (found.address, found.secure, found.alpn) == (address, secure, alpn)
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
        b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY UNKNOWN " + b"a" * 107,
        v2(V4, 0x12),
        v2(V4, 0x41),
        v2(V4, 0x10),
        v2(V4, 0x11, 0x11),
        v2(V4, 0x11, 0x22),
        v2(V4[:-1]),
        v2(V4 + b"\x04\0"),
        v2(V4 + b"\x04\0\x09abc"),
        v2(V4 + b"\x20\0\x01\x01"),
        v2(V4 + b"\x03\0\x04abcd"),
        v2(V4 + b"\x03\0\x02ab"),
        v2(V4 + bytes(5000)),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(data)
