"""Metrics are what was counted, each with its meaning, and are rendered in slices."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from canary_trio.admin.merge_rules import MergeRule
from canary_trio.admin.metrics import rendering as metrics
from canary_trio.admin.metrics.catalog import CATALOG, RULES
from canary_trio.admin.metrics.family import Family, Kind
from canary_trio.admin.metrics.readers import COARSE
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import describe
from canary_trio.command.process.merge import merge_metrics
from canary_trio.config.document import build
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.changing.trial import begin_trial
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.decision import Decision, Reason
from canary_trio.telemetry.counters import BOUNDS_S
from canary_trio.telemetry.events import EventKind
from http_trio.testing.peers import connected, serving
from kv_trio import StoreRefused
from tests.canary_trio.proxy.changing.test_long_connections import (
    RECALL,
    here,
    open_websocket,
    until_recalled,
)
from tests.canary_trio.telemetry.test_access_log import Exchange

DOC = Path(__file__).parents[4] / "docs" / "metrics.md"
ELSEWHERE = (
    "canary_access_log_",
    *("canary_connections", "canary_open_", "canary_client_connections_total"),
    *("canary_streams_total", "canary_stream_resets_total", "canary_goaways_total"),
    "canary_recall",
    "canary_rollout_",
    "canary_refused_",
    "canary_refusals_total",
    "canary_rate_limit_",
    "canary_auth_",
    "canary_tls_",
)
"""What only a log or a listener shows."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def _view(servers: int = 1, ratio: float = 0.25) -> ProxyView:
    runtime = Runtime("web")
    arms = {
        name: {
            "servers": [f"http://10.0.{at // 250}.{at % 250}" for at in range(servers)]
        }
        for name in ("stable", "canary")
    }
    config = build({"ratio": ratio, "arms": arms})
    runtime.install(await runtime.build(config, 57, b"secret"))
    control = Supervisor(
        runtime,
        service="web",
        proxy_id="one",
        config_server="http://127.0.0.1:1",
        tokens=StoreTokens({}),
        bootstrap=None,
        memory=None,
        address="",
        admin="",
    )
    return ProxyView("web", "one", runtime, control)


def _samples(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _get(samples: Samples, name: str, **labels: str) -> float:
    labels = {"service": "web", **labels}
    return samples[name, frozenset(labels.items())]


async def test_the_figures_are_those_that_were_counted() -> None:
    view = await _view()
    live = view.runtime.live
    assert live is not None
    canary = Decision("canary", Reason.RATIO)
    for _ in range(3):
        live.labels.note(Decision("stable", Reason.RATIO))
    labels = live.labels.note(canary)
    moved = live.labels.moved(canary, "stable", Reason.FALLBACK)
    observer, exchange = view.runtime.observer, cast(Any, Exchange())
    observer.ended(exchange, labels, 200, 0.003)
    observer.ended(exchange, labels, 0, 20.0)
    observer.ended(exchange, moved, 502, 0.2, retries=2)
    observer.counters.failed("canary", "unreachable")

    samples = _samples(await metrics.render(view))

    of_canary = {"arm": "canary", "chosen": "canary", "reason": "ratio", "rule": ""}
    requests = "canary_requests_total"
    assert _get(samples, requests, code="2xx", **of_canary) == 1
    assert _get(samples, requests, code="499", **of_canary) == 1
    of_moved = {"arm": "stable", "chosen": "canary", "reason": "fallback", "rule": ""}
    assert _get(samples, requests, code="5xx", **of_moved) == 1
    assert _get(samples, "canary_retries_total", arm="canary") == 2
    failures = "canary_failures_total"
    assert _get(samples, failures, arm="canary", condition="unreachable") == 1
    seconds = "canary_request_seconds"
    assert _get(samples, f"{seconds}_bucket", arm="canary", le="0.0025") == 0
    assert _get(samples, f"{seconds}_bucket", arm="canary", le="0.003") == 1
    assert _get(samples, f"{seconds}_bucket", arm="canary", le="+Inf") == 2
    assert _get(samples, f"{seconds}_count", arm="canary") == 2
    assert _get(samples, f"{seconds}_sum", arm="canary") == pytest.approx(20.003)
    assert _get(samples, "canary_split_asked_share", arm="canary") == 0.25
    assert _get(samples, "canary_split_observed_share", arm="canary") == 0.25
    assert _get(samples, "canary_split_decisions", arm="stable") == 3
    assert _get(samples, "canary_config_revision", state="running") == 57
    assert _get(samples, "canary_store_contact_age_seconds") == math.inf


async def test_every_metric_is_shown_with_its_kind_and_its_meaning() -> None:
    view = await _view()
    assert view.runtime.live is not None
    config = view.runtime.live.config
    await begin_trial(view.runtime, config, 58, (b"s",), share=1000, salt=b"salt")
    view.runtime.live.labels.note(Decision("canary", Reason.RATIO)).count(200, 0.1)
    view.runtime.observer.counters.failed("canary", "unreachable")
    view.runtime.observer.mirror_counters.of_arm("canary")
    view.runtime.observer.tasks.note("dns", ValueError("no"))
    view.control.status.is_live(57, b"{}")
    text = (await metrics.render(view)).decode()
    shown = {
        (family.name, family.type, family.documentation)
        for family in text_string_to_metric_families(text)
    }

    for family in CATALOG:
        if not family.name.startswith(ELSEWHERE):
            name = family.name.removesuffix("_total")
            assert (name, family.kind.value, family.text) in shown


async def test_an_arm_with_requests_in_progress_is_not_safe_to_remove() -> None:
    view = await _view(ratio=0)
    assert view.runtime.live is not None
    server = view.runtime.live.arms["canary"].servers[0]
    server.began(0.0)
    samples = cast(Any, describe(view))["arms"]["canary"]
    assert (samples["safe_to_remove"], samples["in_flight"]) == (False, 1)
    assert samples["held_by"] == ["1 requests in progress"]
    in_flight = _get(
        _samples(await metrics.render(view)), "canary_arm_in_flight", arm="canary"
    )
    assert in_flight == 1

    server.ended(0.1, True, 0.0)
    samples = cast(Any, describe(view))["arms"]["canary"]
    assert (samples["safe_to_remove"], samples["held_by"]) == (True, [])


async def test_an_arm_that_is_removed_is_shown_until_its_last_request_ends() -> None:
    view = await _view()
    runtime = view.runtime
    assert runtime.live is not None
    server = runtime.live.arms["canary"].servers[0]
    server.began(0.0)
    config = build({"arms": {"stable": {"servers": ["http://10.0.0.0"]}}})
    runtime.install(await runtime.build(config, 58, b"secret"))
    assert describe(view)["removed_arms"] == {"canary": {"in_flight": 1}}

    server.ended(0.1, True, 0.0)
    assert describe(view)["removed_arms"] == {}


async def test_ends_of_latency_are_close_unless_there_are_many_arms() -> None:
    assert all(
        later / sooner <= 1.2 + 1e-9
        for sooner, later in pairwise(end for end in BOUNDS_S if 0.001 <= end <= 10)
    )
    assert {f"{end:g}" for end in BOUNDS_S} >= COARSE - {"+Inf"}
    view = await _view()
    view.runtime.observer.counters.of_arm("canary").add(0.0031)

    async def ends() -> dict[str, float]:
        found = _samples(await metrics.render(view))
        return {
            dict(labels)["le"]: count
            for (name, labels), count in found.items()
            if name == "canary_request_seconds_bucket"
        }

    assert set(await ends()) == {f"{end:g}" for end in BOUNDS_S} | {"+Inf"}
    for n in range(metrics.FINE_ARMS):
        view.runtime.arms[f"arm-{n}"] = view.runtime.arms["canary"]
    coarse = await ends()
    assert set(coarse) == COARSE
    assert (coarse["0.0025"], coarse["0.005"], coarse["+Inf"]) == (0, 1, 1)


async def test_what_the_control_plane_does_is_counted() -> None:
    view = await _view()
    status = view.control.status
    status.is_live(57, b"{}")
    status.contact.failed(StoreRefused(403, "no", key="k", right="key:read"))
    status.contact.failed(StoreRefused(403, "no", key="k", right="key:read"))
    view.runtime.observer.events.tell(EventKind.DRAIN, "of the process")
    view.runtime.observer.events.tell(EventKind.CHANGE, "another's", service="shop")
    samples = _samples(await metrics.render(view))
    assert _get(samples, "canary_store_errors_total") == 2
    assert _get(samples, "canary_config_age_seconds") < 60
    counted = {
        dict(labels)["kind"]: count
        for (name, labels), count in samples.items()
        if name == "canary_events_total"
    }
    assert counted == {"change": 1, "store": 1, "drain": 1}


async def test_a_thousand_servers_are_rendered_in_slices() -> None:
    view = await _view(servers=200)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        text = await metrics.render(view)
        nursery.cancel_scope.cancel()

    per_server = [one for one in CATALOG if one.labels == ("arm", "server")]
    assert turns >= len(per_server) * 400 / metrics.SLICE
    samples = _samples(text)
    for family in per_server:
        assert sum(name == family.name for name, _ in samples) == 400
        assert text.count(b"# TYPE %b " % family.name.encode()) == 1


async def test_all_metrics_have_a_rule_for_several_workers() -> None:
    view = await _view()
    text = await metrics.render(view)

    merged = merge_metrics([text.decode()] * 2, RULES)
    assert _samples(merged).keys() == _samples(text).keys()


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_only_gauges_are_merged_otherwise_than_added(family: Family) -> None:
    assert family.kind is Kind.GAUGE or family.rule is MergeRule.ADDED


async def test_requests_that_the_engine_refuses_are_counted_by_status() -> None:
    view = await _view()
    async with serving(ProxyHandler(view.runtime)) as server:
        view.server = server
        for raw in (b"GET / HTTP/2.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n") * 2:
            async with connected(server) as client:
                await client.send(raw)
                await client.to_end()

        samples = _samples(await metrics.render(view))

    name = "canary_refused_requests_total"
    assert _get(samples, name, code="400") == _get(samples, name, code="505") == 2


async def test_long_connections_that_a_change_ends_are_counted() -> None:
    view = await _view()
    async with here() as (proxy, long, arms), connected(proxy.server) as client:
        view.long_connections = long
        await open_websocket(client)
        changed = {"arms": {"stable": arms["stable"]}}
        await proxy.install({**changed, "connections": {**RECALL, "time": 60}})
        while not long.leaving:
            await trio.sleep(0.001)
        before = _samples(await metrics.render(view))

    async with here() as (proxy, long, arms), connected(proxy.server) as client:
        view.long_connections = long
        await open_websocket(client)
        await proxy.install({**changed, "connections": RECALL})
        await until_recalled(long, 1)
        after = _samples(await metrics.render(view))

    ended, pending = "canary_recalled_total", "canary_recalls_pending"
    assert (_get(before, ended), _get(before, pending)) == (0, 1)
    assert (_get(after, ended), _get(after, pending)) == (1, 0)


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind.value} | {labels} | {family.text} |"


def test_the_docs_name_what_there_is_and_nothing_else() -> None:
    page = DOC.read_text()

    for family in CATALOG:
        assert _row(family) in page
    rows = [line for line in page.splitlines() if line.startswith("| `canary_")]
    assert len(rows) == len(CATALOG)
    known = {family.name for family in CATALOG}
    known |= {
        f"{family.name}_{part}"
        for family in CATALOG
        if family.kind is Kind.HISTOGRAM
        for part in ("bucket", "count", "sum")
    }
    assert set(re.findall(r"\bcanary_[a-z_]+", page)) <= known


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: Family) -> None:
    assert re.fullmatch(r"canary_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert family.text.endswith(".")
    assert "_seconds" in family.name or "Time" not in family.text
