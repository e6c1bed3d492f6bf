"""The dashboard and the alerts in `deploy/` ask for what a proxy tells, and say what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from canary_trio.admin.metrics import rendering
from canary_trio.admin.metrics.catalog import CATALOG
from canary_trio.admin.metrics.family import Kind
from canary_trio.routing.decision import Decision, Reason
from kv_trio.api.metrics import Metrics
from kv_trio.state.store import Store
from tests.canary_trio.admin.metrics.test_rendering import _view

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
]
OF_WORKERS = {"canary_worker_restarts_total", "canary_worker_hangs_total"}
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and not os.environ.get("CI"),
    reason="promtool (prometheus) is not installed",
)


def panels() -> list[dict[str, Any]]:
    return [one for one in DASHBOARD["panels"] if one["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Give whatever is asked of Prometheus, with where it stands."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for one in DASHBOARD["annotations"]["list"]:
        yield one["name"], one["expr"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def told() -> dict[str, set[str]]:
    """Give the series that a proxy tells, with their labels."""
    found: dict[str, set[str]] = {}
    for family in CATALOG:
        labels = {"service", *family.labels}
        names = [family.name]
        if family.kind is Kind.HISTOGRAM:
            names = [f"{family.name}_{end}" for end in ("bucket", "sum", "count")]
        for name in names:
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found | {name: {"service", "worker"} for name in OF_WORKERS}


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_what_is_asked_for_is_told(where: str, query: str) -> None:
    known = told()
    names = set(re.findall(r"\bcanary_\w+", query))
    assert names, where
    assert names <= set(known), where
    possible = {label for name in names for label in known[name]}
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    asked = {label.strip() for labels in grouped for label in labels.split(",")}
    for name, matchers in re.findall(r"\b(canary_\w+)\{([^}]*)\}", query):
        for label in re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers):
            assert label in known[name] | {"instance", "job"}, (where, name)
    assert asked <= possible | {"instance", "job"}, where


def test_every_metric_of_a_service_has_its_label() -> None:
    assert all("service" in labels for labels in told().values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_waits_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Canary")
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "action"}
    assert all(text.strip() for text in rule["annotations"].values())


def test_the_docs_list_every_alert() -> None:
    page = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    for rule in RULES:
        name = rule["alert"].replace("CanaryCertificateExpired", "...Expired")
        assert f"`{name}`" in page


def test_the_dashboard_is_whole() -> None:
    numbers = [one["id"] for one in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "service",
    ]
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    places = {(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels()}
    assert len(places) == len(panels())


# === as Prometheus judges it ===


def promtool(*words: object, given: bytes = b"") -> str:
    command = [PROMTOOL or "promtool", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


@needs_promtool
def test_the_alerts_are_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", ALERTS)


@needs_promtool
async def test_metrics_keep_to_the_conventions() -> None:
    view = await _view()
    live = view.runtime.live
    assert live is not None
    live.labels.note(Decision("canary", Reason.RATIO)).count(200, 0.1)
    view.runtime.observer.counters.failed("canary", "unreachable")
    view.runtime.observer.mirror_counters.of_arm("canary")
    assert promtool("check", "metrics", given=await rendering.render(view)) == ""
    text = Metrics(Store(), (), ()).render()
    assert promtool("check", "metrics", given=text) == ""


ARM = 'service="web", arm="canary", instance="a"'
OTHER = 'service="web", arm="stable", instance="a"'
SERVICE = 'service="web", instance="a"'

CASES: dict[str, dict[str, str]] = {
    "CanaryArmErrors": {
        f"canary_arm_errors_total{{{ARM}}}": "0+15x100",
        f"canary_arm_requests_total{{{ARM}}}": "0+150x100",
    },
    "CanaryArmSlower": {
        f"canary_arm_requests_total{{{at}}}": "0+150x200" for at in (ARM, OTHER)
    }
    | {
        f'canary_request_seconds_bucket{{{at}, le="{end}"}}': f"0+{step}x200"
        for at, steps in ((ARM, (0, 150, 150)), (OTHER, (150, 150, 150)))
        for end, step in zip(("0.1", "0.2", "+Inf"), steps, strict=True)
    },
    "CanaryNoUsableServer": {
        f"canary_arm_usable_servers{{{ARM}}}": "0x100",
        f"canary_split_asked_share{{{ARM}}}": "0.1x100",
    },
    "CanaryServersOut": {
        f'canary_server_healthy{{{ARM}, server="{n}"}}': f"{int(n != 1)}x100"
        for n in range(4)
    },
    "CanaryPanic": {f"canary_arm_panic{{{ARM}}}": "1x100"},
    "CanaryFallback": {f"canary_arm_fallbacks_total{{{ARM}}}": "0+15x100"},
    "CanarySplitMismatch": {f"canary_split_mismatch_p{{{SERVICE}}}": "0.0001x100"},
    "CanaryDocumentRefused": {
        f'canary_config_revision{{{SERVICE}, state="failed"}}': "57x100"
    },
    "CanaryNotConverged": {
        f'canary_config_revision{{service="web", instance="{at}", state="running"}}': (
            f"{revision}x100"
        )
        for at, revision in (("a", 56), ("b", 57))
    },
    "CanaryStoreLost": {f"canary_store_contact_age_seconds{{{SERVICE}}}": "0+15x100"},
    "CanaryRunsRemembered": {f"canary_config_remembered{{{SERVICE}}}": "1x100"},
    "CanaryProxyDown": {
        'up{instance="a", job="canary"}': "1x10 0x90",
        f"canary_proxy_info{{{SERVICE}}}": "1x10 _x90",
    },
    "CanaryCertificateExpires": {
        'canary_tls_certificate_expiry_seconds{name="a.example", instance="a"}': (
            "1000000-15x100"
        )
    },
    "CanaryCertificateExpired": {
        'canary_tls_certificate_expiry_seconds{name="a.example", instance="a"}': (
            "-5-15x100"
        )
    },
    "CanaryLogLinesLost": {f"canary_log_dropped_lines_total{{{SERVICE}}}": "0+1x100"},
    "CanaryWorkersRestart": {
        f'canary_worker_restarts_total{{{SERVICE}, worker="1"}}': "0+1x100"
    },
    "CanaryTaskFailures": {
        f'canary_task_failures_total{{{SERVICE}, task="dns"}}': "0+1x100"
    },
}
"""By alert, the series in which it has to be told: a value each 15 seconds."""

WELL = {
    f"canary_arm_errors_total{{{ARM}}}": "0+1x100",
    f"canary_arm_requests_total{{{ARM}}}": "0+150x100",
    f"canary_arm_requests_total{{{OTHER}}}": "0+1500x100",
    **{
        f'canary_request_seconds_bucket{{{at}, le="{end}"}}': f"0+{step}x100"
        for at, steps in ((ARM, (80, 150, 150)), (OTHER, (850, 1500, 1500)))
        for end, step in zip(("0.1", "0.12", "+Inf"), steps, strict=True)
    },
    f"canary_arm_usable_servers{{{ARM}}}": "3x100",
    f"canary_split_asked_share{{{ARM}}}": "0.1x100",
    f'canary_server_healthy{{{ARM}, server="1"}}': "1x100",
    f"canary_arm_panic{{{ARM}}}": "0x100",
    f"canary_arm_fallbacks_total{{{ARM}}}": "0x100",
    f"canary_split_mismatch_p{{{SERVICE}}}": "0.3x100",
    f'canary_config_revision{{{SERVICE}, state="failed"}}': "0x100",
    f'canary_config_revision{{{SERVICE}, state="running"}}': "57x100",
    f"canary_store_contact_age_seconds{{{SERVICE}}}": "20x100",
    f"canary_config_remembered{{{SERVICE}}}": "0x100",
    'up{instance="a", job="canary"}': "1x100",
    f"canary_proxy_info{{{SERVICE}}}": "1x100",
    'canary_tls_certificate_expiry_seconds{name="a", instance="a"}': "5000000x100",
    f"canary_log_dropped_lines_total{{{SERVICE}}}": "7x100",
    f'canary_worker_restarts_total{{{SERVICE}, worker="1"}}': "1x100",
    f'canary_task_failures_total{{{SERVICE}, task="dns"}}': "0x100",
}
"""A fleet that is well: nothing is told of it."""


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == {rule["alert"] for rule in RULES}


@needs_promtool
def test_each_alert_is_told_when_it_has_to_be_and_else_none(tmp_path: Path) -> None:
    def case(series: dict[str, str], query: str, *samples: Any) -> dict[str, Any]:
        given = [{"series": name, "values": found} for name, found in series.items()]
        asked = {"expr": query, "eval_time": "24m", "exp_samples": list(samples)}
        return {
            "interval": "15s",
            "input_series": given,
            "promql_expr_test": [asked],
        }

    firing = 'count(ALERTS{{alertname=~"{}", alertstate="firing"}}) > 0'
    count = 'min(ALERTS{{alertname="{}", alertstate="firing"}})'
    tests = [
        case(series, count.format(name), {"labels": "{}", "value": 1})
        for name, series in CASES.items()
    ]
    tests.append(case(WELL, firing.format(".*")))
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(ALERTS)],
                "evaluation_interval": "1m",
                "tests": tests,
            }
        )
    )
    assert "SUCCESS" in promtool("test", "rules", file)
