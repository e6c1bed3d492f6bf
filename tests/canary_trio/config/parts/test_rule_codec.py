"""Rules of a document: what is refused, and which values the others are."""

from __future__ import annotations

import json

import pytest

from canary_trio.config import rules as r
from canary_trio.config.document import load
from canary_trio.config.rules import HostIs, Key, Source, ValueIs
from tests.canary_trio.support.documents import ARMS, problems

HEADER = {"header": "X-A", "equals": "b"}


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (5, ""),
        ({"arm": "canary"}, ""),
        (HEADER, ".arm"),
        ({**HEADER, "arm": "nobody"}, ".arm"),
        ({**HEADER, "arm": "canary", "prefix": "b"}, ""),
        ({**HEADER, "arm": "canary", "cookie": "b"}, ""),
        ({"header": "X-A", "arm": "canary"}, ""),
        ({"client_cert": "san", "arm": "canary"}, ""),
        ({"client_cert": "san", "percent": 5, "arm": "canary"}, ""),
        ({"client_cert": "san", "header": "a", "equals": "", "arm": "canary"}, ""),
        ({"client_cert": "CN", "equals": "a", "arm": "canary"}, ".client_cert"),
        ({"equals": "b", "arm": "canary"}, ""),
        ({"address": True, "equals": "b", "arm": "canary"}, ""),
        ({"header": "X-A", "percent": 0.001, "arm": "canary"}, ".percent"),
        ({"header": "X-A", "percent": 101, "arm": "canary"}, ".percent"),
        ({"header": "X-A", "regex": "(", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "(?=a)", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "a" * 1001, "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "((a{100}){100}){10}", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "(ab|cd){100}", "arm": "canary"}, ".regex"),
        ({"path_prefix": "api", "arm": "canary"}, ".path_prefix"),
        ({"host": "a:80", "arm": "canary"}, ".host"),
        ({"host": ["a", "*b"], "arm": "canary"}, ".host[1]"),
        ({"method": "get", "arm": "canary"}, ".method"),
        ({"network": "10.0.0.1/8", "arm": "canary"}, ".network"),
        ({"network": ["10.0.0.0/8", "x"], "arm": "canary"}, ".network[1]"),
        ({"all": [{}], "arm": "canary"}, ".all[0]"),
        ({"all": [{"header": "a"}], "arm": "canary"}, ".all[0]"),
        ({"all": [{**HEADER, "arm": "canary"}], "arm": "canary"}, ".all[0].arm"),
        ({"canary-by-heder": "X-A"}, ".canary-by-heder"),
        ({"canary-by-header-value": "x"}, ""),
        (
            {
                "canary-by-header": "A",
                "canary-by-header-value": "x",
                "canary-by-header-pattern": "y",
            },
            "",
        ),
        ({**HEADER, "arm": "canary", "name": " x"}, ".name"),
        ({"canary-by-cookie": "a", "name": "x" * 90}, ".name"),
    ],
    ids=str,
)
def test_a_bad_rule_is_named_by_its_path(rule: object, path: str) -> None:
    good = {**HEADER, "arm": "canary"}

    assert list(problems({"arms": ARMS, "rules": [good, rule]})) == [
        f"$.rules[1]{path}"
    ]


def test_two_rules_may_not_have_one_name() -> None:
    rule = {**HEADER, "arm": "canary", "name": "beta"}

    assert list(problems({"arms": ARMS, "rules": [rule, rule]})) == ["$.rules[1].name"]
    clash = [{**rule, "name": "rule 2"}, {**HEADER, "arm": "canary"}]
    assert list(problems({"arms": ARMS, "rules": clash})) == ["$.rules[1].name"]


def test_all_faults_of_rules_are_told_at_once() -> None:
    rules = [{"arm": "x", **HEADER}, {"header": 5, "equals": 6}, {"regexp": "x"}]

    assert set(problems({"arms": ARMS, "rules": rules})) == {
        "$.rules[0].arm",
        "$.rules[1].header",
        "$.rules[1].equals",
        "$.rules[2].regexp",
    }


def test_the_words_of_ingress_nginx_are_ordinary_rules() -> None:
    rules = [
        {"canary-by-header": "X-Canary", "canary-by-cookie": "canary"},
        {"canary-by-header": "Y", "canary-by-header-value": "on", "name": "y"},
        {"canary-by-header": "Z", "canary-by-header-pattern": "^o", "host": "a"},
    ]
    config = load(json.dumps({"arms": ARMS, "rules": rules}))

    header, cookie = Key(Source.HEADER, "X-Canary"), Key(Source.COOKIE, "canary")
    y, z = Key(Source.HEADER, "Y"), Key(Source.HEADER, "Z")
    assert [(rule.name, rule.arm, rule.conditions) for rule in config.rules] == [
        ("rule 1", "canary", (ValueIs(header, r.Operator.EQUALS, "always"),)),
        ("rule 2", "stable", (ValueIs(header, r.Operator.EQUALS, "never"),)),
        ("rule 3", "canary", (ValueIs(cookie, r.Operator.EQUALS, "always"),)),
        ("rule 4", "stable", (ValueIs(cookie, r.Operator.EQUALS, "never"),)),
        ("y", "canary", (ValueIs(y, r.Operator.EQUALS, "on"),)),
        ("rule 6", "canary", (ValueIs(z, r.Operator.REGEX, "^o"), HostIs(("a",)))),
    ]
