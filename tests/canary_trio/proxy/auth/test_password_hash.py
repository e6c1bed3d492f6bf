"""Hashes of passwords: what matches, what is refused, and what it may cost."""

from __future__ import annotations

import base64
import hashlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.auth import password_hash
from canary_trio.proxy.auth.password_hash import (
    PASSWORD_BYTES,
    BadHash,
    hash_password,
    parse_hash,
    plain_bytes,
)

BCRYPT = "$2b$04$abcdefghijklmnopqrstuuYvsT0LpSyxbBk.Dt3Tll6mFzPZMVCXG"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_hash, "_LN", 2)


def test_a_new_hash_is_salted_and_dear() -> None:
    text = hash_password("secret")

    assert text.startswith("$scrypt$ln=14,r=8,p=5$")
    assert "secret" not in text
    assert parse_hash(text).matches(b"secret")


@pytest.mark.usefixtures("cheap")
@given(st.text(min_size=1, max_size=60), st.text(max_size=60))
def test_a_hash_matches_its_password_alone(one: str, other: str) -> None:
    found = parse_hash(hash_password(one))

    assert found.matches(plain_bytes(one))
    assert found.matches(plain_bytes(other)) == (plain_bytes(one) == plain_bytes(other))
    assert not found.decoy().matches(plain_bytes(one))
    assert str(found) != hash_password(one), "another salt"


@pytest.mark.usefixtures("cheap")
def test_it_does_not_matter_how_a_letter_was_typed() -> None:
    assert parse_hash(hash_password("caf\u00e9")).matches(plain_bytes("cafe\u0301"))


def test_what_others_write_is_read() -> None:
    """RFC 7914, section 12: the third vector, as passlib would write it."""
    digest = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    salt, text = (
        base64.b64encode(x).decode().rstrip("=") for x in (b"SodiumChloride", digest)
    )
    found = parse_hash(f"$scrypt$ln=14,r=8,p=1${salt}${text}")

    assert found.matches(b"pleaseletmein")
    assert not found.matches(b"Pleaseletmein")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("secret", "no hash that is known"),
        ("$apr1$abc$def", "MD5"),
        ("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "SHA-1"),
        ("$6$salt$hash", "SHA-512"),
        ("$2b$31$" + "a" * 53, "longer than cost 16"),
        ("$2b$12$short", "malformed"),
        ("$scrypt$ln=14$x", "malformed"),
        ("$scrypt$ln=21,r=8,p=1$" + "A" * 22 + "$" + "A" * 43, "at most 256 MiB"),
        ("$scrypt$ln=20,r=1,p=99$" + "A" * 22 + "$" + "A" * 43, "N times r"),
        ("$scrypt$ln=16,r=1,p=1$" + "A" * 22 + "$" + "A" * 43, "found scrypt with"),
        ("$scrypt$ln=14,r=8,p=0$" + "A" * 22 + "$" + "A" * 43, "found scrypt with"),
        ("$scrypt$ln=14,r=8,p=1$" + "A" * 21 + "$" + "A" * 43, "is cut"),
    ],
)
def test_what_is_quick_to_guess_or_costs_too_much_is_refused(
    text: str, words: str
) -> None:
    with pytest.raises(BadHash) as caught:
        parse_hash(text)

    assert words in str(caught.value)
    assert text not in str(caught.value), "it may be a password"


@given(
    ln=st.integers(0, 40), r=st.integers(0, 999), p=st.integers(0, 999), salt=st.data()
)
def test_what_is_taken_can_be_compared(
    ln: int, r: int, p: int, salt: st.DataObject
) -> None:
    size = salt.draw(st.integers(11, 30))
    text = f"$scrypt$ln={ln},r={r},p={p}${'A' * size}${'A' * 43}"
    try:
        found = parse_hash(text)
    except BadHash:
        return
    if r * p << ln <= 1 << 12:
        assert not found.matches(b"secret")


@pytest.mark.parametrize("password", ["", "x" * (PASSWORD_BYTES + 1)])
def test_a_password_has_a_size(password: str) -> None:
    with pytest.raises(BadHash, match="expected 1 to"):
        hash_password(password)


def test_bcrypt_is_read_where_its_library_is() -> None:
    bcrypt = pytest.importorskip("bcrypt")
    text = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    for one in (text, text.replace("$2b$", "$2y$")):
        found = parse_hash(one)

        assert found.matches(b"secret")
        assert not found.matches(b"Secret")
        assert not found.matches(b"secret\0")
        assert not found.matches(b"x" * 100), "longer than it looks at"
        assert not found.decoy().matches(b"secret")


def test_without_it_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)

    with pytest.raises(BadHash, match=r"pip install 'canary-trio\[bcrypt\]'"):
        parse_hash(BCRYPT)


def test_a_decoy_takes_what_a_hash_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    real = hashlib.scrypt

    def noted(password: bytes, **how: Any) -> bytes:
        asked.append(how)
        return real(password, **how)

    monkeypatch.setattr("hashlib.scrypt", noted)
    found = parse_hash("$scrypt$ln=4,r=2,p=3$" + "A" * 22 + "$" + "A" * 43)
    found.matches(b"a")
    found.decoy().matches(b"a")

    one, other = (
        {name: how[name] for name in ("n", "r", "p", "dklen")} for how in asked
    )
    assert one == other
