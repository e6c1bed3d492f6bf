"""Which content coding a client wants, by its Accept-Encoding (RFC 9110 section 12.5.3). Pure.

The rule that it obeys: a coding is chosen only if the client has asked for it, by its name
or by `*`. Where all is refused, the content goes out as it is: that is what a server may do,
and what can be read most often.
"""

from __future__ import annotations

import functools
import re

ACCEPT_BYTES = 1024
"""Of Accept-Encoding at most; who sends more gets what there is, as it is."""

_MEMBER = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    rb"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?\Z"
)
_SAME = {b"x-gzip": b"gzip"}  # RFC 9110 section 8.4.1.3
_ANY, _IDENTITY = b"*", b"identity"


@functools.lru_cache(maxsize=256)
def choose_coding(accepted: bytes, offered: tuple[bytes, ...]) -> bytes | None:
    """Give the coding that the client likes best; None for none.

    Args:
        accepted: the value of Accept-Encoding; empty where it is not sent.
        offered: what there is, the best first, which counts where the client likes
            several alike.

    >>> choose_coding(b"gzip, zstd;q=0.5", (b"zstd", b"gzip"))
    b'gzip'
    >>> choose_coding(b"*", (b"zstd", b"gzip")), choose_coding(b"br", (b"gzip",))
    (b'zstd', None)
    """
    weights = _weights(accepted)
    of_rest = weights.get(_ANY, 0)
    found: bytes | None = None
    best = weights.get(_IDENTITY, 0)  # unnamed it is taken, but not asked for
    for coding in offered:
        weight = weights.get(coding, of_rest)
        if weight and (weight > best or (found is None and weight == best)):
            found, best = coding, weight
    return found


@functools.lru_cache(maxsize=256)
def refuses_identity(accepted: bytes) -> bool:
    """Tell whether content without a coding is not wanted.

    >>> refuses_identity(b"gzip, identity;q=0"), refuses_identity(b"gzip, *;q=0")
    (True, True)
    >>> refuses_identity(b"gzip"), refuses_identity(b"gzip, identity, *;q=0")
    (False, False)
    """
    weights = _weights(accepted)
    return weights.get(_IDENTITY, weights.get(_ANY, 1)) == 0


def _weights(accepted: bytes) -> dict[bytes, int]:
    """Give the weight of each member, in thousandths; what is malformed is no member."""
    weights: dict[bytes, int] = {}
    for member in accepted.lower().split(b","):
        match = _MEMBER.match(member.strip(b" \t"))
        if match is not None:
            name = _SAME.get(match[1], match[1])
            weight = round(float(match[2] or b"1") * 1000)
            weights[name] = max(weight, weights.get(name, 0))
    return weights
