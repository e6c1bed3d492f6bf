"""What several workers say, as if one had said it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from canary_trio.admin import status
from canary_trio.admin.merge_rules import ByName, MergeRule
from canary_trio.admin.metrics import catalog as families
from canary_trio.command.process.merge import merge_metrics, merge_status


def values(text: bytes) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


ONE = """\
# HELP canary_requests_total Requests.
# TYPE canary_requests_total counter
canary_requests_total{arm="stable"} 3.0
canary_requests_total{arm="canary"} 1.0
# HELP canary_request_seconds Time.
# TYPE canary_request_seconds histogram
canary_request_seconds_bucket{arm="stable",le="0.1"} 2.0
canary_request_seconds_bucket{arm="stable",le="+Inf"} 3.0
canary_request_seconds_count{arm="stable"} 3.0
canary_request_seconds_sum{arm="stable"} 0.5
# HELP canary_connections Clients.
# TYPE canary_connections gauge
canary_connections 4.0
# HELP canary_config_revision Revisions.
# TYPE canary_config_revision gauge
canary_config_revision{state="running"} 7.0
# HELP canary_store_contact_age_seconds Age.
# TYPE canary_store_contact_age_seconds gauge
canary_store_contact_age_seconds 2.0
# HELP canary_split_observed_share Share.
# TYPE canary_split_observed_share gauge
canary_split_observed_share{arm="stable"} 1.0
canary_split_observed_share{arm="canary"} 0.0
# HELP canary_split_decisions Decisions.
# TYPE canary_split_decisions gauge
canary_split_decisions{arm="stable"} 9.0
canary_split_decisions{arm="canary"} 0.0
# HELP canary_split_mismatch_p Chance.
# TYPE canary_split_mismatch_p gauge
canary_split_mismatch_p NaN
# HELP canary_proxy_info What it is.
# TYPE canary_proxy_info gauge
canary_proxy_info{id="edge.1"} 1.0
"""
OTHER = (
    ONE.replace('arm="stable"} 3.0', 'arm="stable"} 5.0')
    .replace('running"} 7.0', 'running"} 6.0')
    .replace("age_seconds 2.0", "age_seconds 5.0")
    .replace('observed_share{arm="stable"} 1.0', 'observed_share{arm="stable"} 0.0')
    .replace('decisions{arm="stable"} 9.0', 'decisions{arm="stable"} 0.0')
    .replace('decisions{arm="canary"} 0.0', 'decisions{arm="canary"} 1.0')
    .replace("mismatch_p NaN", "mismatch_p 0.5")
    .replace("edge.1", "edge.2")
)


def test_metrics_of_workers_are_one() -> None:
    merged = values(merge_metrics([ONE, OTHER], families.RULES))
    stable, canary = [("arm", "stable")], [("arm", "canary")]
    assert merged[f"canary_requests_total{stable}"] == 8
    assert merged[f"canary_requests_total{canary}"] == 2
    bucket = [("arm", "stable"), ("le", "0.1")]
    assert merged[f"canary_request_seconds_bucket{bucket}"] == 4
    assert merged[f"canary_request_seconds_sum{stable}"] == 1
    assert merged["canary_connections"] == 8
    assert merged["canary_config_revision[('state', 'running')]"] == 6
    assert merged["canary_store_contact_age_seconds"] == 5
    assert merged[f"canary_split_observed_share{stable}"] == 0.9
    assert merged[f"canary_split_observed_share{canary}"] == 0.1
    assert merged["canary_split_mismatch_p"] == 0.5
    assert {
        "canary_proxy_info[('id', 'edge.1')]",
        "canary_proxy_info[('id', 'edge.2')]",
    } <= {*merged}


def test_one_worker_stays_as_it_is() -> None:
    assert values(merge_metrics([ONE], families.RULES)) == pytest.approx(
        values(ONE.encode()), nan_ok=True
    )


def test_what_nobody_knows_is_not_a_number() -> None:
    merged = values(merge_metrics([ONE, ONE], families.RULES))
    assert math.isnan(merged["canary_split_mismatch_p"])


def test_a_metric_without_a_rule_is_left_out() -> None:
    rules = {"canary_connections": MergeRule.ADDED}
    assert values(merge_metrics([ONE, ONE], rules)) == {"canary_connections": 8}


def test_metrics_of_the_supervisor_stand_beside() -> None:
    own = GaugeMetricFamily("canary_workers", "Workers.", labels=["state"])
    own.add_metric(["asked"], 2)
    assert values(merge_metrics([], {}, [own])) == {
        "canary_workers[('state', 'asked')]": 2
    }


def test_states_of_workers_are_one() -> None:
    def state(running: int, requests: int, url: str) -> dict[str, object]:
        server = {"url": url, "weight": 2, "requests": requests, "in_flight": 1}
        server |= {"healthy": running == 7, "ejected": running == 6}
        arm = {"decisions": requests, "observed_share": 0.5, "servers": [server]}
        arm |= {"safe_to_remove": running == 6, "held_by": ["rule a", f"{requests}"]}
        arms = {"stable": arm}
        return {"service": "web", "running": running, "config": running, "arms": arms}

    alike = [state(7, 3, "http://a"), state(6, 5, "http://a")]
    merged = merge_status(alike, status.RULES)
    assert merged["service"] == "web"
    assert (merged["running"], merged["config"]) == (6, 6)
    assert merged["arms"]["stable"] == {
        "decisions": 8,
        "observed_share": 1.0,
        "safe_to_remove": False,
        "held_by": ["rule a", "5", "3"],
        "servers": [
            {
                "url": "http://a",
                "weight": 2,
                "requests": 8,
                "in_flight": 2,
                "healthy": False,
                "ejected": True,
            }
        ],
    }
    others = [state(7, 3, "http://a"), state(6, 5, "http://b")]
    apart = merge_status(others, status.RULES)
    urls = [row["url"] for row in apart["arms"]["stable"]["servers"]]
    assert urls == ["http://b", "http://a"]


def test_a_worker_without_a_document_lags_behind_all() -> None:
    told: list[dict[str, Any]] = [
        {"running": 3, "arms": {}, "config": {}},
        {"running": 0, "arms": {}, "config": None},
    ]
    assert merge_status(told, status.RULES)["running"] == 0
    assert merge_status(told, status.RULES)["config"] is None


@pytest.mark.parametrize(
    ("rule", "slowest", "other", "both"),
    [
        (MergeRule.ADDED, 2, 3, 5),
        (MergeRule.ADDED, None, 3, 3),
        (MergeRule.ADDED, None, None, None),
        (MergeRule.LOWEST, 3, 2, 2),
        (MergeRule.LOWEST, None, 2, 2),
        (MergeRule.HIGHEST, 2, 3, 3),
        (MergeRule.LONGEST, 2.5, 3.5, 3.5),
        (MergeRule.LONGEST, 2.5, None, None),
        (MergeRule.ALL, True, True, True),
        (MergeRule.ALL, True, False, False),
        (MergeRule.ANY, False, True, True),
        (MergeRule.ANY, False, False, False),
        (MergeRule.UNION, ["a", "b"], ["b", "c"], ["a", "b", "c"]),
        (MergeRule.SAID, "", "refused", "refused"),
        (MergeRule.SAID, "", "", ""),
        (MergeRule.SLOWEST, "a", "b", "a"),
        (MergeRule.SLOWEST, None, "b", None),
    ],
)
def test_what_a_rule_does(rule: MergeRule, slowest: Any, other: Any, both: Any) -> None:
    tables = [{"running": 2, "it": other}, {"running": 1, "it": slowest}]
    assert merge_status(tables, {"it": rule}) == {"it": both}


def test_a_field_without_a_rule_is_left_out() -> None:
    told = {"arms": {"a": {"new": 1, "requests": 2}}, "running": 1}
    rules = {"arms": ByName({"requests": MergeRule.ADDED})}
    assert merge_status([told, told], rules) == {"arms": {"a": {"requests": 4}}}


def test_what_one_worker_has_no_table_of_is_that_of_the_others() -> None:
    told: list[dict[str, Any]] = [{"split": None}, {"split": {"decisions": 3}}]
    rules = {"split": {"decisions": MergeRule.ADDED}}
    assert merge_status(told, rules) == {"split": {"decisions": 3}}
