"""What is said of a decision, rendered once and counted."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import build
from canary_trio.routing.decision import Decision, Reason
from canary_trio.telemetry.counters import CLASSES, SERIES_LIMIT, Counters, RouteLabels
from canary_trio.telemetry.decision_labels import LabelCache, unrouted

_RATIO = Decision("canary", Reason.RATIO)
_RULE = Decision("canary", Reason.RULE, rule="beta")


def _config(ratio: float = 0.5, **changes: Any) -> Any:
    servers = {name: {"servers": ["http://h:1"]} for name in ("stable", "canary")}
    config = build({"ratio": ratio, "arms": servers})
    return attrs.evolve(config, decision_header="X-Canary", **changes)


def _label_cache(**changes: Any) -> LabelCache:
    return LabelCache(_config(**changes), 57, Counters(), service="web")


@pytest.mark.parametrize(
    ("decision", "value"),
    [
        (_RATIO, b'revision=57, protocol=HTTP/2, arm="canary", reason=ratio'),
        (
            _RULE,
            b'revision=57, protocol=HTTP/2, arm="canary", reason=rule, rule="beta"',
        ),
        (
            Decision("stable", Reason.RULE, rule='a "b" \\ c'),
            b'revision=57, protocol=HTTP/2, arm="stable", reason=rule, rule="a \\"b\\" \\\\ c"',
        ),
        (
            Decision("stable", Reason.RULE, rule="für 100 %"),
            b'revision=57, protocol=HTTP/2, arm="stable", reason=rule, rule=%"f%c3%bcr 100 %25"',
        ),
    ],
    ids=["ratio", "rule", "escaped", "not ASCII"],
)
def test_the_response_field_is_a_dictionary(decision: Decision, value: bytes) -> None:
    labels = _label_cache().note(decision)

    assert labels.fields["HTTP/2"] == (b"X-Canary", value)
    assert labels.lines["HTTP/2"] == b"\r\nX-Canary: " + value


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1", "HTTP/2"])
def test_the_response_field_names_the_protocol(protocol: str) -> None:
    labels = _label_cache().note(_RATIO)

    assert b", protocol=%b, " % protocol.encode() in labels.lines[protocol]


def test_the_response_field_says_who_served_in_whose_place() -> None:
    labels = _label_cache().moved(_RULE, "stable", Reason.FALLBACK)

    assert labels.fields["HTTP/2"][1] == (
        b'revision=57, protocol=HTTP/2, arm="stable", reason=fallback, rule="beta", chosen="canary"'
    )
    assert json.loads(b"{%b}" % labels.json) == {
        "service": "web",
        "revision": 57,
        "arm": "stable",
        "reason": "fallback",
        "rule": "beta",
        "chosen": "canary",
    }
    assert labels.text == (
        b"service=web arm=stable reason=fallback rule=beta chosen=canary revision=57"
    )


def test_no_field_is_added_unless_the_document_asks() -> None:
    labels = LabelCache(_config().__class__(arms={}), 57, Counters()).note(_RATIO)

    assert (labels.lines, labels.fields) == ({}, {})


@given(st.text(min_size=1))
def test_whatever_a_rule_is_called_the_field_is_one_line_of_ascii(name: str) -> None:
    labels = _label_cache().note(Decision("canary", Reason.RULE, rule=name))

    assert re.fullmatch(rb"\r\nX-Canary: [ -~]+", labels.lines["HTTP/2"])
    members = json.loads(b"{%b}" % labels.json)
    assert members["rule"] == name
    assert re.fullmatch(rb"[!-~]+( [!-~]+)*", labels.text)


def test_a_mark_is_made_once_for_a_way_and_counts_for_all_revisions() -> None:
    counters = Counters()
    old = LabelCache(_config(), 57, counters)
    new = LabelCache(_config(0.6), 58, counters, old)
    assert old.note(_RATIO) is old.note(_RATIO)

    old.note(_RATIO).count(200, 0.003)
    new.note(_RATIO).count(503, 0.3)
    new.note(_RATIO).count(0, 99.0)

    counts = counters.routes[RouteLabels("canary", "canary", "ratio")]
    assert dict(zip(CLASSES, counts, strict=True)) == {
        "499": 1,
        "1xx": 0,
        "2xx": 1,
        "3xx": 0,
        "4xx": 0,
        "5xx": 1,
    }
    arm = counters.arms["canary"]
    assert (sum(arm.counts), arm.counts[-1]) == (3, 1)
    assert arm.sum_s == pytest.approx(99.303)


def test_only_decisions_of_the_ratio_count_for_the_split() -> None:
    labels = _label_cache()
    for decision in (_RATIO, _RATIO, _RULE, Decision("stable", Reason.STICKY)):
        labels.note(decision)

    assert labels.split.counts == {"canary": 2}


def test_the_split_goes_on_over_changes_that_do_not_concern_it() -> None:
    labels = _label_cache()
    unrelated = LabelCache(_config(update_rate=5.0), 58, Counters(), labels)
    changed = LabelCache(_config(0.25), 59, Counters(), unrelated)

    assert unrelated.split is labels.split
    assert changed.split is not labels.split


def test_rules_without_end_are_counted_as_one() -> None:
    counters = Counters()
    for number in range(SERIES_LIMIT + 10):
        counters.of_route(RouteLabels("stable", "stable", "rule", f"rule {number}"))[
            2
        ] += 1

    assert len(counters.routes) == SERIES_LIMIT + 1
    assert counters.routes[RouteLabels("stable", "stable", "rule", "other")][2] == 10


def test_what_met_no_configuration_is_counted_too() -> None:
    counters = Counters()
    unrouted(counters).count(503, 0.0)

    assert counters.routes[RouteLabels("", "", "none")] == [0, 0, 0, 0, 0, 1]


def test_a_route_is_said_and_what_is_counted_is_shared() -> None:
    cache = _label_cache()
    of_route = cache.of_route("shop.org/api")
    cache.note(_RATIO)
    labels = of_route.note(_RATIO)

    assert json.loads(b"{%b}" % labels.json)["route"] == "shop.org/api"
    assert b"service=web route=shop.org/api arm=" in labels.text
    assert cache.split.total == 2
    assert labels.counts is cache.note(_RATIO).counts
