"""The PROXY protocol: what a balancer says of a connection before its first byte. Pure.

Versions 1 (a line) and 2 (binary), as HAProxy's proxy-protocol.txt has them. The rule that
it obeys: a header is whole, still coming or malformed, and never half believed.
"""

from __future__ import annotations

import ipaddress
import re
import struct

import attrs

from http_trio.hosts.addresses import parse_address

HEADER_BYTES = 4096
"""Of a header at most; a longer one is malformed. The addresses take 232, the rest is TLVs."""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""What a header of version 2 begins with."""

_LINE_BYTES = 107
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4})"
    rb" (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_SIZES = {0: 0, 1: 12, 2: 36, 3: 216}  # of the addresses, by family
_ALPN, _CRC32C, _SSL = 0x01, 0x03, 0x20
_CLIENT_SSL = 0x01


class BadProxyHeader(ValueError):
    """What came is no header of the PROXY protocol."""


@attrs.frozen
class ProxyHeader:
    """What is said of a connection.

    Attributes:
        size: of the header, in bytes.
        address: of the client; "unix" where it came by a Unix socket, None where the
            balancer speaks for itself, or does not know.
        secure: whether the client came to the balancer by TLS.
        alpn: the protocol that they agreed on; empty for none.
    """

    size: int
    address: str | None
    secure: bool = False
    alpn: bytes = b""


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    r"""Read the header that a connection begins with; None while it is still coming.

    >>> parse_proxy_header(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nGET /")
    ProxyHeader(size=40, address='192.0.2.7', secure=False, alpn=b'')

    Raises:
        BadProxyHeader: it is none.
    """
    if data.startswith(SIGNATURE):
        return _parse_binary(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    if not data.startswith(b"PROXY "):
        raise BadProxyHeader(f"it begins with {data[:16]!r}")
    return _parse_line(data)


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _LINE_BYTES) + 1
    if not end:
        if len(data) >= _LINE_BYTES:
            raise BadProxyHeader(f"a line beyond {_LINE_BYTES} bytes")
        return None
    line = data[:end]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(end, None)
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadProxyHeader(f"the line {line!r}")
    version, *addresses = match[1], match[2].decode(), match[3].decode()
    for text in addresses:
        address = parse_address(text)
        if address is None or (b":" in text.encode()) != (version == b"6"):
            raise BadProxyHeader(f"the address {text!r}")
    if max(int(match[4]), int(match[5])) > 65535:
        raise BadProxyHeader("a port beyond 65535")
    return ProxyHeader(end, str(parse_address(addresses[0])))


def _parse_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    kind, family, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if kind >> 4 != 2 or kind & 15 > 1:
        raise BadProxyHeader(f"version and command {kind:#x}")
    if size > HEADER_BYTES:
        raise BadProxyHeader(f"a header of {size} bytes")
    if len(data) < size:
        return None
    header = data[:size]
    if kind & 15 == 0:  # LOCAL: the balancer asks for itself, whatever else it says
        return ProxyHeader(size, None)
    known, transport = family >> 4, family & 15
    if known > 3 or transport > 1 or (known == 0) != (transport == 0):
        raise BadProxyHeader(f"family and transport {family:#x}")
    taken = 16 + _SIZES[known]
    if taken > size:
        raise BadProxyHeader(f"{length} bytes for addresses of family {known}")
    if known == 0:
        return ProxyHeader(size, None)
    secure, alpn = _read_extras(header, taken)
    return ProxyHeader(size, _address(header, known), secure, alpn)


def _address(header: bytes, family: int) -> str:
    if family == 3:
        return "unix"
    raw = header[16 : 16 + (4 if family == 1 else 16)]
    return str(parse_address(str(ipaddress.ip_address(raw))))


def _read_extras(header: bytes, at: int) -> tuple[bool, bytes]:
    """Give whether the client came by TLS, and the protocol that was agreed on."""
    secure, alpn = False, b""
    while at < len(header):
        if at + 3 > len(header):
            raise BadProxyHeader("the last TLV is cut")
        kind, length = struct.unpack_from("!BH", header, at)
        value = header[at + 3 : at + 3 + length]
        if len(value) < length:
            raise BadProxyHeader("a TLV is longer than what is left")
        if kind == _CRC32C:
            _check(header, at + 3, value)
        elif kind == _ALPN:
            alpn = value
        elif kind == _SSL:
            if length < 5:
                raise BadProxyHeader("a TLV of TLS that is too short")
            secure = bool(value[0] & _CLIENT_SSL)
        at += 3 + length
    return secure, alpn


def _check(header: bytes, at: int, said: bytes) -> None:
    bare = header[:at] + b"\0\0\0\0" + header[at + 4 :]
    if len(said) != 4 or crc32c(bare) != int.from_bytes(said, "big"):
        raise BadProxyHeader("the checksum is wrong")


def crc32c(data: bytes) -> int:
    """Give the checksum of RFC 3720 (Castagnoli's polynomial).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF
