"""A rule as a table of the document, and as a value. Pure.

A table holds conditions side by side, all of which must hold, and `all`, a list of
further ones; the value has them in one row: tests of values first, then path, host,
method, network. The words of ingress-nginx's annotations stand for up to four rules
in a row (header `always`, header `never`, cookie `always`, cookie `never`), as they
are tried there; what else the table says is a condition of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from canary_trio.config.codec import (
    Fault,
    Shape,
    any_of,
    at,
    each,
    either,
    flag,
    listed,
    show,
    table,
)
from canary_trio.config.model import CANARY, STABLE
from canary_trio.config.policies import described, may_lack
from canary_trio.config.rules import (
    ClientIn,
    Condition,
    HostIs,
    Key,
    MethodIs,
    Network,
    PathPrefix,
    Rule,
    Source,
    Test,
    ValueIs,
)
from canary_trio.config.scalars import (
    ANY_COOKIE_NAME,
    ARM_NAME,
    HEADER_NAME,
    HOST_PATTERN,
    METHOD,
    NAME_SIZE,
    NETWORK,
    PATH,
    PATTERN,
    PERCENT,
    QUERY_NAME,
    RULE_NAME,
    V4_BITS,
    V6_BITS,
    VALUE,
)

RULES = 10_000
"""Rules of a document at most, expanded."""

_VALUES = 20  # conditions in one `all`, hosts, methods, networks: of one rule
_NAMES = 1000


# === where a key is ===


@attrs.frozen
class AddressBits:
    """How much of a client's address counts."""

    v4: int = described("Bits of an IPv4 address, 1 to 32.", default=32)
    v6: int = described("Bits of an IPv6 address, 1 to 128.", default=128)


ADDRESS_BITS = either(
    {True: AddressBits()},
    table(AddressBits, v4=V4_BITS, v6=V6_BITS),
    'true, or a table such as {"v4": 24, "v6": 56}',
)


@attrs.frozen
class KeyTable:
    """Where a key is: one of these."""

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
    return {"address": ADDRESS_BITS.write(AddressBits(key.v4, key.v6))}


def _read_key(value: Any, _: object = None) -> Key:
    expected = '"address", or a table with one of address, header, cookie and query'
    if not isinstance(value, dict):
        raise Fault(show(value), expected)
    key = key_of(_KEY_TABLE.read(value))
    if key is None:
        raise Fault(show(value), expected)
    return key


KEY = either(
    {"address": Key(Source.ADDRESS)},
    Shape(
        _read_key,
        {**_KEY_TABLE.schema, "minProperties": 1, "maxProperties": 1},
        write_key,
    ),
    '"address", or a table with one of address, header, cookie and query',
)


# === tables ===


@attrs.frozen
class ConditionTable:
    """Conditions that must all hold."""

    header: str | None = may_lack("The header whose value is tested.")
    cookie: str | None = may_lack("The cookie whose value is tested.")
    query: str | None = may_lack("The query parameter whose value is tested.")
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


@attrs.frozen
class RuleTable(ConditionTable):
    """One rule."""

    name: str | None = may_lack(
        "How it is called in logs and metrics; by default its place."
    )
    arm: str | None = may_lack(
        "Where the request goes; with the words of ingress-nginx `canary` by default."
    )
    all: tuple[ConditionTable, ...] = described(
        "Further conditions, for tests of several values.", default=()
    )
    by_header: str | None = may_lack(
        "ingress-nginx: this header sends to the arm with `always`, to `stable` with"
        " `never`, and with anything else the rule does not match.",
        called="canary-by-header",
    )
    by_header_value: str | None = may_lack(
        "ingress-nginx: the header sends to the arm with this value instead.",
        called="canary-by-header-value",
    )
    by_header_pattern: str | None = may_lack(
        "ingress-nginx: the header sends to the arm if this is found in it instead.",
        called="canary-by-header-pattern",
    )
    by_cookie: str | None = may_lack(
        "ingress-nginx: as `canary-by-header`, with a cookie.",
        called="canary-by-cookie",
    )


def _several(shape: Shape, of: str) -> Shape:
    """One, or a list of them."""
    members = listed(shape, least=1, most=_NAMES, of=of)

    def read(value: Any, _: object = None) -> tuple[Any, ...]:
        if isinstance(value, list):
            return tuple(members.read(value))
        return (shape.read(value),)

    return Shape(
        read,
        any_of(shape.schema, members.schema),
        lambda given: members.write(given) if len(given) > 1 else shape.write(given[0]),
    )


_CONDITIONS = {
    "header": HEADER_NAME,
    "cookie": ANY_COOKIE_NAME,
    "query": QUERY_NAME,
    "address": ADDRESS_BITS,
    "equals": VALUE,
    "prefix": VALUE,
    "regex": PATTERN,
    "present": flag(),
    "percent": PERCENT,
    "path_prefix": PATH,
    "host": _several(HOST_PATTERN, "hosts"),
    "method": _several(METHOD, "methods"),
    "network": _several(NETWORK, "networks"),
}
_CONDITION_TABLE = table(ConditionTable, **_CONDITIONS)
_RULE_TABLE = table(
    RuleTable,
    name=RULE_NAME,
    arm=ARM_NAME,
    **_CONDITIONS,
    all=listed(_CONDITION_TABLE, most=_VALUES, of="tables of conditions"),
    by_header=HEADER_NAME,
    by_header_value=VALUE,
    by_header_pattern=PATTERN,
    by_cookie=ANY_COOKIE_NAME,
)


# === reading ===


def _read_rules(value: Any, _: object = None) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise Fault(show(value), 'a list of rules such as [{"header": ..., ...}]')
    tables = each(_read_rule, enumerate(value), "[{}]")
    rules: list[Rule] = []
    seen: set[str] = set()
    for place, (given_name, expanded) in enumerate(tables):
        for suffix, arm, conditions in expanded:
            name = f"{given_name}{suffix}" if given_name else f"rule {len(rules) + 1}"
            if name in seen:
                raise at(
                    Fault(f"a second {show(name)}", "each name once"), f"[{place}].name"
                )
            seen.add(name)
            rules.append(Rule(name, arm, conditions))
    if len(rules) > RULES:
        raise Fault(f"{len(rules)} rules", f"at most {RULES}")
    return tuple(rules)


_Expanded = tuple[str, str, tuple[Condition, ...]]
"""A rule of a table: what is added to its name, the arm, the conditions."""


def _read_rule(value: Any) -> tuple[str | None, list[_Expanded]]:
    """Give the name of a table, and its rules."""
    if not isinstance(value, dict):
        raise Fault(show(value), 'a table such as {"header": ..., "arm": ...}')
    given: RuleTable = _RULE_TABLE.read(value)
    shared = _conditions(given)
    for place, inner in enumerate(given.all):
        try:
            found = _conditions(inner)
            if not found:
                raise Fault("no condition", "at least one")
        except Exception as exc:
            raise at(exc, f".all[{place}]") from None
        shared += found
    words = list(_ingress_words(given))
    if not words:
        if not shared:
            raise Fault("no condition", "at least one, such as header and equals")
        if given.arm is None:
            raise at(Fault("nothing", "the name of an arm"), ".arm")
        return given.name, [("", given.arm, _in_order(shared))]
    if given.name is not None and len(given.name + _LONGEST_SUFFIX) > NAME_SIZE:
        expected = f"at most {NAME_SIZE - len(_LONGEST_SUFFIX)} characters here"
        raise at(Fault(show(given.name), expected), ".name")
    arm = given.arm or CANARY
    return given.name, [
        (suffix, arm if leads else STABLE, _in_order([*shared, condition]))
        for suffix, condition, leads in words
    ]


def _ingress_words(given: RuleTable) -> Iterator[tuple[str, Condition, bool]]:
    """Give what the annotations say: (suffix, condition, whether it leads to the arm)."""
    exact, pattern = given.by_header_value, given.by_header_pattern
    if given.by_header is None and (exact is not None or pattern is not None):
        raise Fault("no canary-by-header", "the name of the header that is tested")
    if exact is not None and pattern is not None:
        raise Fault(
            "canary-by-header-value and canary-by-header-pattern", "one of the two"
        )
    if given.by_header is not None:
        key = Key(Source.HEADER, given.by_header)
        if exact is not None:
            yield "", ValueIs(key, Test.EQUALS, exact), True
        elif pattern is not None:
            yield "", ValueIs(key, Test.REGEX, pattern), True
        else:
            yield "", ValueIs(key, Test.EQUALS, "always"), True
            yield " never", ValueIs(key, Test.EQUALS, "never"), False
    if given.by_cookie is not None:
        key = Key(Source.COOKIE, given.by_cookie)
        by = " by cookie" if given.by_header is not None else ""
        yield by, ValueIs(key, Test.EQUALS, "always"), True
        yield f"{by} never", ValueIs(key, Test.EQUALS, "never"), False


_LONGEST_SUFFIX = " by cookie never"
_TESTS = tuple((test, test.value) for test in Test)


def _conditions(given: ConditionTable) -> list[Condition]:
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
        raise Fault(found, "one of header, cookie, query and address beside the test")
    if len(tests) != 1:
        found = " and ".join(test.value for test in tests) or f"{named[0]} alone"
        raise Fault(found, "one of equals, prefix, regex, present and percent")
    test = tests[0]
    if key.source is Source.ADDRESS and test is not Test.PERCENT:
        raise Fault(f"address and {test.value}", "percent, or else `network`")
    match test:
        case Test.PERCENT:
            return ValueIs(key, test, share=given.percent or 0)
        case Test.PRESENT:
            return ValueIs(key, test, present=bool(given.present))
        case _:
            return ValueIs(key, test, getattr(given, test.value))


_ORDER = {ValueIs: 0, PathPrefix: 1, HostIs: 2, MethodIs: 3, ClientIn: 4}


def _in_order(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    if len(conditions) == 1:
        return (conditions[0],)
    return tuple(sorted(conditions, key=lambda one: _ORDER[type(one)]))


# === writing ===


def _write_rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [_write_rule(rule, place) for place, rule in enumerate(rules, 1)]


def _write_rule(rule: Rule, place: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if rule.name != f"rule {place}":
        shown["name"] = rule.name
    further = []
    kinds: set[type] = set()
    for condition in rule.conditions:
        written = _write_condition(condition)
        if type(condition) in kinds:
            further.append(written)
        else:
            shown |= written
        kinds.add(type(condition))
    if further:
        shown["all"] = further
    return {**shown, "arm": rule.arm}


def _write_condition(condition: Condition) -> dict[str, Any]:
    match condition:
        case ValueIs():
            return {**write_key(condition.key), **_write_test(condition)}
        case PathPrefix():
            return {"path_prefix": condition.prefix}
        case HostIs():
            return {"host": _CONDITIONS["host"].write(condition.hosts)}
        case MethodIs():
            return {"method": _CONDITIONS["method"].write(condition.methods)}
        case ClientIn():
            return {"network": _CONDITIONS["network"].write(condition.networks)}


def _write_test(condition: ValueIs) -> Mapping[str, Any]:
    match condition.test:
        case Test.PERCENT:
            return {"percent": PERCENT.write(condition.share)}
        case Test.PRESENT:
            return {"present": condition.present}
        case test:
            return {test.value: condition.value}


_ENOUGH = [
    {"required": [field]} for field in ("arm", "canary-by-header", "canary-by-cookie")
]
RULE_LIST = Shape(
    _read_rules,
    {
        "type": "array",
        "items": {**_RULE_TABLE.schema, "minProperties": 1, "anyOf": _ENOUGH},
        "maxItems": RULES,
    },
    _write_rules,
)
