"""Certificates: what is refused and why, and what is believed."""

from __future__ import annotations

import ssl
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
