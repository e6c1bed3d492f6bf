"""Which names a certificate holds, and which certificate a name finds."""

from __future__ import annotations

import attrs
import pytest

from http_trio.net.certificates.held_names import HeldNames, NameTable, host_of
from http_trio.net.certificates.x509 import Certificate

BARE = Certificate(b"", "CN=only.example", "only.example", (), (), (), (), 0, 0)
ONE = attrs.evolve(
    BARE,
    dns=("Www.Example.org", "*.wild.example", "*", "f*.example", "*.*.two", "x y"),
    addresses=("192.0.2.1", "2001:db8::1"),
)


@pytest.mark.parametrize(
    ("authority", "held"),
    [
        ("www.example.org", True),
        ("WWW.EXAMPLE.ORG:8443", True),
        ("www.example.org.", True),
        ("www.example.org.:443", True),
        ("www.example.org:", True),
        ("example.org", False),
        ("a.www.example.org", False),
        ("a.wild.example", True),
        ("A.Wild.Example.:1", True),
        ("xn--9ca.wild.example", True),
        ("a.b.wild.example", False),
        ("wild.example", False),
        (".wild.example", False),
        ("*.wild.example", False),
        ("foo.example", False),
        ("a.b.two", False),
        ("anything", False),
        ("only.example", False),
        ("192.0.2.1", True),
        ("192.0.2.1:443", True),
        ("192.0.2.1.", True),
        ("192.0.2.", False),
        ("192.0.2.2", False),
        ("192.0.2.01", False),
        ("3221225985", False),
        ("[2001:db8::1]", True),
        ("[2001:DB8:0:0::1]:443", True),
        ("[2001:db8::2]", False),
        ("[192.0.2.1]", False),
        ("2001:db8::1", False),
        ("[2001:db8::1", False),
        ("[2001:db8::1]x", False),
        ("user@www.example.org", False),
        ("www.example.org:http", False),
        ("www.example.org/", False),
        ("www.example.org\0", False),
        ("www.example.or\u212a", False),
        ("x y", False),
        ("", False),
        (".", False),
        (":443", False),
    ],
)
def test_a_host_is_held_or_not(authority: str, held: bool) -> None:
    assert HeldNames.of(ONE).holds(authority.encode()) is held


def test_the_common_name_counts_only_alone() -> None:
    assert HeldNames.of(BARE).names == ("only.example",)
    assert HeldNames.of(BARE).holds(b"only.example")
    assert not HeldNames.of(attrs.evolve(BARE, dns=("a.example",))).holds(
        b"only.example"
    )
    assert HeldNames.of(attrs.evolve(BARE, common_name="Some Person")).names == ()


def test_an_exact_name_comes_before_a_wildcard_and_the_first_before_others() -> None:
    table = NameTable(
        [
            (["*.example"], "wildcard"),
            (["a.example"], "exact"),
            (["a.example", "b.other", "*.example"], "later"),
        ]
    )
    assert [
        table.find(name) for name in ("a.example", "c.example", "b.other", "z")
    ] == ["exact", "wildcard", "later", None]


def test_addresses_of_a_host_are_compared_as_addresses() -> None:
    assert host_of(b"[::FFFF:192.0.2.1]:1") == host_of(b"[::ffff:c000:201]")
