"""A condition of a rule, and the key that it looks at, as tables and as values. Pure.

A table holds conditions side by side; as values they are in one row: tests of values
first, then path, host, method, network. One file, since the key of a test is written
into the table of its condition, and a key alone is the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import attrs

from canary_trio.config.codec import (
    Codec,
    Fault,
    any_of,
    boolean,
    checked,
    list_of,
    show,
    table,
    word_or,
)
from canary_trio.config.policies import described, may_lack
from canary_trio.config.rules import (
    CertificatePart,
    ClientIn,
    Condition,
    HostIs,
    Key,
    MethodIs,
    Network,
    Operator,
    PathPrefix,
    Source,
    ValueIs,
)
from canary_trio.config.scalars import (
    ANY_COOKIE_NAME,
    HEADER_NAME,
    HOST_PATTERN,
    METHOD,
    NETWORK,
    PATH,
    PATTERN,
    PERCENT,
    QUERY_NAME,
    V4_BITS,
    V6_BITS,
    VALUE,
)

_MOST_NAMES = 1000  # hosts, methods or networks of one condition


# === keys ===


@attrs.frozen
class AddressBits:
    """How much of a client's address counts."""

    v4: int = described("Bits of an IPv4 address, 1 to 32.", default=32)
    v6: int = described("Bits of an IPv6 address, 1 to 128.", default=128)


ADDRESS_BITS = word_or(
    {True: AddressBits()},
    table(AddressBits, v4=V4_BITS, v6=V6_BITS),
    'true, or a table such as {"v4": 24, "v6": 56}',
)


@attrs.frozen
class KeyTable:
    """Where a key is: exactly one of these fields is given."""

    address: AddressBits | None = may_lack("The client's address.")
    header: str | None = may_lack("The header of this name.")
    cookie: str | None = may_lack("The cookie of this name.")
    query: str | None = may_lack("The query parameter of this name.")


_KEY_TABLE = table(
    KeyTable,
    address=ADDRESS_BITS,
    header=HEADER_NAME,
    cookie=ANY_COOKIE_NAME,
    query=QUERY_NAME,
)
_SOURCES = tuple((source, source.value) for source in Source)


def key_of(given: Any) -> Key | None:
    """Give the one key that a table's fields name; None for none or several."""
    found = None
    for source, field in _SOURCES:
        value = getattr(given, field, None)
        if value is None:
            continue
        if found is not None:
            return None
        is_address = source is Source.ADDRESS
        found = (
            Key(source, "", value.v4, value.v6) if is_address else Key(source, value)
        )
    return found


def write_key(key: Key) -> dict[str, Any]:
    """Give the fields that name a key."""
    if key.source is not Source.ADDRESS:
        return {key.source.value: key.name}
    return {"address": ADDRESS_BITS.encode(AddressBits(key.v4, key.v6))}


def _decode_key(value: Any) -> Key:
    expected = '"address", or a table with one of address, header, cookie and query'
    if not isinstance(value, dict):
        raise Fault(show(value), expected)
    key = key_of(_KEY_TABLE.decode(value))
    if key is None:
        raise Fault(show(value), expected)
    return key


KEY = word_or(
    {"address": Key(Source.ADDRESS)},
    Codec(
        _decode_key,
        lambda: {**_KEY_TABLE.schema, "minProperties": 1, "maxProperties": 1},
        write_key,
    ),
    '"address", or a table with one of address, header, cookie and query',
)


# === conditions ===


@attrs.frozen
class ConditionTable:
    """The fields of a table of conditions, which must all hold."""

    header: str | None = may_lack("The header whose value is tested.")
    cookie: str | None = may_lack("The cookie whose value is tested.")
    query: str | None = may_lack("The query parameter whose value is tested.")
    client_cert: str | None = may_lack(
        "What of the client's verified certificate is tested: subject (as in"
        " `CN=web,O=Example`), common_name, or san, of which one must meet the test."
    )
    address: AddressBits | None = may_lack(
        "The client's address, for `percent`: true, or the bits that count."
    )
    equals: str | None = may_lack("The value is this.")
    prefix: str | None = may_lack("The value begins with this.")
    regex: str | None = may_lack(
        "The value has this in it: an RE2 pattern, searched for; tie it with ^ and $."
    )
    present: bool | None = may_lack(
        "true: it is there, with whatever value; false: it is not."
    )
    percent: int | None = may_lack(
        "The value's bucket is among the first so many percent, 0 to 100 in steps of"
        " 0.01."
    )
    path_prefix: str | None = may_lack(
        "The path is this, or goes on behind it with a slash."
    )
    host: tuple[str, ...] | None = may_lack(
        "The host, without its port, is one of these; `*.example.org` matches below it."
    )
    method: tuple[str, ...] | None = may_lack("The method is one of these.")
    network: tuple[Network, ...] | None = may_lack(
        "The client's address is in one of these networks."
    )


def _several(codec: Codec, of: str) -> Codec:
    """A codec for one value, or for a list of them."""
    members = list_of(codec, least=1, most=_MOST_NAMES, of=of)

    def decode(value: Any) -> tuple[Any, ...]:
        if isinstance(value, list):
            return tuple(members.decode(value))
        return (codec.decode(value),)

    return Codec(
        decode,
        cache(lambda: any_of(codec.schema, members.schema)),
        lambda given: (
            members.encode(given) if len(given) > 1 else codec.encode(given[0])
        ),
    )


_PARTS = tuple(part.value for part in CertificatePart)
CONDITIONS = {
    "header": HEADER_NAME,
    "cookie": ANY_COOKIE_NAME,
    "query": QUERY_NAME,
    "client_cert": checked(
        lambda value: value in _PARTS, f"one of {', '.join(_PARTS)}", enum=list(_PARTS)
    ),
    "address": ADDRESS_BITS,
    "equals": VALUE,
    "prefix": VALUE,
    "regex": PATTERN,
    "present": boolean(),
    "percent": PERCENT,
    "path_prefix": PATH,
    "host": _several(HOST_PATTERN, "hosts"),
    "method": _several(METHOD, "methods"),
    "network": _several(NETWORK, "networks"),
}
CONDITION_TABLE = table(ConditionTable, **CONDITIONS)
_SOURCE_WORDS = "header, cookie, query, client_cert and address"
_TESTS = tuple((test, test.value) for test in Operator)


def conditions_of(given: ConditionTable) -> list[Condition]:
    """Give the conditions of a table, each by itself.

    Raises:
        Fault: fields contradict each other.
    """
    found: list[Condition] = []
    value = _value_condition(given)
    if value is not None:
        found.append(value)
    if given.path_prefix is not None:
        found.append(PathPrefix(given.path_prefix))
    if given.host is not None:
        found.append(HostIs(tuple(host.lower() for host in given.host)))
    if given.method is not None:
        found.append(MethodIs(given.method))
    if given.network is not None:
        found.append(ClientIn(given.network))
    return found


def _value_condition(given: ConditionTable) -> ValueIs | None:
    tests = [test for test, field in _TESTS if getattr(given, field) is not None]
    named = [field for _, field in _SOURCES if getattr(given, field) is not None]
    if not tests and not named:
        return None
    key = key_of(given)
    if key is None:
        found = " and ".join(named) if named else f"{tests[0].value} alone"
        raise Fault(found, f"one of {_SOURCE_WORDS} beside the test")
    if len(tests) != 1:
        found = " and ".join(test.value for test in tests) or f"{named[0]} alone"
        raise Fault(found, "one of equals, prefix, regex, present and percent")
    test = tests[0]
    if key.source is Source.CLIENT_CERT and test is Operator.PERCENT:
        raise Fault("client_cert and percent", "equals, prefix, regex or present")
    if key.source is Source.ADDRESS and test is not Operator.PERCENT:
        raise Fault(f"address and {test.value}", "percent, or else `network`")
    match test:
        case Operator.PERCENT:
            return ValueIs(key, test, share=given.percent or 0)
        case Operator.PRESENT:
            return ValueIs(key, test, present=bool(given.present))
        case _:
            return ValueIs(key, test, getattr(given, test.value))


_ORDER = {ValueIs: 0, PathPrefix: 1, HostIs: 2, MethodIs: 3, ClientIn: 4}


def in_order(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Put conditions into the order of a rule."""
    if len(conditions) == 1:
        return (conditions[0],)
    return tuple(sorted(conditions, key=lambda condition: _ORDER[type(condition)]))


def write_condition(condition: Condition) -> dict[str, Any]:
    """Give the fields by which a document states a condition."""
    match condition:
        case ValueIs():
            return {**write_key(condition.key), **_encode_test(condition)}
        case PathPrefix():
            return {"path_prefix": condition.prefix}
        case HostIs():
            return {"host": CONDITIONS["host"].encode(condition.hosts)}
        case MethodIs():
            return {"method": CONDITIONS["method"].encode(condition.methods)}
        case ClientIn():
            return {"network": CONDITIONS["network"].encode(condition.networks)}


def _encode_test(condition: ValueIs) -> Mapping[str, Any]:
    match condition.test:
        case Operator.PERCENT:
            return {"percent": PERCENT.encode(condition.share)}
        case Operator.PRESENT:
            return {"present": condition.present}
        case test:
            return {test.value: condition.value}
