"""What an upstream is told of the client, and whose word for it is believed."""

from __future__ import annotations

import ipaddress

from http_trio.http1.forwarded import ForwardedPolicy, forwarded_fields
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits


def forwarded(*lines: bytes, peer: str = "10.0.0.1", trusted: str = "") -> list[bytes]:
    rules = ForwardedPolicy(
        via=b"us", trusted=(ipaddress.ip_network(trusted),) if trusted else ()
    )
    raw = b"\r\n".join((b"GET /a HTTP/1.1", b"Host: h", *lines)) + b"\r\n\r\n"
    head = parse_request_head(raw, Limits())
    fields = forwarded_fields(rules, peer, head, trusted=rules.trusts(peer))
    return fields.split(b"\r\n")[1:]


def test_a_client_is_named_and_its_own_word_dropped() -> None:
    assert forwarded(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Proto: https") == [
        b"X-Forwarded-For: 10.0.0.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: h",
        b'Forwarded: for=10.0.0.1;host="h";proto=http',
        b"Via: 1.1 us",
    ]


def test_a_trusted_peer_is_believed_and_added() -> None:
    fields = forwarded(
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: public",
        b"Forwarded: for=6.6.6.6",
        trusted="10.0.0.0/8",
    )

    assert fields == [
        b"X-Forwarded-For: 6.6.6.6, 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: public",
        b'Forwarded: for=6.6.6.6, for=10.0.0.1;host="h";proto=http',
        b"Via: 1.1 us",
    ]


def test_an_ipv6_client_is_quoted_in_forwarded() -> None:
    fields = forwarded(peer="2001:db8::1")

    assert fields[0] == b"X-Forwarded-For: 2001:db8::1"
    assert fields[3] == b'Forwarded: for="[2001:db8::1]";host="h";proto=http'
