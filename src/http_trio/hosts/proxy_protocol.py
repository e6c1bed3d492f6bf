"""The PROXY protocol: what a balancer says of a connection before its first byte. Pure.

Versions 1 (a line) and 2 (binary), as HAProxy's proxy-protocol.txt has them, read here;
`introduction` writes them. The rule that it obeys: a header is whole, still coming or
malformed, and never half believed.
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
ALPN, AUTHORITY, CRC32C, SSL = 0x01, 0x02, 0x03, 0x20
"""What a TLV may be: the protocol agreed on, the name asked for, a checksum, TLS."""

BY_TLS = 0x01
"""Of a TLV of TLS: the client came by it."""

Endpoint = tuple[str, int]
"""An address and a port."""


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
        authority: the name that the client asked for; empty for none.
        port: of the client; 0 where there is none.
        destination: where the client connected to; None where that is not said.
    """

    size: int
    address: str | None
    secure: bool = False
    alpn: bytes = b""
    authority: bytes = b""
    port: int = 0
    destination: Endpoint | None = None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    r"""Read the header that a connection begins with; None while it is still coming.

    >>> header = parse_proxy_header(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nGET /")
    >>> header.address, header.port, header.destination, header.size
    ('192.0.2.7', 4711, ('10.0.0.1', 443), 40)

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
    port, to_port = int(match[4]), int(match[5])
    if max(port, to_port) > 65535:
        raise BadProxyHeader("a port beyond 65535")
    source, destination = (str(parse_address(text)) for text in addresses)
    return ProxyHeader(end, source, port=port, destination=(destination, to_port))


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
    found = _read_extras(header, taken)
    if known == 3:
        return ProxyHeader(size, "unix", *found)
    source, destination = _endpoints(header, known)
    return ProxyHeader(size, source[0], *found, source[1], destination)


def _endpoints(header: bytes, family: int) -> tuple[Endpoint, Endpoint]:
    wide = 4 if family == 1 else 16
    raw = header[16 : 16 + wide], header[16 + wide : 16 + 2 * wide]
    source, destination = (
        str(parse_address(str(ipaddress.ip_address(one)))) for one in raw
    )
    port, to_port = struct.unpack_from("!HH", header, 16 + 2 * wide)
    return (source, port), (destination, to_port)


def _read_extras(header: bytes, at: int) -> tuple[bool, bytes, bytes]:
    """Give whether the client came by TLS, the protocol agreed on, the name asked for."""
    secure, alpn, authority = False, b"", b""
    while at < len(header):
        if at + 3 > len(header):
            raise BadProxyHeader("the last TLV is cut")
        kind, length = struct.unpack_from("!BH", header, at)
        value = header[at + 3 : at + 3 + length]
        if len(value) < length:
            raise BadProxyHeader("a TLV is longer than what is left")
        if kind == CRC32C:
            _check(header, at + 3, value)
        elif kind == ALPN:
            alpn = value
        elif kind == AUTHORITY:
            authority = value
        elif kind == SSL:
            if length < 5:
                raise BadProxyHeader("a TLV of TLS that is too short")
            secure = bool(value[0] & BY_TLS)
        at += 3 + length
    return secure, alpn, authority


def _check(header: bytes, at: int, said: bytes) -> None:
    bare = header[:at] + b"\0\0\0\0" + header[at + 4 :]
    if len(said) != 4 or crc32c(bare) != int.from_bytes(said, "big"):
        raise BadProxyHeader("the checksum is wrong")


def _step(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_STEPS = tuple(_step(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """Give the checksum of RFC 3720 (Castagnoli's polynomial).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _STEPS[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
