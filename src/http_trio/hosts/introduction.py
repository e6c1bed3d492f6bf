"""The PROXY protocol, written: what a server is told of a client before its first byte. Pure.

The rule that it obeys: what is written here reads the same by `proxy_protocol`. What is not
known is left out, and a client whose address is not known is not made up: the server then
takes the address of whoever connects.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import struct

import attrs

from http_trio.hosts.addresses import Address, parse_address
from http_trio.hosts.proxy_protocol import (
    ALPN,
    AUTHORITY,
    BY_TLS,
    CRC32C,
    SIGNATURE,
    SSL,
    Endpoint,
    crc32c,
)

NAME_BYTES = 255
"""Of a name or a protocol that is told at most; a longer one is left out."""

_SHOWED_CERTIFICATE = 0x02 | 0x04  # on this connection, or when its session began
_TLS_VERSION, _COMMON_NAME = 0x21, 0x22
_NOT_VERIFIED = 1


class ProxyVersion(enum.Enum):
    """The version of the PROXY protocol."""

    V1 = "v1"
    """A line of text: the addresses and ports."""

    V2 = "v2"
    """Binary: TLS, the protocol and the name asked for too, and a checksum."""


@attrs.frozen
class Introduction:
    """What is said of a connection.

    Attributes:
        source: of the client; None where that is not known.
        destination: where it connected to; None where that is not known.
        secure: whether it came by TLS.
        alpn: the protocol agreed on; empty for none.
        authority: the name that it asked for in its handshake; empty for none.
        tls_version: such as `TLSv1.3`; empty where it is not known.
        common_name: of its certificate; None if it has shown none that was verified.
    """

    source: Endpoint | None = None
    destination: Endpoint | None = None
    secure: bool = False
    alpn: bytes = b""
    authority: bytes = b""
    tls_version: bytes = b""
    common_name: bytes | None = None


LOCAL = {
    ProxyVersion.V1: b"PROXY UNKNOWN\r\n",
    ProxyVersion.V2: SIGNATURE + b"\x20\0\0\0",
}
"""What is said of a connection that is for ourselves, such as a check."""


@functools.lru_cache(maxsize=1024)
def render_introduction(version: ProxyVersion, said: Introduction) -> bytes:
    r"""Give the header that a connection to a server begins with.

    >>> said = Introduction(("192.0.2.7", 4711), ("10.0.0.1", 443))
    >>> render_introduction(ProxyVersion.V1, said)
    b'PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n'
    """
    addresses = _addresses(said)
    if version is ProxyVersion.V1:
        return LOCAL[version] if addresses is None else _line(*addresses, said)
    family, raw = b"\0", b""
    if addresses is not None:
        source, destination = addresses
        family = b"\x11" if source.version == 4 else b"\x21"
        ports = struct.pack("!HH", _port(said.source), _port(said.destination))
        raw = source.packed + destination.packed + ports
    return _summed(b"\x21" + family, raw + _extras(said))


def _addresses(said: Introduction) -> tuple[Address, Address] | None:
    """Give both addresses, of one family; None if the client's is not known."""
    source = None if said.source is None else parse_address(said.source[0])
    if source is None:
        return None
    to = None if said.destination is None else parse_address(said.destination[0])
    if to is None:  # it came by a Unix socket, or by a balancer's word
        to = type(source)(0)
    if source.version == to.version:
        return source, to
    return _wide(source), _wide(to)


def _wide(address: Address) -> Address:
    if address.version == 6:
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _line(source: Address, destination: Address, said: Introduction) -> bytes:
    words = (
        *("PROXY", f"TCP{source.version}", _text(source), _text(destination)),
        *(_port(said.source), _port(said.destination)),
    )
    return " ".join(map(str, words)).encode() + b"\r\n"


def _text(address: Address) -> str:
    """Write an address as RFC 5952 does, section 5 too, which Python does from 3.13 on."""
    narrow = address.ipv4_mapped if address.version == 6 else None
    return str(address) if narrow is None else f"::ffff:{narrow}"


def _port(endpoint: Endpoint | None) -> int:
    return 0 if endpoint is None else endpoint[1]


def _extras(said: Introduction) -> bytes:
    extras = _tlv(ALPN, said.alpn) + _tlv(AUTHORITY, said.authority)
    if not said.secure:
        return extras
    client, verified = BY_TLS, _NOT_VERIFIED
    inner = _tlv(_TLS_VERSION, said.tls_version)
    if said.common_name is not None:
        client, verified = client | _SHOWED_CERTIFICATE, 0
        inner += _tlv(_COMMON_NAME, said.common_name)
    value = struct.pack("!BI", client, verified) + inner
    return extras + struct.pack("!BH", SSL, len(value)) + value


def _tlv(kind: int, value: bytes) -> bytes:
    if not 0 < len(value) <= NAME_BYTES:
        return b""
    return struct.pack("!BH", kind, len(value)) + value


def _summed(what: bytes, rest: bytes) -> bytes:
    size = len(rest) + 7
    before = SIGNATURE + what + struct.pack("!H", size) + rest
    before += struct.pack("!BH", CRC32C, 4)
    return before + struct.pack("!I", crc32c(before + bytes(4)))
