"""The cookie that keeps a user on an arm: a key that we mint and sign. Pure.

The cookie says nothing of an arm. It holds a random key, from which every proxy
computes the same bucket, and a signature, so that nobody can choose a bucket by
making up keys. One that is forged, foreign or of another epoch is replaced. One that was
signed with an older secret, which verifies still, is signed anew: its user keeps the key.

    1.<key, 16 characters>.<signature, 24 characters>      (base64url)

The signature is keyed BLAKE2b (RFC 7693 section 2.9), a third of what HMAC-SHA256
costs here. Its key is derived from the secret and the epoch (RFC 2104), so that a
raised epoch makes all cookies foreign.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b

from canary_trio.config.model import SameSite, Sticky

KEY_BYTES = 12
_SIGNATURE_BYTES = 18
_KEYS_AT_ONCE = 128  # a draw from the machine costs as much as all the rest of a key
_FORM = re.compile(rb"1\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{24})\Z")
_KEY_OF_SIGNATURES = b"canary session %d"


class CookieSigner:
    """The cookies of one secret and one epoch."""

    def __init__(self, secret: bytes, epoch: int) -> None:
        key = hmac.digest(secret, _KEY_OF_SIGNATURES % epoch, "sha256")
        self._signing = blake2b(digest_size=_SIGNATURE_BYTES, key=key)
        self._drawn = b""
        self._taken = 0

    def __repr__(self) -> str:
        return f"<CookieSigner with {len(self._drawn) - self._taken} bytes drawn>"

    def mint(self, draw: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """Make a new key; give it, and the cookie's value; draw(n) gives n random bytes."""
        start = self._taken
        if start == len(self._drawn):
            self._drawn = draw(KEY_BYTES * _KEYS_AT_ONCE)
            start = 0
        self._taken = start + KEY_BYTES
        key = urlsafe_b64encode(self._drawn[start : start + KEY_BYTES])
        return key, self.value_of(key)

    def value_of(self, key: bytes) -> bytes:
        """Give the value of the cookie that holds a key."""
        return b"1.%b.%b" % (key, self._sign(key))

    def verify(self, value: bytes) -> bytes | None:
        """Give the key of a value that was signed so; None for any other."""
        match = _FORM.match(value)
        if match is None:
            return None
        key, signature = match.groups()
        return key if hmac.compare_digest(signature, self._sign(key)) else None

    def _sign(self, key: bytes) -> bytes:
        signing = self._signing.copy()
        signing.update(key)
        return urlsafe_b64encode(signing.digest())


def set_cookie(sticky: Sticky, *, secure: bool) -> bytes:
    """Give the value of a Set-Cookie field, with `%b` for the cookie's value.

    The attributes are those of RFC 6265 section 4.1 and RFC 6265bis. Browsers take
    `SameSite=None` only with `Secure`, so that implies it.

    Args:
        sticky: what the document says of the cookie.
        secure: whether the client came over TLS.
    """
    parts = [f"{sticky.key.name}=%b", "HttpOnly"]
    parts.append(f"SameSite={sticky.same_site.value.capitalize()}")
    parts.append("Path=/")
    if sticky.max_age is not None:
        parts.append(f"Max-Age={sticky.max_age}")
    if sticky.domain is not None:
        parts.append(f"Domain={sticky.domain}")
    if secure or sticky.same_site is SameSite.NONE:
        parts.append("Secure")
    return "; ".join(parts).encode()
