"""What a listener with TLS shows its clients and asks of them, and what a client believes.

Options here, and the contexts that are made of them; which certificates there are at a
time, and which one a client is shown, is in `certificates.store`.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path

import attrs

from http_trio.errors import BadCertificate
from http_trio.net.process.resources import read_file

_CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secret, and h2 allows them
)


_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")

FILE_BYTES = 16 * 1024 * 1024
"""Of a file of certificates or a key at most; all public authorities have a quarter."""

_Path = str | os.PathLike[str]
_Pair = tuple[_Path, _Path | None]


def _all(pairs: Iterable[_Pair]) -> tuple[_Pair, ...]:
    return tuple(pairs)


@attrs.frozen
class Tls:
    """What a listener with TLS shows its clients, and what it asks of them.

    TLS 1.2 and 1.3 are spoken. Which certificate a client is shown depends on the name
    that it asks for: the one that holds it, or else has a wildcard for it, or else the
    first. All files are read again when they change.

    Attributes:
        cert: the file of the certificate and those between it and the root, as PEM; None
            if there are those of a directory only.
        key: the file of its private key, as PEM, without a passphrase; None if it is in
            the certificate's.
        http2: whether HTTP/2 is offered beside HTTP/1.1.
        others: further pairs of such files.
        directory: where more pairs lie, `NAME.crt` or `NAME.pem` with `NAME.key`, or
            `NAME/fullchain.pem` with `NAME/privkey.pem`. It may gain and lose them.
        client_ca: the authorities, as PEM, that must have issued the certificate of a
            client; None to ask clients for none.
        client_required: whether a client without a certificate is refused.
    """

    cert: _Path | None = None
    key: _Path | None = None
    http2: bool = True
    others: tuple[_Pair, ...] = attrs.field(default=(), converter=_all)
    directory: _Path | None = None
    client_ca: _Path | None = None
    client_required: bool = True

    @property
    def pairs(self) -> tuple[_Pair, ...]:
        """The pairs that are named, in order."""
        return () if self.cert is None else ((self.cert, self.key), *self.others)

    def check(self) -> None:
        """Look whether the files can be used.

        Raises:
            BadCertificate: a certificate or key that is named, or the clients'
                authorities, cannot be used; there is no such directory; or neither
                is named.
        """
        if self.cert is None and self.directory is None:
            raise BadCertificate("no certificate is named, and no directory of them")
        if self.directory is not None and not Path(self.directory).is_dir():
            raise BadCertificate(f"{self.directory} is no directory of certificates")
        for cert, key in self.pairs or ((None, None),):
            self.context_of(cert, key)

    def context(self) -> ssl.SSLContext:
        """Make the context for the first certificate, of the files as they are.

        Raises:
            BadCertificate: they cannot be read, or do not belong together.
        """
        return self.context_of(self.cert, self.key)

    def context_of(
        self, cert: _Path | None, key: _Path | None = None
    ) -> ssl.SSLContext:
        """Make the context for one certificate, or for none: then none can connect.

        Raises:
            BadCertificate: the files cannot be read, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols(["h2", "http/1.1"] if self.http2 else ["http/1.1"])
        if self.client_ca is not None:
            self._ask_clients(context, self.client_ca)
        if cert is not None:
            _load_pair(context, cert, key)
        return context

    def _ask_clients(self, context: ssl.SSLContext, authorities: _Path) -> None:
        try:
            context.load_verify_locations(cadata=_read_pem(authorities))
        except (OSError, ValueError) as exc:
            raise BadCertificate(
                f"cannot use the clients' authorities {authorities}: {_reason(exc)};"
                " expected certificates as PEM"
            ) from exc
        context.verify_flags |= (
            ssl.VERIFY_X509_PARTIAL_CHAIN
        )  # an authority need be no root
        context.verify_mode = (
            ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
        )


def client_context(
    *,
    verify: bool = True,
    ca: _Path | None = None,
    http2: bool = False,
    cert: _Path | None = None,
    key: _Path | None = None,
) -> ssl.SSLContext:
    """Make the context with which a server is talked to over TLS.

    Args:
        verify: whether the server's certificate must be valid for its name and come from
            an authority that is trusted. Without it, anybody on the way can read along.
        ca: the authorities that are trusted instead of the system's: a file, or the PEM
            text itself.
        http2: whether HTTP/2 is asked for, and nothing else, instead of HTTP/1.1.
        cert: the file of the certificate that is shown to a server which asks for one,
            as PEM; None to show none.
        key: the file of its private key, without a passphrase; None if it is in the
            certificate's.

    The name must be among those that the certificate is for (`subjectAltName`); a common
    name counts for nothing (RFC 9110 section 4.3.4).

    Raises:
        BadCertificate: a file cannot be used.
    """
    try:
        if ca is None:
            context = ssl.create_default_context()
        else:
            is_text = "-----BEGIN" in os.fspath(ca)
            pem = os.fspath(ca) if is_text else _read_pem(ca)
            context = ssl.create_default_context(cadata=pem)
    except (OSError, ValueError) as exc:
        where = "in the text" if ca and "-----BEGIN" in os.fspath(ca) else f"{ca}"
        raise BadCertificate(
            f"cannot use the authorities {where}: {_reason(exc)}; expected certificates as"
            " PEM"
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"] if http2 else ["http/1.1"])
    context.hostname_checks_common_name = False
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        _load_pair(context, cert, key)
    return context


def _load_pair(context: ssl.SSLContext, cert: _Path, key: _Path | None) -> None:
    try:
        for file in (cert, key):
            if file is not None:  # a pipe would be waited for
                read_file(file, FILE_BYTES)
        context.load_cert_chain(cert, key, password=_refuse_to_ask)
    except (OSError, ValueError) as exc:
        raise BadCertificate(_what_is_wrong(cert, key, exc)) from exc


def _read_pem(path: _Path) -> str:
    """Read the certificates of a file; what stands between them is for people.

    Raises:
        OSError: it cannot be read.
        ValueError: there are none.
    """
    text = read_file(path, FILE_BYTES).decode("ascii", "replace")
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError("there is no certificate as PEM")
    return "\n".join(found)


def _refuse_to_ask() -> str:
    """OpenSSL would ask at the terminal for a passphrase, and wait."""
    raise ValueError("the key has a passphrase")


def _what_is_wrong(cert: _Path, key: _Path | None, exc: Exception) -> str:
    files = [os.fspath(file) for file in (cert, key) if file]
    for file in files:
        try:
            read_file(file, FILE_BYTES)
        except OSError as unreadable:
            return f"cannot read {file}: {unreadable.strerror}"
    return f"cannot use {' and '.join(files)} for TLS: {_reason(exc)}"


def _reason(exc: Exception) -> str:
    words = str(exc)
    if "KEY_VALUES_MISMATCH" in words:
        return "the key does not belong to the certificate"
    if "PEM" in words or "NO_START_LINE" in words:
        return "there is no certificate, or no key, as PEM"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return words
