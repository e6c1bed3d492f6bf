"""The fleet's secret, which signs cookies: its form in the store, and what is none.

Who knows it can make a cookie for any user, so one that could be guessed is refused, with
words that say what to do; the secret itself is in none of them.
"""

from __future__ import annotations

import base64
import binascii
import secrets

SECRET_BYTES = 32
"""Of a secret that a proxy makes."""

LEAST_SECRET_BYTES = 16
"""Of a secret that is taken: 128 bits are not guessed."""


class BadSecret(ValueError):
    """What stands in the place of the secret is none that can be used; says why."""


def new_secret() -> bytes:
    """Draw a secret."""
    return secrets.token_bytes(SECRET_BYTES)


def write_secret(secret: bytes) -> bytes:
    """Give it as it stands in the store: base64, without a line's end."""
    return base64.b64encode(secret)


def read_secret(value: bytes) -> bytes:
    """Read what stands in the store.

    Raises:
        BadSecret: it is no base64, or too short.
    """
    try:
        return check_secret(base64.b64decode(value, validate=True))
    except binascii.Error as exc:
        if value != value.strip():
            raise BadSecret(
                "there is white space around its base64, such as a line's end; write it"
                " again without (printf %s instead of echo)"
            ) from exc
        raise BadSecret(
            "it is no base64; delete the key, and the next proxy makes one"
        ) from exc


def check_secret(secret: bytes) -> bytes:
    """Give a secret back if it is long enough.

    Raises:
        BadSecret: it is not.
    """
    if len(secret) < LEAST_SECRET_BYTES:
        raise BadSecret(
            f"it has {len(secret)} bytes, expected at least {LEAST_SECRET_BYTES}"
        )
    return secret
