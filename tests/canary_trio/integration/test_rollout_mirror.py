"""A rollout whose copies are compared first: by two proxies, told, judged, and gone on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from canary_trio.admin.asking.rollout_view import read_rollout, rollout_lines
from canary_trio.control.changes.documents import write_document
from canary_trio.testing import url_of
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.failing_canary import ask_on, document, wait_phase
from tests.canary_trio.support.stored_proxy import proxy_on


class Version:
    """One that answers with a number that grows, and what it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = self.users = 0

    async def __call__(self, request: ReceivedRequest) -> None:
        self.asked += 1
        self.users += b"X-Canary-Mirror" not in request.head
        body = json.dumps({"price": self.name, "at": self.asked}).encode()
        await request.response(body, b"Content-Type: application/json")


@pytest.mark.parametrize("price", ["5", "6"])
async def test_a_new_version_is_compared_before_users_meet_it(price: str) -> None:
    old, new = Version("5"), Version(price)
    async with (
        in_memory_store() as client,
        fake_upstream(old) as stable,
        fake_upstream(new) as canary,
    ):
        mirror: dict[str, Any] = {"requests": 40, "rate": 10_000, "ignore": ["at"]}
        told = document(
            url_of(stable),
            url_of(canary),
            steps=[0, {"ratio": 0.5, "hold": None}, 1],
            judge={"then": "abort", "latency": None, "requests": 0, "mirror": mirror},
        )
        await write_document(client, "web", told, over=0)
        async with (
            proxy_on(client, proxy_id="a", bootstrap=None) as one,
            proxy_on(client, proxy_id="b", bootstrap=None) as other,
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(60):
                for proxy in (one, other):
                    nursery.start_soon(ask_on, proxy)
                if price == "5":
                    while True:
                        found = await read_rollout(client, "web", 1.0)
                        if found["mirror"] is not None:
                            lines = "\n".join(rollout_lines(found))
                            assert "comparisons, the new version differs in 0" in lines
                        if found["step"] == 1:
                            break
                        await trio.sleep(0.02)
                    while not new.users:
                        await trio.sleep(0.02)
                    assert found["verdict"]["requests"][0] >= 40
                else:
                    table = await wait_phase(client, "aborted")
                    assert table["ratio"] == new.users == 0
                    reason = table["rollout"]["state"]["reason"]
                    assert reason == "regression: answers differ in body.price"
            nursery.cancel_scope.cancel()
