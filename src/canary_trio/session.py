"""The cookie that keeps a user on an arm: a key that we mint and sign. Pure.

The cookie says nothing of an arm. It holds a random key, from which every proxy
computes the same bucket, and a signature, so that nobody can choose a bucket by
making up keys. One that is forged, foreign or of another epoch is replaced.

    1.<key, 16 characters>.<signature, 22 characters>      (base64url)
"""

from __future__ import annotations

import base64
import functools
import hmac
import re
from collections.abc import Callable

KEY_BYTES = 12
_SIGNATURE_BYTES = 16  # HMAC-SHA256 cut to 128 bits (RFC 2104 section 5)
_FORM = re.compile(rb"1\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})\Z")


def mint(secret: bytes, epoch: int, draw: Callable[[int], bytes]) -> bytes:
    """Make a value with a new key; draw(n) gives n random bytes."""
    key = base64.urlsafe_b64encode(draw(KEY_BYTES))
    return b"1.%b.%b" % (key, _sign(secret, epoch, key))


def verify(secret: bytes, epoch: int, value: bytes) -> bytes | None:
    """Give the key of a value that we signed in this epoch; None for any other."""
    match = _FORM.match(value)
    if match is None:
        return None
    key, signature = match[1], match[2]
    return key if hmac.compare_digest(signature, _sign(secret, epoch, key)) else None


def set_cookie(name: str, value: bytes, *, secure: bool) -> bytes:
    """Give the value of a Set-Cookie field (RFC 6265 section 4.1)."""
    flags = b"; HttpOnly; SameSite=Lax; Path=/" + (b"; Secure" if secure else b"")
    return b"%b=%b%b" % (name.encode(), value, flags)


def cookie_value(header: bytes, name: str) -> bytes | None:
    """Give a cookie's value from a Cookie field; of several the first."""
    match = _pattern(name).search(header)
    return match[1].strip(b' \t"') if match else None


def without_cookie(header: bytes, name: str) -> bytes:
    """Give a Cookie field's value without a cookie; empty if none is left.

    >>> without_cookie(b"a=1; canary=x; b=2", "canary")
    b'a=1; b=2'
    """
    mark = name.encode() + b"="
    pairs = (pair.strip(b" \t") for pair in header.split(b";"))
    return b"; ".join(pair for pair in pairs if pair and not pair.startswith(mark))


def _sign(secret: bytes, epoch: int, key: bytes) -> bytes:
    digest = hmac.digest(secret, b"%d.%b" % (epoch, key), "sha256")
    return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).rstrip(b"=")


@functools.lru_cache(maxsize=64)
def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:^|;)[ \t]*" + re.escape(name.encode()) + rb"=([^;]*)")
