"""What stands in a certificate: its subject, its names, and its time (RFC 5280). Pure.

The standard library reads the names of a peer's certificate only, and only once that was
verified; of one's own it tells nothing. So the few fields that are needed are read from
the DER here. The rule: nothing is believed because of what is read here; whether a
certificate is genuine is OpenSSL's word. What has a length has it checked, and what
cannot be read is a ValueError.
"""

from __future__ import annotations

import binascii
import calendar
import ipaddress
import re
from collections.abc import Iterator

import attrs

SEQUENCE, SET, OID, OCTETS, BOOLEAN = 0x30, 0x31, 0x06, 0x04, 0x01
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3  # of a certificate, by their tags in it
EMAIL_NAME, DNS_NAME, URI_NAME, ADDRESS_NAME = 0x81, 0x82, 0x86, 0x87

_ALTERNATIVE_NAMES = bytes.fromhex("551d11")  # 2.5.29.17
_COMMON_NAME = bytes.fromhex("550403")
_SHORT_NAMES = {  # RFC 4514, section 3; all others are written as numbers
    _COMMON_NAME: "CN",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550409"): "STREET",
    bytes.fromhex("0992268993f22c640119"): "DC",
    bytes.fromhex("0992268993f22c640101"): "UID",
}
_CHARSETS = {
    0x14: "latin-1",  # TeletexString, as everybody reads it
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}  # all others are ASCII, or UTF-8
_PEM = re.compile(
    rb"-----BEGIN (?:Certificate |TRUSTED )?CERTIFICATE-----\s([^-]*)-----END ",
    re.ASCII,
)
_TIME = re.compile(r"(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", re.ASCII)


@attrs.frozen
class Certificate:
    """The fields of a certificate that somebody decides by.

    Attributes:
        der: the certificate itself.
        subject: as text, the last part first (RFC 4514); empty if it names nobody.
        common_name: of the subject; None without one.
        dns: the DNS names that it is for, as they stand there.
        addresses: the IP addresses that it is for.
        uris: the URIs that it is for, such as `spiffe://example.org/web`.
        emails: the mailboxes that it is for.
        not_before: the first second in which it is valid, since 1970.
        not_after: the last one.
    """

    der: bytes = attrs.field(repr=False)
    subject: str
    common_name: str | None
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    uris: tuple[str, ...]
    emails: tuple[str, ...]
    not_before: float
    not_after: float

    @property
    def alternative_names(self) -> tuple[str, ...]:
        """All names beside the subject."""
        return self.dns + self.addresses + self.uris + self.emails


def read_pem(text: bytes) -> Certificate:
    """Read the first certificate of a PEM file: the one that the file is about.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    found = _PEM.search(text)
    if found is None:
        raise ValueError("there is no certificate as PEM")
    return read_der(binascii.a2b_base64(found[1]))


def read_der(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        ValueError: it cannot be read.
    """
    (_, body), *_ = parts(_only(der, SEQUENCE))
    fields = list(parts(body))
    rest = fields[2 if fields and fields[0][0] == VERSION else 1 :]
    if len(rest) < 5 or [rest[at][0] for at in (1, 2, 3)] != [SEQUENCE] * 3:
        raise ValueError("a certificate with other fields than RFC 5280's")
    validity, subject = rest[2][1], rest[3][1]
    (began, began_text), (ends, ends_text) = parts(validity)
    extensions = next((value for tag, value in rest if tag == EXTENSIONS), b"")
    names = list(_alternative_names(extensions)) if extensions else []
    attributes = [list(parts(one)) for _, one in parts(subject)]
    return Certificate(
        der=der,
        subject=",".join(
            "+".join(_attribute(value) for _, value in several)
            for several in reversed(attributes)
        ),
        common_name=next(
            (
                _text(*kind[1])
                for several in attributes
                for _, value in several
                if (kind := tuple(parts(value)))[:1] == ((OID, _COMMON_NAME),)
            ),
            None,
        ),
        dns=_texts(names, DNS_NAME),
        addresses=tuple(
            str(ipaddress.ip_address(value))
            for tag, value in names
            if tag == ADDRESS_NAME and len(value) in (4, 16)
        ),
        uris=_texts(names, URI_NAME),
        emails=_texts(names, EMAIL_NAME),
        not_before=_time(began, began_text),
        not_after=_time(ends, ends_text),
    )


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    r"""Give the values that stand one behind the other, each with its tag.

    >>> list(parts(b"\x02\x01\x07\x05\x00"))
    [(2, b'\x07'), (5, b'')]
    """
    at = 0
    while at < len(data):
        if len(data) < at + 2:
            raise ValueError("DER that breaks off")
        tag, length = data[at], data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F or length == 0x80:
            raise ValueError("a tag or a length that DER does not have")
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("DER that breaks off")
        yield tag, data[at : at + length]
        at += length


def _only(data: bytes, expected: int) -> bytes:
    """Give the value that data begins with."""
    tag, value = next(parts(data), (0, b""))
    if tag != expected:
        raise ValueError(f"found tag {tag:#x} in DER, expected {expected:#x}")
    return value


def _alternative_names(extensions: bytes) -> Iterator[tuple[int, bytes]]:
    for _, extension in parts(_only(extensions, SEQUENCE)):
        (_, oid), *_, (tag, value) = parts(extension)
        if oid == _ALTERNATIVE_NAMES and tag == OCTETS:
            yield from parts(_only(value, SEQUENCE))


def _texts(names: list[tuple[int, bytes]], kind: int) -> tuple[str, ...]:
    """Give the names of a kind; what would not print is no name of anything."""
    found = (value.decode("latin-1") for tag, value in names if tag == kind)
    return tuple(name for name in found if name.isascii() and name.isprintable())


def _attribute(data: bytes) -> str:
    """Write a part of a subject as RFC 4514 has it."""
    (_, oid), (tag, value) = parts(data)
    text = "".join(map(_escaped, _text(tag, value)))
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1] + "\\ "
    return f"{_SHORT_NAMES.get(oid) or _dotted(oid)}={text}"


def _escaped(character: str) -> str:
    if character in '",+;<>\\=':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:02X}" for byte in character.encode())


def _text(tag: int, value: bytes) -> str:
    return value.decode(_CHARSETS.get(tag, "utf-8"), "replace")


def _dotted(oid: bytes) -> str:
    numbers, number = [], 0
    for byte in oid:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        return "0"
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _time(tag: int, text: bytes) -> float:
    found = _TIME.fullmatch(text.decode("latin-1"))
    if found is None or len(found[1]) != {UTC_TIME: 2, GENERALIZED_TIME: 4}.get(tag):
        raise ValueError(f"a time that RFC 5280 does not have: {text!r}")
    year, *others = map(int, found.groups())
    if tag == UTC_TIME:
        year += 1900 if year >= 50 else 2000
    return float(calendar.timegm((year, *others, 0, 0, 0)))
