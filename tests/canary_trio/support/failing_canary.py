"""A canary that fails under load, on whatever store, until its rollout is stopped."""

from __future__ import annotations

import json
from typing import Any

import attrs
import httpx
import trio

from canary_trio import Proxy
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.reading import read_document
from canary_trio.control.sources.source import KeyStore
from canary_trio.testing import url_of
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from tests.canary_trio.support.stored_proxy import proxy_on

PATIENCE_S = 60.0


@attrs.define
class Version:
    """One that fails each so many requests; 0 for never."""

    fails_each: int = 0
    asked: int = 0

    async def __call__(self, request: ReceivedRequest) -> None:
        self.asked += 1
        bad = self.fails_each and self.asked % self.fails_each == 0
        status = b"500 Oh" if bad else b"200 OK"
        head = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status
        await request.stream.send_all(head)


def document(stable: str, canary: str, **rollout: Any) -> dict[str, Any]:
    servers = {"stable": stable, "canary": canary}
    judge = {"then": "abort", "latency": None}
    steps = [{"ratio": 0.5, "hold": None}, 1]
    return {
        "arms": {n: {"servers": [u], "ejection": False} for n, u in servers.items()},
        "ratio": 0,
        "rollout": {"id": "v2", "steps": steps, "slope": 1, "judge": judge, **rollout},
    }


async def ask_on(proxy: Proxy) -> None:
    """Ask, one request after another, until cancelled."""
    async with httpx.AsyncClient() as http:
        while True:
            await http.get(proxy.url)


def is_asking(proxy: Proxy) -> bool:
    """Whether it gives the canary requests, or has some of before."""
    on_their_way = proxy._view.runtime.in_flight("canary")
    return bool(proxy.config.ratio.get("canary") or on_their_way)


async def wait_phase(client: KeyStore, *phases: str) -> dict[str, Any]:
    while True:
        table = json.loads((await read_document(client, "web"))[0])
        state = table["rollout"].get("state")
        if state is not None and state["phase"] in phases:
            return dict(table)
        await trio.sleep(0.05)


async def let_canary_fail(client: KeyStore, then: str = "abort") -> None:
    """Two proxies, and a canary that fails a third of its requests from some time on.

    It is over when that was judged, and where it is aborted nobody asks the canary more.
    """
    old, new = Version(), Version()
    async with (
        fake_upstream(old) as stable,
        fake_upstream(new) as canary,
    ):
        judge = {"then": then, "latency": None}
        first = document(url_of(stable), url_of(canary), judge=judge)
        await write_document(client, "web", first, over=0)
        async with (
            proxy_on(client, proxy_id="a", bootstrap=None) as one,
            proxy_on(client, proxy_id="b", bootstrap=None) as other,
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(PATIENCE_S):
                for proxy in (one, other) * 2:
                    nursery.start_soon(ask_on, proxy)
                while new.asked < 50:
                    await trio.sleep(0.05)
                new.fails_each = 3
                if then == "say":
                    while True:
                        table = await wait_phase(client, "running", "waiting")
                        if "would have" in table["rollout"]["state"]["reason"]:
                            break
                    assert table["ratio"] == 0.5
                else:
                    table = await wait_phase(client, "aborted")
                    assert table["ratio"] == 0
                    state = table["rollout"]["state"]
                    assert state["verdict"]["finding"].startswith("regression: errors")
                    while any(is_asking(proxy) for proxy in (one, other)):
                        await trio.sleep(0.02)
                    asked, served = new.asked, old.asked
                    while old.asked < served + 50:
                        await trio.sleep(0.02)
                    assert new.asked == asked
            nursery.cancel_scope.cancel()
