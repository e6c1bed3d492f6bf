"""What is read of a certificate is what `cryptography` reads, whatever stands in it."""

from __future__ import annotations

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from http_trio.net.certificates.x509 import read_der, read_pem

KEY = ec.generate_private_key(ec.SECP256R1())
UTC = dt.UTC
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20
)
LABEL = st.from_regex(r"[a-zA-Z0-9_-]{1,9}", fullmatch=True)
NAME = st.builds(lambda *labels: ".".join(labels), LABEL, LABEL, LABEL)
ALTERNATIVE = st.one_of(
    NAME.map(x509.DNSName),
    NAME.map(lambda name: x509.DNSName(f"*.{name}")),
    st.ip_addresses().map(x509.IPAddress),
    NAME.map(lambda name: x509.UniformResourceIdentifier(f"spiffe://{name}")),
    NAME.map(lambda name: x509.RFC822Name(f"a@{name}")),
    st.just(x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4.5"))),
    TEXT.map(
        lambda text: x509.DirectoryName(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        )
    ),
)
ATTRIBUTE = st.builds(
    x509.NameAttribute,
    st.sampled_from(
        [
            NameOID.COMMON_NAME,
            NameOID.ORGANIZATION_NAME,
            NameOID.ORGANIZATIONAL_UNIT_NAME,
            NameOID.LOCALITY_NAME,
            NameOID.STATE_OR_PROVINCE_NAME,
            NameOID.USER_ID,
            NameOID.DOMAIN_COMPONENT,
            NameOID.STREET_ADDRESS,
            NameOID.PSEUDONYM,
        ]
    ),
    TEXT,
)
SUBJECT = st.lists(
    st.lists(ATTRIBUTE, min_size=1, max_size=2, unique_by=lambda a: a.oid), max_size=4
)
TIME = st.datetimes(
    dt.datetime(1951, 1, 1),  # noqa: DTZ001
    dt.datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
).map(lambda time: time.replace(microsecond=0, tzinfo=UTC))


def issue(
    subject: x509.Name,
    names: list[x509.GeneralName],
    began: dt.datetime,
    ends: dt.datetime,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName(names)
        builder = builder.add_extension(alternative, critical=not subject.rdns)
    return builder.sign(KEY, hashes.SHA256())


@given(SUBJECT, st.lists(ALTERNATIVE, max_size=6), TIME, TIME)
def test_it_reads_what_others_read(
    subject: list[list[x509.NameAttribute[str]]],
    names: list[x509.GeneralName],
    one: dt.datetime,
    other: dt.datetime,
) -> None:
    name = x509.Name(map(x509.RelativeDistinguishedName, subject))
    made = issue(name, names, min(one, other), max(one, other))
    read = read_pem(b"before\n" + made.public_bytes(Encoding.PEM))

    assert read.der == made.public_bytes(Encoding.DER)
    assert read.not_before == made.not_valid_before_utc.timestamp()
    assert read.not_after == made.not_valid_after_utc.timestamp()
    if names:
        found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        said = found.value
        assert list(read.dns) == said.get_values_for_type(x509.DNSName)
        assert [ipaddress.ip_address(a) for a in read.addresses] == (
            said.get_values_for_type(x509.IPAddress)
        )
        uris = said.get_values_for_type(x509.UniformResourceIdentifier)
        assert list(read.uris) == uris
        assert list(read.emails) == said.get_values_for_type(x509.RFC822Name)
    else:
        assert read.alternative_names == ()
    common = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert read.common_name == (common[0].value if common else None)
    # A reader of RFC 4514 finds the subject again in the text.
    parsed = x509.Name.from_rfc4514_string(
        read.subject, {"2.5.4.65": NameOID.PSEUDONYM}
    )
    assert [{(a.oid, a.value) for a in one} for one in parsed.rdns] == (
        [{(a.oid, a.value) for a in one} for one in made.subject.rdns]
    )


@given(st.data())
def test_what_is_damaged_is_a_value_error_or_another_certificate(
    data: st.DataObject,
) -> None:
    der = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(der) - 1))
        der[at] = data.draw(st.integers(0, 255))
    del der[data.draw(st.integers(0, len(der))) :]
    try:
        read_der(bytes(der))
    except ValueError:
        return


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_where_there_is_none_it_is_said(text: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate as PEM"):
        read_pem(text)


DER = issue(
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]),
    [x509.DNSName("a.example"), x509.IPAddress(ipaddress.ip_address("::1"))],
    dt.datetime(2020, 1, 1, tzinfo=UTC),
    dt.datetime(2051, 1, 1, tzinfo=UTC),
).public_bytes(Encoding.DER)
