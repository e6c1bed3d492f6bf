"""The end of a rollout: no server becomes stable's that a proxy finds unhealthy."""

from __future__ import annotations

import json

import trio

from canary_trio import read_document, wait_applied, write_document
from canary_trio.testing import says_canary, says_stable, url_of
from http_trio.testing.peers import fake_upstream
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import proxy_on


async def test_r12_finish_is_refused_while_a_server_is_not_healthy() -> None:
    async with (
        fake_upstream(says_stable) as one,
        fake_upstream(says_canary) as two,
        in_memory_store() as client,
        proxy_on(client) as proxy,
    ):
        document = {
            "arms": {
                "stable": {"servers": [url_of(one)]},
                "canary": {"servers": [url_of(two)]},
            }
        }
        over = (await read_document(client, "web"))[1]
        revision = await write_document(client, "web", document, over=over)
        with trio.fail_after(15):
            await wait_applied(client, "web", revision)
        start = ("rollout", "start", "web", "--steps", "100%", "--id", "v1")
        await canary(client, *start)
        await canary(client, "rollout", "promote", "web", "--full", "--wait", "15")
        live = proxy._view.runtime.live
        assert live is not None
        server = live.arms["canary"].servers[0]
        server.listener.checked(server, 0.0, up=False)

        ran = await canary(client, "rollout", "finish", "web", status=1)
        assert f"{url_of(two)} is not healthy" in ran.stderr
        found = json.loads((await read_document(client, "web"))[0])
        assert found["ratio"] == 1
        assert found["arms"]["stable"]["servers"] == [url_of(one)]

        server.listener.checked(server, 0.0, up=True)
        ran = await canary(client, "rollout", "finish", "web", "--wait", "15")
        assert "are stable's" in ran.stdout
        found = json.loads((await read_document(client, "web"))[0])
        assert found["ratio"] == 0
        assert found["arms"]["stable"]["servers"] == [url_of(two)]
