"""What is written of a client reads the same by our own reader, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.hosts.addresses import parse_address
from http_trio.hosts.introduction import (
    LOCAL,
    NAME_BYTES,
    Introduction,
    ProxyVersion,
    render_introduction,
)
from http_trio.hosts.proxy_protocol import (
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)

V1, V2 = ProxyVersion.V1, ProxyVersion.V2
CLIENT, HERE = ("192.0.2.7", 4711), ("10.0.0.1", 443)

endpoints = st.tuples(
    st.ip_addresses().map(lambda one: str(parse_address(str(one)))),
    st.integers(0, 65535),
)
introductions = st.builds(
    Introduction,
    source=st.none() | endpoints,
    destination=st.none() | endpoints,
    secure=st.booleans(),
    alpn=st.binary(max_size=NAME_BYTES),
    authority=st.binary(max_size=NAME_BYTES),
    tls_version=st.sampled_from([b"", b"TLSv1.2", b"TLSv1.3"]),
    common_name=st.none() | st.binary(max_size=NAME_BYTES),
)


def read(data: bytes) -> ProxyHeader:
    found = parse_proxy_header(data + b"GET /")
    assert found is not None
    assert found.size == len(data)
    return found


@given(introductions)
def test_what_is_written_is_read(said: Introduction) -> None:
    found = read(render_introduction(V2, said))
    address, port = said.source or (None, 0)
    assert (found.address, found.port) == (address, port)
    assert (found.alpn, found.authority) == (
        (said.alpn, said.authority) if said.source else (b"", b"")
    )
    assert found.secure is (said.secure and said.source is not None)
    if said.source and said.destination:
        assert found.destination == said.destination

    found = read(render_introduction(V1, said))
    assert (found.address, found.port) == (address, port)


@given(introductions, st.data())
def test_a_byte_that_changed_on_the_way_is_found(
    said: Introduction, data: st.DataObject
) -> None:
    header = bytearray(render_introduction(V2, said))
    if said.source is None:
        return  # who is not known has no checks
    at = data.draw(st.integers(16, len(header) - 1))
    header[at] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_proxy_header(bytes(header))
    except BadProxyHeader:
        return
    # What was hit is the TLV of the checksum itself, whose kind became another.
    assert found is not None
    assert at in (len(header) - 7, len(header) - 6, len(header) - 5) or at < 28


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (Introduction(CLIENT, HERE), b"TCP4 192.0.2.7 10.0.0.1 4711 443"),
        (Introduction(("::1", 1), ("::2", 2)), b"TCP6 ::1 ::2 1 2"),
        (Introduction(("::1", 1), HERE), b"TCP6 ::1 ::ffff:10.0.0.1 1 443"),
        (Introduction(CLIENT, ("::1", 1)), b"TCP6 ::ffff:192.0.2.7 ::1 4711 1"),
        (Introduction(CLIENT), b"TCP4 192.0.2.7 0.0.0.0 4711 0"),
        (Introduction(), b"UNKNOWN"),
        (Introduction(("unknown", 0), HERE), b"UNKNOWN"),
        (Introduction(("_hidden", 0), HERE), b"UNKNOWN"),
        (Introduction(("unix", 0)), b"UNKNOWN"),
    ],
)
def test_version_1_is_a_line(said: Introduction, line: bytes) -> None:
    assert render_introduction(V1, said) == b"PROXY " + line + b"\r\n"


def test_tls_is_told_as_the_specification_has_it() -> None:
    said = Introduction(
        CLIENT, HERE, True, b"h2", b"a.example", b"TLSv1.3", common_name=b"web"
    )
    header = render_introduction(V2, said)
    assert b"\x01\0\x02h2" in header
    assert b"\x02\0\x09a.example" in header
    assert b"\x20\0\x15\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x03web" in header


def test_without_a_certificate_it_says_that_none_was_verified() -> None:
    header = render_introduction(V2, Introduction(CLIENT, HERE, True))
    assert b"\x20\0\x05\x01\0\0\0\x01" in header


@pytest.mark.parametrize("version", ProxyVersion)
def test_what_is_ours_names_nobody(version: ProxyVersion) -> None:
    assert read(LOCAL[version]).address is None
