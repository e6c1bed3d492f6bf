"""A rule as a table of the document, and as a value. Pure.

A table holds conditions side by side, all of which must hold, and `all`, a list of
further ones; the value has them in one row (`condition_codec`). The words of ingress-nginx's annotations stand for up to four rules
in a row (header `always`, header `never`, cookie `always`, cookie `never`), as they
are tried there; what else the table says is a condition of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from canary_trio.config.codec import Codec, Fault, each, list_of, note_step, show, table
from canary_trio.config.model import CANARY, STABLE
from canary_trio.config.parts.condition_codec import (
    CONDITION_TABLE,
    CONDITIONS,
    ConditionTable,
    conditions_of,
    in_order,
    write_condition,
)
from canary_trio.config.policies import described, may_lack
from canary_trio.config.rules import Condition, Key, Operator, Rule, Source, ValueIs
from canary_trio.config.scalars import (
    ANY_COOKIE_NAME,
    ARM_NAME,
    HEADER_NAME,
    NAME_SIZE,
    PATTERN,
    RULE_NAME,
    VALUE,
)

RULES = 10_000
"""Rules of a document at most, expanded."""

_MOST_INNER = 20  # tables in one `all`


@attrs.frozen
class RuleTable(ConditionTable):
    """The fields of one rule."""

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


_RULE_TABLE = table(
    RuleTable,
    name=RULE_NAME,
    arm=ARM_NAME,
    **CONDITIONS,
    all=list_of(CONDITION_TABLE, most=_MOST_INNER, of="tables of conditions"),
    by_header=HEADER_NAME,
    by_header_value=VALUE,
    by_header_pattern=PATTERN,
    by_cookie=ANY_COOKIE_NAME,
)


# === reading ===


def _decode_rules(value: Any) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise Fault(show(value), 'a list of rules such as [{"header": ..., ...}]')
    tables = each(_decode_rule, enumerate(value), "[{}]")
    rules: list[Rule] = []
    seen: set[str] = set()
    for place, (given_name, expanded) in enumerate(tables):
        for suffix, arm, conditions in expanded:
            name = f"{given_name}{suffix}" if given_name else f"rule {len(rules) + 1}"
            if name in seen:
                raise note_step(
                    Fault(f"a second {show(name)}", "each name once"), f"[{place}].name"
                )
            seen.add(name)
            rules.append(Rule(name, arm, conditions))
    if len(rules) > RULES:
        raise Fault(f"{len(rules)} rules", f"at most {RULES}")
    return tuple(rules)


_Expanded = tuple[str, str, tuple[Condition, ...]]
"""A rule of a table: what is added to its name, the arm, the conditions."""


def _decode_rule(value: Any) -> tuple[str | None, list[_Expanded]]:
    """Give the name of a table, and its rules."""
    if not isinstance(value, dict):
        raise Fault(show(value), 'a table such as {"header": ..., "arm": ...}')
    given: RuleTable = _RULE_TABLE.decode(value)
    shared = conditions_of(given)
    for place, inner in enumerate(given.all):
        try:
            found = conditions_of(inner)
            if not found:
                raise Fault("no condition", "at least one")
        except Exception as exc:
            raise note_step(exc, f".all[{place}]") from None
        shared += found
    words = list(_ingress_words(given))
    if not words:
        if not shared:
            raise Fault("no condition", "at least one, such as header and equals")
        if given.arm is None:
            raise note_step(Fault("nothing", "the name of an arm"), ".arm")
        return given.name, [("", given.arm, in_order(shared))]
    if given.name is not None and len(given.name + _LONGEST_SUFFIX) > NAME_SIZE:
        expected = f"at most {NAME_SIZE - len(_LONGEST_SUFFIX)} characters here"
        raise note_step(Fault(show(given.name), expected), ".name")
    arm = given.arm or CANARY
    return given.name, [
        (suffix, arm if leads else STABLE, in_order([*shared, condition]))
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
            yield "", ValueIs(key, Operator.EQUALS, exact), True
        elif pattern is not None:
            yield "", ValueIs(key, Operator.REGEX, pattern), True
        else:
            yield "", ValueIs(key, Operator.EQUALS, "always"), True
            yield " never", ValueIs(key, Operator.EQUALS, "never"), False
    if given.by_cookie is not None:
        key = Key(Source.COOKIE, given.by_cookie)
        by = " by cookie" if given.by_header is not None else ""
        yield by, ValueIs(key, Operator.EQUALS, "always"), True
        yield f"{by} never", ValueIs(key, Operator.EQUALS, "never"), False


_LONGEST_SUFFIX = " by cookie never"


# === writing ===


def _encode_rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [_encode_rule(rule, place) for place, rule in enumerate(rules, 1)]


def _encode_rule(rule: Rule, place: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if rule.name != f"rule {place}":
        shown["name"] = rule.name
    further = []
    kinds: set[type] = set()
    for condition in rule.conditions:
        written = write_condition(condition)
        if type(condition) in kinds:
            further.append(written)
        else:
            shown |= written
        kinds.add(type(condition))
    if further:
        shown["all"] = further
    return {**shown, "arm": rule.arm}


_ENOUGH = [
    {"required": [field]} for field in ("arm", "canary-by-header", "canary-by-cookie")
]
RULE_LIST = Codec(
    _decode_rules,
    {
        "type": "array",
        "items": {**_RULE_TABLE.schema, "minProperties": 1, "anyOf": _ENOUGH},
        "maxItems": RULES,
    },
    _encode_rules,
)
