"""Who asks too often is refused, and no server hears of it: over real sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.observer import Observer
from canary_trio.testing import Proxied, arm, proxied, says_stable
from http_trio.testing.peers import connected, fake_upstream, serving

TWO = {"name": "per-client", "requests": 2, "per": 3600}


def fields(head: bytes) -> Mapping[str, str]:
    lines = head.decode().split("\r\n")[1:]
    pairs = (line.partition(": ") for line in lines if line)
    return {name: value for name, _, value in pairs}


def statuses(proxy: Proxied) -> dict[str, int]:
    counts = proxy.runtime.observer.counters.limits["per-client"]
    return {"passed": counts.passed, "refused": counts.refused, "dry": counts.dry_run}


async def test_who_asks_too_often_gets_429_and_is_told_for_how_long() -> None:
    access = {"rate_limits": [TWO]}
    async with fake_upstream(says_stable) as fake:
        async with proxied({"stable": arm(fake)}, ratio=0, access=access) as proxy:
            async with connected(proxy.server) as client:
                said = [await client.ask(b"/") for _ in range(4)]  # it lives on
        codes = [head.split()[1] for head, _ in said]
        assert codes == [b"200", b"200", b"429", b"429"]
        told = fields(said[3][0])
        assert told["RateLimit-Policy"] == '"per-client";q=2;w=3600'
        assert told["RateLimit"] == f'"per-client";r=0;t={told["Retry-After"]}'
        assert 1700 < int(told["Retry-After"]) <= 1800
        assert b"the limit per-client allows" in said[3][1]
        assert len(fake.asked) == 2
        assert statuses(proxy) == {"passed": 2, "refused": 2, "dry": 0}
        assert dict(proxy.runtime.observer.counters.refusals) == {"rate_limited": 2}


async def test_what_was_counted_survives_a_change() -> None:
    async with fake_upstream(says_stable) as fake:
        document: dict[str, Any] = {"arms": {"stable": arm(fake)}}
        document["access"] = {"rate_limits": [TWO]}
        async with (
            proxied(**document, ratio=0) as proxy,
            connected(proxy.server) as client,
        ):
            found = [(await client.ask(b"/"))[0].split()[1]]
            await proxy.install(document)
            found += [(await client.ask(b"/"))[0].split()[1] for _ in range(2)]
            document["access"] = {"rate_limits": [{**TWO, "dry_run": True}]}
            await proxy.install(document)
            found.append((await client.ask(b"/"))[0].split()[1])

        assert found == [b"200", b"200", b"429", b"200"]
        assert statuses(proxy) == {"passed": 2, "refused": 1, "dry": 1}


async def test_networks_are_looked_at_first() -> None:
    access = {"deny": ["127.0.0.0/8"], "rate_limits": [TWO]}
    async with fake_upstream(says_stable) as fake:
        async with proxied({"stable": arm(fake)}, ratio=0, access=access) as proxy:
            async with connected(proxy.server) as client:
                for _ in range(5):
                    assert (await client.ask(b"/"))[0].split()[1] == b"403"
        assert statuses(proxy) == {"passed": 0, "refused": 0, "dry": 0}


async def test_the_log_names_the_limit(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    runtime = Runtime("web", observer=Observer(log))
    one = {**TWO, "requests": 1, "by": "service"}
    async with fake_upstream(says_stable) as fake, trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        async with serving(ProxyHandler(runtime)) as server:
            proxy = Proxied(server, runtime)
            await proxy.install(
                {"arms": {"stable": arm(fake)}, "access": {"rate_limits": [one]}}
            )
            async with connected(server) as client:
                await client.ask(b"/")
                await client.ask(b"/")
        nursery.cancel_scope.cancel()
    line = json.loads((tmp_path / "log").read_text().splitlines()[1])

    assert (line["status"], line["arm"]) == (429, "")
    assert (line["reason"], line["rule"]) == ("rate_limited", "per-client")
