"""A real Prometheus scrapes a fleet: the dashboard's queries have data, and alerts fire."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
import yaml

from canary_trio import AccessLog, Proxy, ProxyOptions, serve
from http_trio import Tls
from http_trio.testing.peers import ReceivedRequest, Script, fake_upstream
from http_trio.testing.ports import free_port
from kv_trio.testing import in_memory_store
from tests.packaging.test_monitoring import ALERTS, DASHBOARD, RULES, panels

PATIENCE_S = 60.0
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None and not os.environ.get("CI"),
    reason="prometheus is not installed",
)


@asynccontextmanager
async def prometheus(
    path: Path, targets: list[str]
) -> AsyncIterator[httpx.AsyncClient]:
    """Run one that scrapes these, and wait until it is ready."""
    config = path / "prometheus.yml"
    scraped = {"job_name": "canary", "static_configs": [{"targets": targets}]}
    every = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config.write_text(
        yaml.safe_dump(
            {"global": every, "rule_files": [str(ALERTS)], "scrape_configs": [scraped]}
        )
    )
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(str(PROMETHEUS or "prometheus"), f"--config.file={config}"),
        *(f"--storage.tsdb.path={path / 'data'}", f"--web.listen-address={address}"),
    ]
    with (path / "prometheus.log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{address}", trust_env=False, timeout=20
        ) as client:
            while not await is_ready(client):
                assert process.poll() is None, (path / "prometheus.log").read_text()
                await trio.sleep(0.1)
            yield client
    finally:
        process.terminate()
        with trio.move_on_after(10, shield=True):
            await process.wait()


def says(response: bytes) -> Script:
    async def respond(asked: ReceivedRequest) -> None:
        await asked.stream.send_all(response)

    return respond


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/-/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def query(client: httpx.AsyncClient, expression: str) -> list[Any]:
    response = await client.get("/api/v1/query", params={"query": expression})
    told = response.json()
    assert told["status"] == "success", (expression, told)
    result: list[Any] = told["data"]["result"]
    return result


def as_asked(expression: str) -> str:
    """Give a query of the dashboard as Grafana sends it."""
    return expression.replace("$service", ".*").replace("$__rate_interval", "5s")


async def keep_asking(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            await client.get(url)
            await trio.sleep(0.02)


async def start(
    nursery: trio.Nursery, tmp_path: Path, name: str, **options: Any
) -> Proxy:
    chosen = ProxyOptions(
        admin="127.0.0.1:0",
        binds=["127.0.0.1:0"],
        proxy_id=name,
        remember=False,
        **options,
    )
    log = AccessLog(tmp_path / f"{name}.log")
    proxy: Proxy = await nursery.start(partial(serve, "web", chosen, access_log=log))
    return proxy


async def test_a_fleet_is_seen_in_the_dashboard_and_in_the_alerts(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("a.example")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "a.pem")
    tls = {"tls": Tls(tmp_path / "a.pem"), "tls_binds": ["127.0.0.1:0"]}
    gone = f"http://127.0.0.1:{free_port()}"
    async with (
        in_memory_store() as store,
        fake_upstream(says(GOOD)) as stable,
        fake_upstream(says(BAD)) as canary,
        trio.open_nursery() as nursery,
    ):
        arms = {
            "stable": {
                "servers": [f"http://127.0.0.1:{stable.port}", gone],
                "health": {"path": "/", "interval": 0.1, "timeout": 1},
            },
            "canary": {"servers": [f"http://127.0.0.1:{canary.port}"]},
        }
        document = json.dumps({"ratio": 0.5, "arms": arms}).encode()
        shared = {"config_server": store.url, "bootstrap": document}
        with trio.fail_after(PATIENCE_S):
            one = await start(nursery, tmp_path, "one", **shared, **tls)
            two = await start(nursery, tmp_path, "two", **shared)
            for proxy in (one, two):
                nursery.start_soon(keep_asking, proxy.url)
            targets = [p.admin_url.removeprefix("http://") for p in (one, two)]
            async with prometheus(tmp_path, targets) as client:
                await check_dashboard(client)
                await check_alerts(client)
        nursery.cancel_scope.cancel()


async def check_dashboard(client: httpx.AsyncClient) -> None:
    """Wait until each query of each panel has data."""
    for panel in panels():
        for target in panel["targets"]:
            expression = as_asked(target["expr"])
            while not await query(client, expression):
                await trio.sleep(0.2)
    names = {one["metric"]["instance"] for one in await query(client, "up == 1")}
    assert len(names) == 2
    (variable,) = [
        one for one in DASHBOARD["templating"]["list"] if one["name"] == "service"
    ]
    assert "canary_config_revision, service" in variable["definition"]
    response = await client.get(
        "/api/v1/label/service/values", params={"match[]": "canary_config_revision"}
    )
    assert response.json()["data"] == ["web"]
    for expression in (one["expr"] for one in DASHBOARD["annotations"]["list"]):
        await query(client, as_asked(expression))
    ratio = 'canary_split_asked_share{arm="canary"}'
    assert {one["value"][1] for one in await query(client, ratio)} == {"0.5"}


async def check_alerts(client: httpx.AsyncClient) -> None:
    """Wait until what is wrong is pending, with words that are filled in."""
    wrong = {"CanaryArmErrors", "CanaryServersOut"}
    while True:
        groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        assert set(rules) == {rule["alert"] for rule in RULES}
        assert not [rule["lastError"] for rule in rules.values() if "lastError" in rule]
        told = {name for name, rule in rules.items() if rule["state"] != "inactive"}
        if wrong <= told:
            break
        await trio.sleep(0.2)
    for name in wrong:
        for alert in rules[name]["alerts"]:
            summary = alert["annotations"]["summary"]
            assert summary.startswith("web: "), summary
            assert "{{" not in summary
            assert "error" not in summary
