"""A gate of one's own: a rollout whose next step waits for what a program says.

A gate is a URL that the driving proxy asks before a step. Here it says whether the day's batch
is over; it might as well ask a calendar, a pager or a person.
"""

from __future__ import annotations

import json

import trio

import canary_trio
import http_trio
import kv_trio


class BatchGate:
    """Says whether the batch is over; a handler is any callable that takes an exchange."""

    def __init__(self) -> None:
        self.is_over = False
        self.asked = trio.Event()

    def __call__(self, exchange: http_trio.Exchange) -> None:
        """Respond to one question."""
        self.asked.set()
        body = json.dumps({"batch": {"over": self.is_over}}).encode()
        exchange.respond(http_trio.Response(200, body, b"application/json"))


def rollout(gate_url: str) -> dict[str, object]:
    """Give a rollout that passes the gate before its last step."""
    gate = {
        "name": "batch",
        "at": [1],
        "url": f"{gate_url}/",
        "json": {"path": "batch.over", "value": True},
        "interval": 1,
    }
    return {"id": "v2", "steps": [0.1, 1], "slope": 1, "gates": [gate]}


async def main() -> None:
    """Run a rollout up to the gate, open it, and wait for the end."""
    anywhere = ["127.0.0.1:0"]
    gate = BatchGate()

    def version(exchange: http_trio.Exchange) -> None:
        exchange.respond(http_trio.Response(200, b"a version"))

    async with trio.open_nursery() as nursery:
        store = await nursery.start(kv_trio.serve, anywhere)
        asked = await nursery.start(http_trio.serve, gate, anywhere)
        server = await nursery.start(http_trio.serve, version, anywhere)
        arm = {"servers": [server.url]}
        document = {
            "arms": {"stable": arm, "canary": arm},
            "rollout": rollout(asked.url),
        }
        options = canary_trio.ProxyOptions(
            config_server=store.url, binds=anywhere, admin=None, remember=False
        )
        async with kv_trio.Client(store.url) as client:
            await canary_trio.write_document(client, "web", document, over=0)
            await nursery.start(canary_trio.serve, "web", options)
            await gate.asked.wait()
            print("the gate was asked, and is closed")
            gate.is_over = True
            async with client.watch("canary/web/config") as states:
                async for state in states:
                    assert state.entry is not None
                    plan = canary_trio.load(state.entry.value).rollout
                    if plan and plan.state and plan.state.phase.is_over:
                        print("the rollout is", plan.state.phase.value)
                        break
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
