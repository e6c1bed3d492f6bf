"""What an upstream is told of the client, and whose word for it is believed."""

from __future__ import annotations

import ipaddress

import pytest

from http_trio.http1.forwarded import ForwardedPolicy, forwarded_fields, identify
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits


def forwarded(
    *lines: bytes, peer: str = "10.0.0.1", trusted: str = "", replaces: bool = False
) -> list[bytes]:
    networks = (ipaddress.ip_network(trusted),) if trusted else ()
    rules = ForwardedPolicy(via=b"us", trusted=networks, replaces=replaces)
    raw = b"\r\n".join((b"GET /a HTTP/1.1", b"Host: h", *lines)) + b"\r\n\r\n"
    head = parse_request_head(raw, Limits())
    fields = forwarded_fields(rules, peer, head, identity=identify(rules, peer, head))
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
        (
            b'Forwarded: for=6.6.6.6;host="public";proto=https, '
            b'for=10.0.0.1;host="h";proto=http'
        ),
        b"Via: 1.1 us",
    ]


def test_an_ipv6_client_is_quoted_in_forwarded() -> None:
    fields = forwarded(peer="2001:db8::1")

    assert fields[0] == b"X-Forwarded-For: 2001:db8::1"
    assert fields[3] == b'Forwarded: for="[2001:db8::1]";host="h";proto=http'


@pytest.mark.parametrize(
    ("said", "origin"),
    [
        ([b"6.6.6.6"], "6.6.6.6"),
        ([b"7.7.7.7, 6.6.6.6"], "6.6.6.6"),
        ([b"7.7.7.7", b"6.6.6.6,10.1.1.1 ,10.0.0.2"], "6.6.6.6"),
        ([b"10.1.1.1, 10.0.0.2"], "10.1.1.1"),
        ([b"6.6.6.6:1234"], "6.6.6.6"),
        ([b"[2001:DB8::0:1]:80"], "2001:db8::1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"::ffff:6.6.6.6"], "6.6.6.6"),
        ([b"unknown"], "unknown"),
        ([b"6.6.6.6, unknown, 10.0.0.2"], "unknown"),
        ([b"6.6.6.6, rubbish, 10.0.0.2"], "10.0.0.2"),
        ([b"6.6.6.6, _hidden, 10.0.0.2"], "_hidden"),
        ([b"10.0.0.3," * 100 + b"10.0.0.2"], "10.0.0.3"),
        ([b"6.6.6.6,"], "6.6.6.6"),
        ([b""], "10.0.0.1"),
        ([b"\xff\xb2"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_origin_is_the_nearest_that_is_not_trusted(
    said: list[bytes], origin: str
) -> None:
    lines = [b"X-Forwarded-For: " + value for value in said]
    raw = b"\r\n".join((b"GET /a HTTP/1.1", b"Host: h", *lines)) + b"\r\n\r\n"
    head = parse_request_head(raw, Limits())
    rules = ForwardedPolicy(trusted=(ipaddress.ip_network("10.0.0.0/8"),))
    found = identify(rules, "10.0.0.1", head)
    assert (found.address if found else "10.0.0.1") == origin
    assert identify(rules, "11.0.0.1", head) is None
    assert identify(rules, "unix", head) is None


@pytest.mark.parametrize(
    ("line", "version", "said"),
    [
        (b"GET / HTTP/1.0", b"1.1", b"1.0"),
        (b"GET / HTTP/1.1", b"1.1", b"1.1"),
        (b"GET / HTTP/1.1", b"2.0", b"2.0"),
    ],
    ids=["1.0", "1.1", "2"],
)
def test_via_says_by_what_the_request_came(
    line: bytes, version: bytes, said: bytes
) -> None:
    """RFC 9110 section 7.6.3: the version of the received protocol, not of the sent."""
    head = parse_request_head(line + b"\r\nHost: h\r\n\r\n", Limits())
    fields = forwarded_fields(
        ForwardedPolicy(via=b"us"), "10.0.0.1", head, version=version
    )

    assert fields.endswith(b"\r\nVia: %b us" % said)


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "::ffff:10.0.0.0/104", ipaddress.ip_network("10.0.0.0/8")]
)
@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_a_network_is_trusted_however_it_is_written(
    network: str | ipaddress.IPv4Network, client: str
) -> None:
    assert ForwardedPolicy(trusted=(network,)).trusts(client)
    assert not ForwardedPolicy(trusted=(network,)).trusts("11.0.0.1")


def test_a_trusted_network_with_host_bits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8 has none"):
        ForwardedPolicy(trusted=("10.0.0.1/8",))


def said_by_balancer(*lines: bytes) -> tuple[str, bytes, bytes | None]:
    raw = b"\r\n".join((b"GET /a HTTP/1.1", b"Host: h", *lines)) + b"\r\n\r\n"
    head = parse_request_head(raw, Limits())
    found = identify(ForwardedPolicy(trusted=("10.0.0.0/8", "unix")), "unix", head)
    assert found is not None
    return found.address, found.proto, found.host


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([b"Forwarded: for=6.6.6.6;proto=https;host=a"], ("6.6.6.6", b"https", b"a")),
        ([b'forwarded: For="[2001:db8::1]:80"'], ("2001:db8::1", b"http", None)),
        (
            [
                b"Forwarded: for=7.7.7.7;proto=https",
                b"Forwarded: for=6.6.6.6, for=10.0.0.2",
            ],
            ("6.6.6.6", b"http", None),
        ),
        (
            [b'Forwarded: for=7.7.7.7;x=", for="[2001:db8::1]"'],
            ("2001:db8::1", b"http", None),
        ),
        (
            [b"Forwarded: for=6.6.6.6, rubbish, for=10.0.0.2"],
            ("10.0.0.2", b"http", None),
        ),
        ([b"Forwarded: for=6.6.6.6;for=7.7.7.7"], ("unix", b"http", None)),
        ([b"Forwarded: for=_x"], ("_x", b"http", None)),
        (
            [b"Forwarded: for=7.7.7.7", b"X-Forwarded-For: 6.6.6.6"],
            ("6.6.6.6", b"http", None),
        ),
        ([b"X-Forwarded-Proto: https"], ("unix", b"https", None)),
        (
            [b"X-Forwarded-For: 7.7.7.7, 6.6.6.6", b"X-Forwarded-Proto: https, http"],
            ("6.6.6.6", b"http", None),
        ),
        (
            [b"X-Forwarded-For: 6.6.6.6, 10.0.0.2", b"X-Forwarded-Proto: https, http"],
            ("6.6.6.6", b"https", None),
        ),
        (
            [
                b"X-Forwarded-For: 6.6.6.6",
                b"X-Forwarded-Host: a b",
                b"X-Forwarded-Proto: x",
            ],
            ("6.6.6.6", b"http", None),
        ),
    ],
)
def test_what_a_balancer_says_is_read_from_the_right(
    lines: list[bytes], found: tuple[str, bytes, bytes | None]
) -> None:
    assert said_by_balancer(*lines) == found


def test_servers_are_told_of_the_client_alone_where_that_is_wanted() -> None:
    fields = forwarded(
        b"X-Forwarded-For: 7.7.7.7, 6.6.6.6, 10.0.0.2",
        b"X-Forwarded-Proto: https",
        trusted="10.0.0.0/8",
        replaces=True,
    )

    assert fields[0] == b"X-Forwarded-For: 6.6.6.6"
    assert fields[3] == b'Forwarded: for=6.6.6.6;host="h";proto=https'
