"""Addresses and networks as text: one way to read them, so that all compare alike.

A client that came to a socket of both families as `::ffff:192.0.2.1` is 192.0.2.1 (RFC
4291 section 2.5.5.2), and a network that is written so is one of IPv4. The zone of an address
(`fe80::1%eth0`, RFC 4007) means something on this machine only and is left out. The rule
that it obeys: what could be read in two ways is refused, such as zeros in front, bits of a
host in a network, or a mask that may be its own opposite.
"""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = 96  # bits before the IPv4 address
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(?:/(?:0|[1-9][0-9]{0,2}))?", re.ASCII)


def parse_address(text: str) -> Address | None:
    """Read an address; None for what is none.

    >>> parse_address("::ffff:192.0.2.1"), parse_address("fe80::1%eth0")
    (IPv4Address('192.0.2.1'), IPv6Address('fe80::1'))
    >>> parse_address("192.0.2.01")
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def plain_address(text: str) -> str:
    """Give an address of the system as it is shown; what is none stays as it is.

    >>> plain_address("::ffff:192.0.2.1"), plain_address("fe80::1%eth0")
    ('192.0.2.1', 'fe80::1')
    """
    if ":" not in text:
        return text
    address = parse_address(text)
    return text if address is None else str(address)


def parse_network(text: str) -> Network:
    """Read a network, or an address for a network of one.

    >>> parse_network("::ffff:10.0.0.0/104"), parse_network("10.1.2.3")
    (IPv4Network('10.0.0.0/8'), IPv4Network('10.1.2.3/32'))

    Raises:
        ValueError: it is none; says why, and what it may have been meant to be.
    """
    if _NETWORK.fullmatch(text) is None:
        raise ValueError("it is no address with a number of bits behind a slash")
    try:
        return plain_network(ipaddress.ip_network(text))
    except ValueError as exc:
        meant = _without_host_bits(text)
        raise ValueError(f"{exc}; {meant} has none" if meant else str(exc)) from exc


def plain_network(network: Network) -> Network:
    """Give the network of IPv4 where one is written as one of IPv6."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED:
        first = network.network_address.ipv4_mapped
        if first is not None:
            return ipaddress.IPv4Network((first, network.prefixlen - _MAPPED))
    return network


def _without_host_bits(text: str) -> str:
    try:
        return str(plain_network(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        return ""
