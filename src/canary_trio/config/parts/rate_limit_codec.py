"""Limits of the rate of requests: JSON to `RateLimit`s and back. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from canary_trio.config.access import BY_ADDRESS, RateLimit
from canary_trio.config.codec import (
    Codec,
    Fault,
    boolean,
    each,
    integer,
    list_of,
    note_step,
    optional,
    show,
    table,
    word_or,
)
from canary_trio.config.parts.condition_codec import key_of
from canary_trio.config.parts.times import seconds
from canary_trio.config.policies import described, may_lack
from canary_trio.config.rules import Key, Source
from canary_trio.config.scalars import (
    ANY_COOKIE_NAME,
    ARM_NAME,
    HEADER_NAME,
    NETWORK,
    QUERY_NAME,
    V4_BITS,
    V6_BITS,
)

LIMITS = 20
"""Limits of one service or route at most: each costs every request its time."""

FASTEST = 1_000_000
"""Requests a second that a limit may allow."""

LONGEST_S = 366 * 86400
"""Seconds in which a burst that was spent must have come back."""

NETWORKS = list_of(NETWORK, most=10_000, of="networks")
"""Networks of clients."""

_MOST = 1_000_000_000


@attrs.frozen
class CountedBits:
    """How much of a client's address counts."""

    v4: int = described("Bits of an IPv4 address, 1 to 32.", default=BY_ADDRESS.v4)
    v6: int = described("Bits of an IPv6 address, 1 to 128.", default=BY_ADDRESS.v6)


@attrs.frozen
class CountedKey:
    """Whose requests are counted together: exactly one of these fields is given."""

    address: CountedBits | None = may_lack("The client's address, so many bits of it.")
    header: str | None = may_lack("The header of this name.")
    cookie: str | None = may_lack("The cookie of this name.")
    query: str | None = may_lack("The query parameter of this name.")


_BITS = word_or(
    {True: CountedBits()},
    table(CountedBits, v4=V4_BITS, v6=V6_BITS),
    'true, or a table such as {"v4": 24, "v6": 56}',
)
_KEY_TABLE = table(
    CountedKey,
    address=_BITS,
    header=HEADER_NAME,
    cookie=ANY_COOKIE_NAME,
    query=QUERY_NAME,
)
_EXPECTED = (
    '"address", "service", or a table with one of address, header, cookie and query,'
    ' such as {"header": "X-Api-Key"}'
)


def _decode_key(value: Any) -> Key:
    key = key_of(_KEY_TABLE.decode(value))
    if key is None:
        raise Fault(show(value), _EXPECTED)
    return key


def _encode_key(key: Key) -> dict[str, Any]:
    if key.source is not Source.ADDRESS:
        return {key.source.value: key.name}
    return {"address": _BITS.encode(CountedBits(key.v4, key.v6))}


_BY = word_or(
    {"address": BY_ADDRESS, "service": None},
    Codec(
        _decode_key,
        {**_KEY_TABLE.schema, "minProperties": 1, "maxProperties": 1},
        _encode_key,
    ),
    _EXPECTED,
)
_LIMIT_TABLE = table(
    RateLimit,
    name=ARM_NAME,
    requests=integer(1, _MOST),
    per=seconds(0.01, 86400),
    burst=optional(integer(1, _MOST)),
    by=_BY,
    exempt=NETWORKS,
    dry_run=boolean(),
)


def _decode_limit(value: Any) -> RateLimit:
    limit: RateLimit = _LIMIT_TABLE.decode(value)
    if limit.requests > FASTEST * limit.per:
        found = f"{limit.requests} in {limit.per:g} s"
        expected = f"at most {FASTEST} requests a second"
        raise note_step(Fault(found, expected), ".requests")
    whole_s = limit.at_once * limit.per / limit.requests
    if whole_s > LONGEST_S:
        found = f"a burst that comes back in {whole_s:.0f} s"
        raise note_step(Fault(found, f"at most {LONGEST_S} s"), ".burst")
    return limit


def _decode_limits(value: Any) -> tuple[RateLimit, ...]:
    if not isinstance(value, list) or len(value) > LIMITS:
        found = f"{len(value)} of them" if isinstance(value, list) else show(value)
        raise Fault(found, f"a list of at most {LIMITS} limits")
    limits = tuple(each(_decode_limit, enumerate(value), "[{}]"))
    seen: set[str] = set()
    for place, limit in enumerate(limits):
        if limit.name in seen:
            fault = Fault(f"a second {show(limit.name)}", "each name once")
            raise note_step(fault, f"[{place}].name")
        seen.add(limit.name)
    return limits


RATE_LIMITS = Codec(
    _decode_limits,
    {"type": "array", "items": _LIMIT_TABLE.schema, "maxItems": LIMITS},
    lambda limits: [_LIMIT_TABLE.encode(limit) for limit in limits],
)
"""The limits of a service or a route."""
