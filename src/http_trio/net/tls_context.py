"""Certificates: what a listener shows, and what a client of ours believes.

A listener's certificate is read again when its files have changed, in the moment
when the next client connects; connections that are open keep theirs. Files that
cannot be used are said so once in the log, and the certificate in use stays.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import attrs

from http_trio.errors import BadCertificate
from http_trio.net.process import file_stamp

_log = logging.getLogger(__name__)

_CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secret, and h2 allows them
)


@attrs.frozen
class Tls:
    """What a listener with TLS shows its clients.

    TLS 1.2 and 1.3 are spoken.

    Attributes:
        cert: the file of the certificate and those between it and the root, as PEM.
        key: the file of its private key, as PEM, without a passphrase; None if it is in
            the certificate's.
        http2: whether HTTP/2 is offered beside HTTP/1.1.
    """

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str] | None = None
    http2: bool = True

    def context(self) -> ssl.SSLContext:
        """Make a listener's context of the files as they are.

        Raises:
            BadCertificate: they cannot be read, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols(["h2", "http/1.1"] if self.http2 else ["http/1.1"])
        try:
            context.load_cert_chain(self.cert, self.key, password=_refuse_to_ask)
        except (OSError, ValueError) as exc:
            raise BadCertificate(_what_is_wrong(self, exc)) from exc
        return context


class Certificate:
    """A listener's context, as new as its files."""

    def __init__(self, tls: Tls) -> None:
        """Read the files.

        Raises:
            BadCertificate: they cannot be used.
        """
        self._tls = tls
        self._seen = self._state()
        self._context = tls.context()

    def __repr__(self) -> str:
        return f"<Certificate {os.fspath(self._tls.cert)}>"

    def context(self) -> ssl.SSLContext:
        """Give the context for a new connection."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._context = self._tls.context()
            except BadCertificate as exc:
                _log.error("%s; the certificate in use stays", exc)
            else:
                _log.info("took up the changed certificate %s", self._tls.cert)
        return self._context

    def _state(self) -> list[tuple[int, ...]]:
        return [file_stamp(file) for file in (self._tls.cert, self._tls.key) if file]


def client_context(
    *, verify: bool = True, ca: str | os.PathLike[str] | None = None
) -> ssl.SSLContext:
    """Make the context with which a server is talked to over TLS.

    Args:
        verify: whether the server's certificate must be valid for its name and come from
            an authority that is trusted. Without it, anybody on the way can read along.
        ca: the authorities that are trusted instead of the system's: a file, or the PEM
            text itself.

    Raises:
        BadCertificate: the authorities cannot be read.
    """
    try:
        if ca is not None and "-----BEGIN" in os.fspath(ca):
            context = ssl.create_default_context(cadata=os.fspath(ca))
        else:
            context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as exc:
        where = "in the text" if ca and "-----BEGIN" in os.fspath(ca) else f"{ca}"
        raise BadCertificate(
            f"cannot use the authorities {where}: {_reason(exc)}; expected certificates as"
            " PEM"
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refuse_to_ask() -> str:
    """OpenSSL would ask at the terminal for a passphrase, and wait."""
    raise ValueError("the key has a passphrase")


def _what_is_wrong(tls: Tls, exc: Exception) -> str:
    files = [os.fspath(file) for file in (tls.cert, tls.key) if file]
    for file in files:
        try:
            Path(file).read_bytes()
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
