"""Changes to the fields of requests and responses, compiled once per revision. Pure.

A head's end-to-end fields are raw lines (`RequestHead.kept`, `ResponseHead.kept`). What is
removed or replaced is one pattern over them; what is set or added is the same few bytes
each time. The framing and the hop-by-hop fields are not among those lines, and a
document that names one is refused, so no change can touch them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Protocol

import attrs

from canary_trio.config.policies import CertificateHeader, HeaderRules


@attrs.frozen
class HeaderChanges:
    """The header changes of one arm in one direction, compiled.

    Attributes:
        lines: to add, each led by CRLF.
        left_out: finds the lines to leave out; None if there are none.
    """

    lines: bytes = b""
    left_out: re.Pattern[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self.lines or self.left_out)

    def without(self, kept: bytes) -> bytes:
        """Give the fields of a head without those to leave out.

        >>> changes = compile_changes(HeaderRules(remove=("X-A",), set={"b": "2"}))
        >>> changes.without(b"\\r\\nx-a: 1\\r\\nB: 1\\r\\nC: 1") + changes.lines
        b'\\r\\nC: 1\\r\\nb: 2'
        """
        return kept if self.left_out is None else self.left_out.sub(b"", kept)


def compile_changes(changes: HeaderRules, *also_gone: str) -> HeaderChanges:
    """Make a document's changes ready: `remove` first, then `set`, then `add`.

    Args:
        changes: of an arm.
        also_gone: names of fields that are left out too.
    """
    gone = {name.lower() for name in (*changes.remove, *changes.set, *also_gone)}
    lines = (
        b"\r\n%b: %b" % (name.encode("ascii"), value.encode())
        for table in (changes.set, changes.add)
        for name, value in table.items()
    )
    return HeaderChanges(b"".join(lines), lines_of(gone) if gone else None)


def lines_of(names: set[str]) -> re.Pattern[bytes]:
    """Give a pattern that finds the lines of fields with these names, in any case."""
    words = b"|".join(re.escape(name).encode("ascii") for name in sorted(names))
    return re.compile(rb"\r\n(?:%b)[ \t]*:[^\r\n]*" % words, re.IGNORECASE)


# === what is said of a client's certificate ===

_NEEDS_QUOTES = re.compile(r'[,;="\\ ]')


class VerifiedCertificate(Protocol):
    """What servers are told of a client's certificate: an `http_trio.Certificate`."""

    @property
    def der(self) -> bytes:
        """The certificate itself."""

    @property
    def subject(self) -> str:
        """The subject (RFC 4514)."""

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs that it is for."""

    @property
    def dns(self) -> tuple[str, ...]:
        """The DNS names that it is for."""


def certificate_line(
    header: CertificateHeader, certificate: VerifiedCertificate
) -> bytes:
    """Give the line that tells a server of a certificate, led by CRLF."""
    if header is CertificateHeader.CLIENT_CERT:  # a Byte Sequence of RFC 9651
        value = b":%b:" % base64.b64encode(certificate.der)
    else:
        pairs = [
            ("Hash", hashlib.sha256(certificate.der).hexdigest()),
            ("Subject", certificate.subject),
            *(("URI", uri) for uri in certificate.uris),
            *(("DNS", name) for name in certificate.dns),
        ]
        value = ";".join(f"{name}={_quoted(text)}" for name, text in pairs).encode()
    return b"\r\n%b: %b" % (header.value.encode(), value)


def _quoted(text: str) -> str:
    if text and not _NEEDS_QUOTES.search(text):
        return text
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
