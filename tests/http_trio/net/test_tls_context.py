"""Certificates: what is refused and why, and what is believed."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from http_trio import BadCertificate, Tls, client_context
from tests.http_trio.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_old_versions_are_not_spoken(authority: Authority) -> None:
    context = Tls(*authority.issue()).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_key_may_be_in_the_file_of_its_certificate(authority: Authority) -> None:
    cert, key = authority.issue()
    both = authority.directory / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    Tls(both).context()


def test_what_is_wrong_with_the_files_is_said(authority: Authority) -> None:
    cert, key = authority.issue()
    _, other = authority.issue(stem="other")
    empty = authority.directory / "empty.pem"
    empty.write_bytes(b"")
    missing = authority.directory / "missing.pem"
    for tls, words in [
        (Tls(missing, key), f"cannot read {missing}: No such file"),
        (Tls(cert, missing), f"cannot read {missing}: No such file"),
        (Tls(cert, other), "the key does not belong to the certificate"),
        (Tls(empty, key), "there is no certificate, or no key, as PEM"),
        (Tls(cert), "there is no certificate, or no key, as PEM"),
    ]:
        with pytest.raises(BadCertificate, match=words):
            tls.context()


def test_a_passphrase_is_not_asked_for(authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    cert, key = authority.issue()
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(BadCertificate, match="passphrase"):
        Tls(cert, key).context()


def test_something_must_be_named(authority: Authority) -> None:
    with pytest.raises(BadCertificate, match="no certificate is named"):
        Tls().check()
    with pytest.raises(BadCertificate, match="no directory of certificates"):
        Tls(directory=authority.directory / "missing").check()
    with pytest.raises(BadCertificate, match="missing"):
        Tls(
            *authority.issue(), others=[(authority.directory / "missing", None)]
        ).check()


def test_bad_authorities_of_clients_are_refused(authority: Authority) -> None:
    empty = authority.directory / "empty.pem"
    empty.write_text("")
    for file in (empty, authority.directory / "missing.pem"):
        with pytest.raises(BadCertificate, match=f"clients' authorities {file}"):
            Tls(*authority.issue(), client_ca=file).check()


def test_a_server_is_verified_by_default(authority: Authority) -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert client_context(verify=False).verify_mode is ssl.CERT_NONE


def test_authorities_come_from_a_file_or_a_text(authority: Authority) -> None:
    by_file = client_context(ca=authority.ca_file)
    by_text = client_context(ca=authority.ca_file.read_text())
    assert by_file.get_ca_certs() == by_text.get_ca_certs() != []


@pytest.mark.parametrize("text", ["", "nonsense"])
def test_bad_authorities_are_refused(authority: Authority, text: str) -> None:
    bad = authority.directory / "bad.pem"
    bad.write_text(text)
    with pytest.raises(BadCertificate, match=r"bad\.pem"):
        client_context(ca=bad)
    with pytest.raises(BadCertificate, match="No such file"):
        client_context(ca=authority.directory / "missing.pem")
    with pytest.raises(BadCertificate, match="in the text"):
        client_context(ca="-----BEGIN CERTIFICATE-----\nAAAA\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "no regular file"),
        (Path.mkdir, "no regular file|Is a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    ],
    ids=["a pipe", "a folder", "a device"],
)
def test_what_is_no_file_is_refused_and_never_waited_for(
    authority: Authority, make: Callable[[Path], None], words: str
) -> None:
    odd = authority.directory / "odd.pem"
    make(odd)
    cert, key = authority.issue()
    for use in (
        lambda: client_context(ca=odd),
        lambda: Tls(odd, key).check(),
        lambda: Tls(cert, odd).check(),
        lambda: Tls(cert, key, client_ca=odd).check(),
    ):
        with pytest.raises(BadCertificate, match=words):
            use()


def test_notes_between_certificates_are_passed_over(authority: Authority) -> None:
    noted = authority.directory / "noted.pem"
    noted.write_text(
        "# Autorit\u00e9 de test\n" + authority.ca_file.read_text() + "# \u00a7\n"
    )
    assert client_context(ca=noted).get_ca_certs()


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Let both talk in memory until they agree; raises ssl.SSLError if they do not."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    while ends:
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)


def test_a_common_name_counts_for_nothing(authority: Authority) -> None:
    trusting = client_context(ca=authority.ca_file)
    named = authority.issue("other.example", stem="named", common_name="a.example")
    shake(Tls(*named).context(), trusting, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(Tls(*named).context(), trusting, "a.example")
    bare = bare_certificate(authority, "a.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(Tls(*bare).context(), trusting, "a.example")


def bare_certificate(authority: Authority, name: str) -> tuple[Path, Path]:
    """Issue a certificate that has a common name only."""
    import datetime as dt  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes())
    signer = serialization.load_pem_private_key(
        authority.ca.private_key_pem.bytes(), None
    )
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(  # without it Python 3.13 looks no further
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    cert_file = authority.directory / "bare.pem"
    key_file = authority.directory / "bare.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file
