"""Pairs of a certificate and its key, as they lie on disk, and as they are served.

What is known of a pair is a value, and reading the files again gives the next one: the
same value while nothing has changed. So it can be read in any thread, and is taken up in
one step. The rule: a pair that was served once goes on being served, however broken its
files are by now, until both of them are gone from a directory.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import attrs

from http_trio.errors import BadCertificate
from http_trio.net.certificates.held_names import HeldNames
from http_trio.net.certificates.x509 import Certificate, read_pem
from http_trio.net.process.resources import file_stamp, may_pass
from http_trio.net.tls_context import Tls

MOST_PAIRS = 10_000
"""Pairs of a directory that are served at most; the others are said in the log."""

MOST_BYTES = 1024 * 1024
"""Of a certificate's file at most."""

_Path = str | os.PathLike[str]
_Stamp = tuple[tuple[int, ...], ...]


@attrs.frozen(eq=False)
class ServedCertificate:
    """A certificate that clients are shown.

    Attributes:
        file: that it was read from.
        x509: what stands in it.
        held: the names that it is for.
        context: with which a handshake is made; sessions are resumed within it only.
    """

    file: str
    x509: Certificate = attrs.field(repr=False)
    held: HeldNames = attrs.field(repr=False)
    context: ssl.SSLContext = attrs.field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it is for; its file, where it has none that a host can have."""
        return self.held.names or (self.file,)

    def problem(self, now: float) -> str:
        """Say why no client will believe it at a time; empty if nothing is known.

        Of a common name alone no client of today takes a host (RFC 9525 section 2).
        """
        if now > self.x509.not_after:
            return f"expired {_ago(now - self.x509.not_after)} ago"
        if now < self.x509.not_before:
            return f"is not valid for another {_ago(self.x509.not_before - now)}"
        if not self.x509.dns + self.x509.addresses:
            return "has no host among its alternative names, so clients refuse it"
        return ""


def _ago(seconds: float) -> str:
    days = int(seconds // 86400)
    if days:
        return f"{days} day{'s' if days > 1 else ''}"
    return (
        f"{int(seconds // 3600)} h" if seconds >= 3600 else f"{int(seconds // 60)} min"
    )


@attrs.frozen(eq=False)
class Pair:
    """A certificate's file with that of its key, and what was last read of them.

    Attributes:
        cert: the file of the certificate.
        key: the file of the key; None if it is in the certificate's.
        stamp: of the files when they were read.
        served: the last good state; None before the first.
        fault: why the files as they are cannot be used; empty if they can.
        is_passing: whether that may be otherwise though no file changes.
    """

    cert: _Path
    key: _Path | None
    stamp: _Stamp = ()
    served: ServedCertificate | None = None
    fault: str = ""
    is_passing: bool = False

    def read(self, tls: Tls) -> Pair:
        """Read the files if they have changed, or could not be read for now."""
        stamp = self.look(tls)
        if stamp == self.stamp and not self.is_passing:
            return self
        try:
            served = read_pair(tls, self.cert, self.key)
        except BadCertificate as exc:
            return attrs.evolve(
                self, stamp=stamp, fault=str(exc), is_passing=may_pass(exc)
            )
        return attrs.evolve(
            self, stamp=stamp, served=served, fault="", is_passing=False
        )

    def is_half_gone(self) -> bool:
        """Tell whether one of both files is still there."""
        return any(os.path.exists(file) for file in (self.cert, self.key) if file)  # noqa: PTH110

    def look(self, tls: Tls) -> _Stamp:
        """Give what differs when a file has changed."""
        files = (self.cert, self.key, tls.client_ca)
        return tuple(file_stamp(file) for file in files if file is not None)


def read_pair(tls: Tls, cert: _Path, key: _Path | None) -> ServedCertificate:
    """Read a certificate and its key.

    Raises:
        BadCertificate: they cannot be used.
    """
    context = tls.context_of(cert, key)
    try:
        with Path(cert).open("rb") as file:
            x509 = read_pem(file.read(MOST_BYTES))
    except (OSError, ValueError) as exc:
        raise BadCertificate(f"cannot read the certificate {cert}: {exc}") from exc
    return ServedCertificate(os.fspath(cert), x509, HeldNames.of(x509), context)


def read_directory(tls: Tls, known: Mapping[str, Pair]) -> dict[str, Pair]:
    """Read the pairs of a directory, by the file of the certificate.

    Raises:
        BadCertificate: the directory cannot be read.
    """
    assert tls.directory is not None, "asked only where there is one"
    pairs = {}
    for cert, key in find_pairs(tls.directory).items():
        before = known.get(cert)
        if before is None or before.key != key:
            before = Pair(cert, key)
        pairs[cert] = before.read(tls)
    for cert, pair in known.items():
        if cert not in pairs and pair.is_half_gone():
            pairs[cert] = pair.read(tls)
    return dict(sorted(pairs.items()))


def find_pairs(directory: _Path) -> dict[str, str]:
    """Find the pairs that lie in a directory: each certificate's file, and its key's.

    They are `NAME.crt` or `NAME.pem` beside `NAME.key`, and folders with `fullchain.pem`
    and `privkey.pem`, as certbot writes them below `live`. What begins with a dot is
    passed over.

    Raises:
        BadCertificate: the directory cannot be read.
    """
    try:
        entries = sorted(os.listdir(directory))  # noqa: PTH208  # quicker than Path
    except OSError as exc:
        raise BadCertificate(
            f"cannot read the directory of certificates {directory}: {exc.strerror}"
        ) from exc
    names = set(entries)
    found: dict[str, str] = {}
    for entry in entries:
        place = os.path.join(directory, entry)  # noqa: PTH118
        stem, dot, suffix = entry.rpartition(".")
        if entry[0] == ".":
            continue
        if dot and suffix in ("crt", "pem"):
            doubled = suffix == "pem" and f"{stem}.crt" in names
            if f"{stem}.key" in names and not doubled:
                found[place] = os.path.join(directory, f"{stem}.key")  # noqa: PTH118
        elif suffix != "key":
            chain, key = (
                os.path.join(place, name)  # noqa: PTH118
                for name in ("fullchain.pem", "privkey.pem")
            )
            if os.path.exists(chain) and os.path.exists(key):  # noqa: PTH110
                found[chain] = key
    return dict(list(found.items())[:MOST_PAIRS])
