"""A password as a file has it: salted, and dear to guess. Pure, but for its salt.

    $scrypt$ln=14,r=8,p=5$SALT$HASH     what we write: scrypt (RFC 7914), as passlib writes it
    $2b$12$...                          bcrypt, as htpasswd -B writes it, if bcrypt is installed

The rule that it obeys: what is quick to guess (MD5, SHA-1, crypt, plain text) is refused where
it is read, with words, and never compared. What a file may cost us in time and memory for one
password is bounded there too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
import secrets
import unicodedata
from typing import Protocol

import attrs

PASSWORD_BYTES = 1024
"""Of a password at most; a longer one is never right."""

SCRYPT_MEMORY = 256 * 1024 * 1024
"""Bytes that one look at a password may take; a hash that needs more is refused."""

SCRYPT_WORK = 1 << 23
"""N times r times p at most, of one look: twelve times what a new hash takes."""

_LN, _R, _P = 14, 8, 5
"""The cost of a new hash: 16 MiB and 0.2 to 0.4 s, what OWASP asks for at least."""

_SALT_BYTES, _HASH_BYTES = 16, 32
_SCRYPT = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})"
    r"\$([A-Za-z0-9+/]{11,128})\$([A-Za-z0-9+/]{22,171})\Z"
)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}\Z")
_BCRYPT_BYTES = 72  # what it looks at; newer ones refuse more


class BadHash(ValueError):
    """It is no hash of a password that we take; says why."""


class PasswordHash(Protocol):
    """What is kept of a password."""

    def matches(self, password: bytes) -> bool:
        """Tell whether it is this password; takes long, on purpose."""

    def decoy(self) -> PasswordHash:
        """Give one that nothing matches, and that takes as long to find out."""


@attrs.frozen
class _Scrypt:
    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes = attrs.field(repr=False)

    def matches(self, password: bytes) -> bool:
        found = _scrypt(password, self)
        return hmac.compare_digest(found, self.digest)

    def decoy(self) -> _Scrypt:
        return attrs.evolve(
            self,
            salt=secrets.token_bytes(len(self.salt)),
            digest=secrets.token_bytes(len(self.digest)),
        )

    def __str__(self) -> str:
        salt, digest = _encode(self.salt), _encode(self.digest)
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${salt}${digest}"


@attrs.frozen
class _Bcrypt:
    text: str = attrs.field(repr=False)

    def matches(self, password: bytes) -> bool:
        check = importlib.import_module("bcrypt").checkpw
        if b"\0" in password:
            return False
        return bool(check(password[:_BCRYPT_BYTES], self.text.encode()))

    def decoy(self) -> _Bcrypt:
        # Its last letter has only some of its bits in use.
        return _Bcrypt(self.text[:7] + _letters(21) + "." + _letters(30) + ".")


def hash_password(password: str) -> str:
    """Give what a file has of a password; takes long, on purpose.

    Raises:
        BadHash: it is empty, or longer than PASSWORD_BYTES.
    """
    data = plain_bytes(password)
    if not 0 < len(data) <= PASSWORD_BYTES:
        raise BadHash(f"found {len(data)} bytes, expected 1 to {PASSWORD_BYTES}")
    made = _Scrypt(_LN, _R, _P, secrets.token_bytes(_SALT_BYTES), bytes(_HASH_BYTES))
    return str(attrs.evolve(made, digest=_scrypt(data, made)))


def plain_bytes(password: str) -> bytes:
    """Give the bytes that are hashed of a password, however it was typed (RFC 8265)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogateescape")


def parse_hash(text: str) -> PasswordHash:
    """Read a hash.

    Raises:
        BadHash: it is none that we take.
    """
    if match := _SCRYPT.match(text):
        ln, r, p = (int(match[group]) for group in (1, 2, 3))
        is_scrypt = (
            r >= 1 and p >= 1 and 1 <= ln < min(16 * r, 32)
        )  # RFC 7914, section 6
        if (
            not is_scrypt
            or (128 * r << ln) > SCRYPT_MEMORY
            or (r * p << ln) > SCRYPT_WORK
        ):
            raise BadHash(
                f"found scrypt with ln={ln},r={r},p={p}, expected one that takes at most"
                f" {SCRYPT_MEMORY >> 20} MiB, and {SCRYPT_WORK} for N times r times p"
            )
        return _Scrypt(ln, r, p, _decode(match[4]), _decode(match[5]))
    if _BCRYPT.match(text):
        return _parse_bcrypt(text)
    raise BadHash(
        f"found {_kind_of(text)}, expected scrypt, as `canary passwd` writes it"
    )


def _parse_bcrypt(text: str) -> PasswordHash:
    try:
        importlib.import_module("bcrypt")
    except ImportError:
        raise BadHash(
            "found a hash of bcrypt, which needs a library that is not here: pip install"
            " 'canary-trio[bcrypt]', or write it anew with `canary passwd`"
        ) from None
    return _Bcrypt(text)


def _kind_of(text: str) -> str:
    """Name what stands there, and nothing of it: it may be a password."""
    known = {
        "$apr1$": "MD5 (apr1), which is quick to guess",
        "{SHA}": "SHA-1, which is quick to guess",
        "$1$": "MD5, which is quick to guess",
        "$5$": "SHA-256 of crypt, which is not taken",
        "$6$": "SHA-512 of crypt, which is not taken",
        "$2": "a hash of bcrypt that is malformed, or takes longer than cost 16",
        "$scrypt$": "a hash of scrypt that is malformed",
    }
    for mark, words in known.items():
        if text.startswith(mark):
            return words
    return "no hash that is known"


def _scrypt(password: bytes, like: _Scrypt) -> bytes:
    memory = 128 * like.r * ((1 << like.ln) + like.p + 2)
    return hashlib.scrypt(
        password,
        salt=like.salt,
        n=1 << like.ln,
        r=like.r,
        p=like.p,
        maxmem=memory + 1024 * 1024,
        dklen=len(like.digest),
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise BadHash("found a hash of scrypt that is cut") from None


def _letters(count: int) -> str:
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _ in range(count))
