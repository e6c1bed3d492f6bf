"""Changes of fields do what the same changes of a list would."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.policies import CertificateHeader, HeaderRules
from canary_trio.proxy.fields.header_changes import (
    certificate_line,
    compile_changes,
)
from http_trio import Certificate

NAMES = st.sampled_from(["X-A", "x-a", "X-AB", "Server", "a.b", "a+b", "aXb"])
VALUES = st.text("abc: ,;", max_size=5).map(str.strip)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
TABLES = st.dictionaries(NAMES, VALUES, max_size=3)


def lines(fields: list[tuple[str, str]]) -> bytes:
    return b"".join(f"\r\n{name}: {value}".encode() for name, value in fields)


def fields_of(raw: bytes) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, _, value in (
            line.decode().partition(": ") for line in raw.split(b"\r\n")[1:]
        )
    ]


@given(FIELDS, TABLES, TABLES, st.lists(NAMES, max_size=3))
def test_changes_do_what_a_list_of_fields_would(
    fields: list[tuple[str, str]],
    added: dict[str, str],
    replaced: dict[str, str],
    removed: list[str],
) -> None:
    changes = compile_changes(
        HeaderRules(add=added, set=replaced, remove=tuple(removed))
    )

    gone = {name.lower() for name in (*removed, *replaced)}
    expected = [field for field in fields if field[0].lower() not in gone]
    expected += [*replaced.items(), *added.items()]
    assert fields_of(changes.without(lines(fields)) + changes.lines) == expected


def test_a_name_is_no_pattern() -> None:
    changes = compile_changes(HeaderRules(remove=("a.b",)))

    assert changes.without(b"\r\naxb: 1\r\nA.B: 2") == b"\r\naxb: 1"


def test_what_changes_nothing_is_false() -> None:
    assert not compile_changes(HeaderRules())
    assert compile_changes(HeaderRules(remove=("a",)))


# === what is said of a client's certificate ===

CERTIFICATE = Certificate(
    der=b"der",
    subject='O=a\\"b,CN=Jör',
    common_name="Jör",
    dns=("a.example", "b.example"),
    addresses=(),
    uris=("spiffe://a/b;c",),
    emails=(),
    not_before=0,
    not_after=0,
)


def test_a_certificate_is_a_byte_sequence_of_rfc_9651() -> None:
    line = certificate_line(CertificateHeader.CLIENT_CERT, CERTIFICATE)
    assert line == b"\r\nClient-Cert: :ZGVy:"


def test_a_certificate_is_told_as_envoy_does() -> None:
    line = certificate_line(CertificateHeader.FORWARDED, CERTIFICATE)
    assert line.decode() == (
        f"\r\nX-Forwarded-Client-Cert: Hash={hashlib.sha256(b'der').hexdigest()};"
        'Subject="O=a\\\\\\"b,CN=Jör";URI="spiffe://a/b;c";DNS=a.example;DNS=b.example'
    )
