"""The admin listener: its pages, and what it says to requests that have none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from canary_trio.admin.handler import EXPLAIN_BYTES, AdminHandler
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.config.document import build
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.request.request_spec import RequestSpec
from http_trio.testing.peers import RawClient, connected, serving
from tests.canary_trio.admin.test_status import control_of

SERVERS = {
    name: {"servers": [f"http://10.0.0.{n}:1", f"http://10.0.0.{n}:2"]}
    for n, name in enumerate(("stable", "canary"))
}
RULE = {"name": "beta", "header": "X-Beta", "equals": "yes", "arm": "canary"}


@asynccontextmanager
async def admin(**document: Any) -> AsyncIterator[tuple[RawClient, Runtime]]:
    """Connect to the admin listener of a proxy that has, if any, a document."""
    runtime = Runtime("web")
    if document:
        config = build({"arms": SERVERS, **document})
        runtime.install(await runtime.build(config, 57, b"secret"))
    view = ProxyView("web", "one", runtime, control_of(runtime))
    async with serving(AdminHandler(view)) as server, connected(server) as client:
        yield client, runtime


async def explained(client: RawClient, **described: Any) -> dict[str, Any]:
    head, body = await client.ask(
        b"/explain", method=b"POST", body=json.dumps(described).encode()
    )
    assert head.startswith(b"HTTP/1.1 200 ")
    found: dict[str, Any] = json.loads(body)
    return found


async def test_a_proxy_without_a_document_is_alive_but_not_ready() -> None:
    async with admin() as (client, _):
        for page in (b"/live", b"/healthz"):  # as older probes say it
            assert (await client.ask(page))[1] == b"ok\n"
        head, body = await client.ask(b"/ready")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert body == b"no configuration yet\n"
        head, _ = await client.ask(b"/explain", method=b"POST", body=b"{}")
        assert head.startswith(b"HTTP/1.1 503 ")


async def test_a_proxy_with_a_document_is_ready() -> None:
    async with admin(ratio=0.25) as (client, _):
        head, body = await client.ask(b"/ready")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"ready\n"


async def test_the_status_is_json_and_the_metrics_are_prometheus() -> None:
    async with admin(ratio=0.25) as (client, _):
        head, body = await client.ask(b"/status")
        assert b"\r\nContent-Type: application/json" in head
        assert json.loads(body)["service"] == "web"
        head, body = await client.ask(b"/metrics")
    assert b"\r\nContent-Type: text/plain; version=0.0.4" in head
    shown = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "canary_arm_requests" in shown


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        (b"POST", b"/status", b"GET, HEAD"),
        (b"DELETE", b"/nowhere", b"GET, HEAD"),
        (b"GET", b"/explain", b"POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(
    method: bytes, path: bytes, allowed: bytes
) -> None:
    async with admin(ratio=0.25) as (client, _):
        head, body = await client.ask(path, method=method)
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: %b\r\n" % allowed in head + b"\r\n"
    assert b"/status" in body


async def test_an_unknown_page_names_those_that_there_are() -> None:
    async with admin(ratio=0.25) as (client, _):
        head, body = await client.ask(b"/")
    assert head.startswith(b"HTTP/1.1 404 ")
    for page in (b"/status", b"/metrics", b"/live", b"/ready", b"/explain"):
        assert page in body


async def test_explain_says_which_arm_and_which_of_its_servers_can_serve() -> None:
    async with admin(rules=[RULE]) as (client, runtime):
        headers = {"X-Beta": "yes"}
        found = await explained(client, headers=headers)
        assert (found["arm"], found["rule"]) == ("canary", "beta")
        assert found["servers"] == SERVERS["canary"]["servers"]
        assert found["server"] is None, "round robin depends on whose turn it is"

        gone = next(iter(runtime.arms["canary"].server_set.servers))
        runtime.arms["canary"].server_set.checked(gone, 0.0, up=False)
        found = await explained(client, headers=headers)
        assert found["servers"] == SERVERS["canary"]["servers"][1:]


async def test_explain_names_no_server_where_the_arm_is_not_certain() -> None:
    async with admin(ratio=0.25) as (client, _):
        found = await explained(client)
    assert found["arm"] is None
    assert found["servers"] == []
    assert found["shares"] == {"stable": 0.75, "canary": 0.25}


@pytest.mark.parametrize("sticky", [False, True])
async def test_explain_names_the_server_that_a_key_leads_to(*, sticky: bool) -> None:
    by_header = {"header": "X-User"}
    document: dict[str, Any] = {
        "sticky_sessions": {**by_header, "server": True},
    }
    if not sticky:
        hashed = {"balance": "hash", "hash_by": by_header}
        arms = {name: {**arm, **hashed} for name, arm in SERVERS.items()}
        document = {"arms": arms}
    async with admin(**document) as (client, runtime):
        for n in range(10):
            found = await explained(client, headers={"X-User": f"user {n}"})
            server = runtime.arms[found["arm"]].server_set.pick(b"user %d" % n)
            assert server is not None
            assert found["server"] == server.name


async def test_explain_says_how_a_client_stands_with_limits() -> None:
    limits = [
        {"name": "each", "requests": 2, "per": 3600, "by": {"header": "X-Key"}},
        {"name": "all", "requests": 9, "by": "service", "dry_run": True},
    ]
    async with admin(access={"rate_limits": limits}) as (client, runtime):
        assert runtime.live is not None
        limiter = runtime.limiter_of(runtime.live.config.access.rate_limits)
        assert limiter is not None
        spec = RequestSpec("GET", "/", (("X-Key", "a"),), "127.0.0.1")
        found = []
        for _ in range(3):
            said = await explained(client, headers={"X-Key": "a"})
            found.append((said["refused"], said["rate_limits"][0]["left"]))
            limiter.check(spec.head(), spec.client, monotonic_ns())
        other = await explained(client)
        status = (await client.ask(b"/status"))[1]

    assert found == [(None, 2), (None, 1), ("rate_limited", 0)]
    assert other["refused"] is None
    assert [one["by"] for one in other["rate_limits"]] == [
        "address, without header X-Key",
        "service",
    ]
    assert json.loads(status)["rate_limits"]["each"] == {
        "passed": 2,
        "refused": 1,
        "dry_run": 0,
    }


async def test_a_bad_description_is_refused_with_all_that_is_wrong() -> None:
    async with admin(ratio=0.25) as (client, _):
        head, body = await client.ask(
            b"/explain", method=b"POST", body=b'{"target": 1, "stil": 2}'
        )
        assert head.startswith(b"HTTP/1.1 400 ")
        paths = {problem["path"] for problem in json.loads(body)["problems"]}
        assert paths == {"$.target", "$.stil"}
        head, _ = await client.ask(
            b"/explain", method=b"POST", body=b" " * (EXPLAIN_BYTES + 1)
        )
        assert head.startswith(b"HTTP/1.1 413 ")
