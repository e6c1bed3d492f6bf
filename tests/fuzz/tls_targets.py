"""Fuzz targets of TLS: what a client sends first, whom it asks for, and certificates."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl

import trustme

from http_trio.net.certificates.client_hello import Unfinished, server_name
from http_trio.net.certificates.held_names import HeldNames, host_of, plain_name
from http_trio.net.certificates.x509 import read_der

_ISSUED = trustme.CA().issue_cert(
    "a.example", "*.b.example", "::1", "c@d.example", common_name="Jör, +"
)
_DER = ssl.PEM_cert_to_DER_cert(_ISSUED.cert_chain_pems[0].bytes().decode())


def client_hello(data: bytes) -> None:
    """A name or none, and what is found of a whole message does not depend on more."""
    with contextlib.suppress(Unfinished):
        name = server_name(data)
        assert name.isascii()
        assert server_name(data + b"more") == name


def certificate(data: bytes) -> None:
    """A certificate or a ValueError; what is read can be shown, compared and logged."""
    try:
        read = read_der(data)
    except ValueError:
        return
    for name in read.alternative_names:
        assert name.isascii()
        assert name.isprintable()
    assert read.subject.isprintable()
    for name in HeldNames.of(read).names:
        assert name == name.lower()
        said = f"[{name}]" if ":" in name else name
        assert HeldNames.of(read).holds(said.encode()) or not plain_name(name)


def authority(data: bytes) -> None:
    """A host as names are compared: again the same, an address or a plain name."""
    host = host_of(data)
    if ":" in host:
        assert host == str(ipaddress.ip_address(host))
    elif host and not host.endswith("."):  # one dot at the end is nothing, two are odd
        assert host_of(host.encode()) == host
        assert not set(host) & set(" \r\n\0/@*")


def _hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        incoming, outgoing, server_hostname="a.example"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


SEEDS: dict[str, tuple[bytes, ...]] = {
    "client_hello": (_hello(), b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"),
    "certificate": (_DER,),
    "authority": (b"A.example.:8443", b"[::1]:443", b"192.0.2.1", b"*.b@c:x"),
}
