"""What a proxy counts, told to its fleet: while it is needed, and by one read of all."""

from __future__ import annotations

import json
from typing import Any

import httpx
import trio

from canary_trio import Proxy
from canary_trio.control.changes.documents import change, write_document
from canary_trio.control.fleet.evidence import (
    EvidencePublisher,
    evidence_in,
    read_evidence,
)
from canary_trio.control.fleet.report import Report
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import evidence_key
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.published import ProxyEvidence
from canary_trio.rollout.fleet.sums import FleetEvidence
from canary_trio.testing import says_canary, url_of
from http_trio.testing.peers import fake_upstream
from kv_trio import Entry
from kv_trio.testing import in_memory_store
from tests.canary_trio.serving.test_gateway import gateway_on
from tests.canary_trio.support.stored_proxy import proxy_on

STATE = {"phase": "paused", "by_hand": True, "step": 0, "begun": 1, "since": 1}
ROLLOUT = {"id": "v42", "steps": [1], "judge": True, "state": STATE}
PATIENCE_S = 20.0


def document(url: str, **rollout: Any) -> dict[str, Any]:
    arms = {name: {"servers": [url]} for name in ("stable", "canary")}
    return {"arms": arms, "ratio": 1, "rollout": {**ROLLOUT, **rollout}}


def bootstrap(url: str) -> bytes:
    return json.dumps(document(url)).encode()


async def ask(proxy: Proxy, times: int = 1, **headers: str) -> None:
    async with httpx.AsyncClient() as http:
        for _ in range(times):
            await http.get(proxy.url, headers=headers)


async def wait_told(client: KeyStore, *requests: int) -> FleetEvidence:
    """Wait until the proxies tell of so many requests of the canary."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found = await read_evidence(client, "web")
            told = [one.arms["canary"].requests for one in found.values()]
            if sorted(told) == sorted(requests):
                return found
            await trio.sleep(0.02)


async def test_each_proxy_tells_what_it_counts() -> None:
    async with fake_upstream(says_canary) as fake, in_memory_store() as client:
        first = bootstrap(url_of(fake))
        async with proxy_on(client, proxy_id="p1", bootstrap=first) as one:
            async with proxy_on(client, proxy_id="p2", bootstrap=first) as other:
                await ask(one, 3)
                await ask(other, 2)
                told = await wait_told(client, 3, 2)
                assert {
                    name: e.arms["canary"].requests for name, e in told.items()
                } == {
                    "p1": 3,
                    "p2": 2,
                }
                assert told["p1"].epoch != told["p2"].epoch
                key = evidence_key("web", "p1")
                entry = (await client.get(key)).entry
                assert entry is not None
                assert Report.load(entry.value) is None  # it is no report
                await ask(one)
                await wait_told(client, 4, 2)
            await wait_told(client, 4)  # the other took it along


async def test_it_is_told_only_while_something_is_counted() -> None:
    async with fake_upstream(says_canary) as fake, in_memory_store() as client:
        first = bootstrap(url_of(fake))
        async with proxy_on(client, proxy_id="p", bootstrap=first) as proxy:
            await ask(proxy)
            before = await wait_told(client, 1)
            over = {"state": {**STATE, "phase": "aborted"}}
            revision = proxy.revision
            revision = await write_document(
                client, "web", document(url_of(fake), **over), over=revision
            )
            await wait_told(client)
            await ask(proxy)
            await write_document(client, "web", document(url_of(fake)), over=revision)
            after = await wait_told(client, 0)
            assert after["p"].epoch != before["p"].epoch


async def test_it_goes_on_under_another_session() -> None:
    async with fake_upstream(says_canary) as fake, in_memory_store() as client:
        first = bootstrap(url_of(fake))
        async with proxy_on(client, proxy_id="p", bootstrap=first) as proxy:
            await ask(proxy)
            before = await wait_told(client, 1)
            entry = (await client.get(evidence_key("web", "p"))).entry
            assert entry is not None
            assert entry.session is not None
            await client.destroy_session(entry.session)
            await change(client, "web", "update_rate=5")  # or it would be found later
            await ask(proxy)
            after = await wait_told(client, 2)
            assert after["p"].epoch == before["p"].epoch


async def test_a_gateway_tells_of_each_service() -> None:
    async with fake_upstream(says_canary) as fake, in_memory_store() as client:
        await write_document(client, "web", document(url_of(fake)), over=0)
        routes = [{"host": "a.example", "service": "web"}]
        await write_document(client, "@edge", {"routes": routes}, over=0)
        async with gateway_on(client) as proxy:
            await ask(proxy, 2, Host="a.example")
            told = await wait_told(client, 2)
            assert set(told) == {"g"}


def test_what_proxies_tell_is_found_among_other_keys() -> None:
    told = ProxyEvidence("w", "e", {})

    def entry(key: str, value: bytes, session: str | None = "s") -> Entry:
        return Entry(key.encode(), value, 0, 1, 1, session=session)

    entries = [
        entry("canary/web/proxies/a", b"{}"),
        entry("canary/web/proxies/a/evidence", told.dump()),
        entry("canary/web/proxies/a/seen", b"{}"),
        entry("canary/web/proxies/b/evidence", b"nonsense"),
        entry("canary/web/proxies/c/evidence", told.dump(), None),
        entry("canary/webs/proxies/d/evidence", told.dump()),
    ]
    assert evidence_in(entries, "web") == {"a": told}


def test_nothing_is_needed_before_a_document() -> None:
    publisher = EvidencePublisher("web", "p", Runtime("web"), lambda: "s")
    assert not publisher.is_needed
    assert "needed=False" in repr(publisher)
