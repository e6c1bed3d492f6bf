"""Addresses and networks: each spelling is read one way, or refused with words."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.hosts.addresses import (
    parse_address,
    parse_network,
    plain_address,
    plain_network,
)

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:1", "::ffff:1"),  # of IPv6: its last but one part is ffff
        ("::192.0.2.1", "::c000:201"),  # deprecated, and no client's
        ("fe80::1%eth0", "fe80::1"),
        ("FE80::1%25eth0", "fe80::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("unix", "unix"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_has_one_spelling(text: str, shown: str) -> None:
    assert plain_address(text) == shown


@pytest.mark.parametrize(
    "text", ["", "192.0.2.01", "192.0.2", "1", "::ffff:192.0.2.01", "a.b", "%eth0"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:c000:201/128", "192.0.2.1/32"),
    ],
)
def test_a_network_is_read(text: str, network: str) -> None:
    assert parse_network(text) == ipaddress.ip_network(network)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.1/8", r"host bits set; 10\.0\.0\.0/8 has none"),
        ("::ffff:10.0.0.1/104", r"host bits set; 10\.0\.0\.0/8 has none"),
        ("::ffff:0:0/90", "host bits set"),  # would be more than all of IPv4
        ("2001:db8::1/32", "host bits set; 2001:db8::/32 has none"),
        ("10.0.0.0/33", "33"),
        ("010.0.0.0/8", "."),
        ("10.0.0.0/08", "number of bits"),
        ("10.0.0.0/255.0.0.0", "number of bits"),
        ("10.0.0.0/0.0.0.255", "number of bits"),  # its own opposite
        ("fe80::%eth0/64", "number of bits"),
        ("fe80::1%eth0", "number of bits"),
        ("10.0.0.0/", "number of bits"),
        ("10.0.0.0/-1", "number of bits"),
        ("10.0.0.0 /8", "number of bits"),
        ("१०.0.0.0/8", "number of bits"),
        ("", "number of bits"),
        ("example.org", "number of bits"),
    ],
)
def test_what_is_no_network_is_refused_with_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_network(text)


@given(V4, st.integers(0, 32))
def test_a_mapped_network_holds_the_same_clients(
    address: ipaddress.IPv4Address, bits: int
) -> None:
    network = ipaddress.ip_network((address, bits), strict=False)
    mapped = ipaddress.IPv6Network(
        ((0xFFFF << 32) | int(network.network_address), 96 + bits)
    )
    assert plain_network(mapped) == network
    assert parse_network(str(mapped)) == network
    client = parse_address(f"::ffff:{address}")
    assert client == address
    assert client in parse_network(str(mapped))


@given(V4 | V6)
def test_a_plain_address_stays_as_it_is(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    shown = plain_address(str(address))
    assert plain_address(shown) == shown
    assert parse_address(shown) == parse_address(str(address))
