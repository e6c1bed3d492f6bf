"""What is ruled out at a glance, and what needs a closer look.

That nobody is ruled out whom a rule would meet is held by `test_rule_matcher`.
"""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from canary_trio.config.document import load
from canary_trio.routing.rules.rule_filter import MOST_WORDS, RuleFilter
from canary_trio.routing.rules.rule_matcher import RuleMatcher
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.request_head import RequestHead, parse_request_head, shared_head
from http_trio.limits import Limits

ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b"]}}
FIVE: list[dict[str, Any]] = [
    {"header": "X-Canary", "equals": "always"},
    {"cookie": "beta", "present": True},
    {"path_prefix": "/beta/"},
    {"host": ["beta.example.test", "*.b.test"]},
    {"query": "preview", "equals": "1"},
]


def matcher_of(*tables: dict[str, Any]) -> RuleMatcher:
    rules = [{"arm": "canary", **table} for table in tables]
    config = load(json.dumps({"arms": ARMS, "rules": rules}))
    return RuleMatcher(config.rules, b"salt")


def filter_of(*tables: dict[str, Any]) -> RuleFilter | None:
    return matcher_of(*tables).filter()


def head_of(
    target: str = "/", cookie: str = "a=1", host: str = "h", more: str = "X: 1"
) -> RequestHead:
    lines = f"Host: {host}\r\n{more}\r\nCookie: {cookie}"
    raw = f"GET {target} HTTP/1.1\r\n{lines}\r\n\r\n".encode()
    known, limits = FieldCache(Limits(), shared_head), Limits()
    head = None
    for _ in range(2):
        head = known.offer(raw, parse_request_head(raw, limits))
    assert head is not None
    return head


def rules_out(rule_filter: RuleFilter | None, head: RequestHead) -> bool:
    assert rule_filter is not None
    assert head.shared is not None
    verdicts = {rule_filter.rules_out(head, head.shared) for _ in range(3)}
    assert len(verdicts) == 1, "what it has found before changes nothing"
    return verdicts.pop()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, True),
        ({"target": "/items/7?page=3&url=a.b"}, True),
        ({"target": "/bet"}, True),
        ({"target": "/beta"}, False),
        ({"target": "/beta/x"}, False),
        ({"target": "/betas"}, False),  # a closer look tells
        ({"target": "/%62eta/x"}, False),
        ({"target": "//beta/x"}, False),
        ({"target": "/./beta/x"}, False),
        ({"target": "/;v=1/beta"}, False),
        ({"target": "/\\beta"}, False),
        ({"target": "/?preview=0"}, False),
        ({"target": "/?previe+w=1"}, False),
        ({"cookie": "beta=1"}, False),
        ({"cookie": "a=beta"}, False),  # a closer look tells
        ({"host": "beta.example.test:80"}, False),
        ({"host": "BETA.example.test."}, False),
        ({"host": "x.y.b.test"}, False),
        ({"host": "b.test"}, True),
        ({"host": "example.test"}, True),
        ({"more": "x-canary: always"}, False),
        ({"more": "X-Canary:  always "}, False),
        ({"more": "X-Canary: never"}, True),
        ({"more": "X-Canary: never\r\nX-Canary: always"}, True),  # the first counts
        ({"more": "X-Not-X-Canary: always"}, True),
    ],
    ids=str,
)
def test_a_word_that_a_rule_asks_for_is_looked_at(
    request_: dict[str, str], expected: bool
) -> None:
    assert rules_out(filter_of(*FIVE), head_of(**request_)) is expected


@pytest.mark.parametrize(
    ("table", "value", "expected"),
    [
        ({"prefix": "al"}, "always", False),
        ({"prefix": "al"}, "never", True),
        ({"regex": "al"}, "never", False),
        ({"present": True}, "never", False),
        ({"percent": 10}, "never", False),
    ],
)
def test_a_value_leads_to_a_rule_by_what_that_asks_of_it(
    table: dict[str, Any], value: str, expected: bool
) -> None:
    rule_filter = filter_of({"header": "X-Canary", **table})
    head = head_of(more=f"X-Canary: {value}")
    assert rules_out(rule_filter, head) is expected
    assert rules_out(rule_filter, head_of()), "without the field"


def test_a_method_leads_to_a_rule() -> None:
    rule_filter = filter_of({"method": "GET"}, {"method": "POST"})
    assert not rules_out(rule_filter, head_of())
    assert rules_out(filter_of({"method": "POST"}), head_of())


@pytest.mark.parametrize(
    "table",
    [
        {"header": "X-Canary", "present": False},
        {"network": "10.0.0.0/8"},
        {"address": {"v4": 16}, "percent": 10},
        {"client_cert": "common_name", "equals": "a"},
        {"header": "Cookie", "regex": "a"},
        {"cookie": "a", "present": False},
    ],
    ids=str,
)
def test_what_must_be_asked_of_every_request_allows_no_filter(
    table: dict[str, Any],
) -> None:
    assert filter_of(*FIVE, table) is None


def test_a_filter_asks_for_few_words_only() -> None:
    few = [{"query": f"p{n}", "equals": "1"} for n in range(MOST_WORDS)]
    assert filter_of(*few) is not None
    assert filter_of(*few, {"query": "q", "equals": "1"}) is None


def test_fields_that_were_looked_at_do_not_keep_old_rules_alive() -> None:
    matcher, head = matcher_of(*FIVE), head_of()
    assert rules_out(matcher.filter(), head)
    gone = weakref.ref(matcher)
    del matcher
    gc.collect()
    assert gone() is None
